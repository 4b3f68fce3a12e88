"""Puts a command into the app's own environment, where the app has one: the same command line, in that Python."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from modelapp.cli.console import Console
from modelapp.cli.parser import FILE

if TYPE_CHECKING:
    from modelapp.environments import Environment, Request

BUILDING = ("run", "test", "predict", "lock")
"""Verbs that run the app's code, in an environment that is built where there is none yet."""
LOOKING = ("check", "plugins", "schema", "upgrade")
"""Verbs that use the environment once it is there, and do not wait for it to be built."""


def enter(options: argparse.Namespace, console: Console, argv: Sequence[str], *, replace: bool) -> int | None:
    """Go on in the app's environment; None where this is the right place already.

    `replace`: the process becomes the command in that environment; else the command is run and its status returned.
    Raises SurroundingsError where the environment cannot be built.
    """
    if options.command not in (*BUILDING, *LOOKING):
        return None
    request = requested(options)
    if request is None:
        return None
    from modelapp import environments

    if environments.is_inside(request):
        return None
    environment = environments.of(request)
    builds = options.command in BUILDING
    if not environment.is_built and not builds:
        return None
    held = environments.hold(environment)
    if builds:
        from modelapp.environmentbuild import build

        build(environment, console.note)
    console.detail(f"environment: {environment.folder}")
    return _go_on(environment, argv, held, replace=replace)


def _go_on(environment: "Environment", argv: Sequence[str], held: int | None, *, replace: bool) -> int:
    from modelapp.enclosure import OUTSIDE, variables
    from modelapp.environments import VARIABLE
    from modelapp.errors import SurroundingsError

    # -P: a file of the current folder must not stand in for a library's module of the same name.
    words = [str(environment.python), "-P", "-m", "modelapp", *argv]
    environ = variables(os.environ, environment.folder) | {VARIABLE: environment.name}
    environ.setdefault(OUTSIDE, sys.executable)
    try:
        if not replace:
            import subprocess

            return subprocess.run(words, env=environ, check=False).returncode  # noqa: S603 - this very command
        if held is not None:
            os.set_inheritable(held, True)  # whoever holds it uses the environment, which is then not removed
        sys.stdout.flush()
        sys.stderr.flush()
        os.execve(words[0], words, environ)  # noqa: S606 - this very command
    except OSError as error:
        raise SurroundingsError(
            f"the Python of the app's environment cannot be started: {words[0]}: {error.strerror}",
            help="name a folder for environments from which programs may run: XDG_CACHE_HOME=DIR modelapp ...",
        ) from None


def requested(options: argparse.Namespace) -> "Request | None":
    """The environment that app.toml asks for; None where it asks for none, or is broken, which its reader will tell."""
    told = _told(options)
    file, python = told.get("requirements"), told.get("python", "")
    if not isinstance(file, str) or not file or not isinstance(python, str):
        return None
    from modelapp.environments import Request
    from modelapp.requirements import RequirementsError, read
    from modelapp.versions import is_python

    try:
        is_python("3.11", python or "3.11")
        return Request(file=file, requirements=read(options.directory.resolve(), file), python=python)
    except (RequirementsError, ValueError, OSError):
        return None


def described(options: argparse.Namespace) -> dict[str, Any] | None:
    """The app's environment for people; None where the app has none of its own. Raises SurroundingsError."""
    request = requested(options)
    if request is None:
        return None
    from modelapp import enclosure, environments

    made = enclosure.made() or {}
    if not environments.is_inside(request):
        return {"requirements": request.file, "built": False, "folder": str(environments.of(request).folder)}
    told = {key: made.get(key, "") for key in ("python", "modelapp", "built_by")}
    return {"requirements": request.file, "built": True, "folder": sys.prefix, **told}


def _told(options: argparse.Namespace) -> dict[str, Any]:
    """[app] with the profile and the overrides laid over it; empty where the file cannot be read."""
    try:
        text = (options.directory / FILE).read_bytes().decode("utf-8-sig")
        if "requirements" not in text and not any("requirements" in one for one in options.overrides):
            return {}
        import tomli  # like all that follows, not for an app without requirements

        data = tomli.loads(text)
        tables = [data, *_profiles(data, options.profile), *map(tomli.loads, options.overrides)]
    except (OSError, ValueError, RecursionError):
        return {}
    found: dict[str, Any] = {}
    for table in tables:
        app = table.get("app")
        found |= app if isinstance(app, dict) else {}
    return found


def _profiles(data: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """The tables of a profile, after those of the one it extends."""
    found: list[dict[str, Any]] = []
    known = data.get("profiles")
    while isinstance(known, dict) and isinstance(table := known.get(name), dict) and table not in found:
        found.insert(0, table)
        name = table.get("extends", "")
    return found

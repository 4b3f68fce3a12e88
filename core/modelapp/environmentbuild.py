"""Building an app's environment: an empty one, the app's pins, this very modelapp, a check of it all, the marker."""

import fcntl
import json
import os
import platform
import shutil
import time
from pathlib import Path

from modelapp import installer
from modelapp.enclosure import FORMAT, MARKER
from modelapp.environments import Environment, Note, Request, locked, remove_unused
from modelapp.errors import SurroundingsError
from modelapp.installation import Installation, installation
from modelapp.installer import Installer, StepFailedError
from modelapp.requirements import canonical
from modelapp.versions import is_python


def build(environment: Environment, note: Note) -> None:
    """Build it, unless it is built or another process does. Raises SurroundingsError. `hold` it first."""
    try:
        with locked(environment.lock, fcntl.LOCK_EX, note) as fd:
            if not environment.is_built:
                _build(environment, note, fd)
                remove_unused(environment)
    except OSError as error:
        raise SurroundingsError(
            f"the app's environment cannot be built in {environment.folder}: {error.strerror or error}",
            help="look at the space and the permissions there, or name another place: XDG_CACHE_HOME=DIR modelapp ...",
        ) from None


def _build(environment: Environment, note: Note, lock: int) -> None:
    request, own, folder = environment.request, environment.own, environment.folder
    _check_own(request, own)
    log = folder.with_name(f"{folder.name}.log")
    shutil.rmtree(folder, ignore_errors=True)
    log.unlink(missing_ok=True)
    os.close(os.open(log, os.O_CREAT | os.O_WRONLY, 0o600))
    # An installer that outlives this process keeps the lock, so that nobody builds where it still writes.
    run = installer.runner(log, keep=(lock,))
    tool = installer.choose(run)
    begun_s = time.monotonic()
    count = len(request.requirements.pins)
    note(f"environment: building it for {request.file} ({count} pinned, {tool.name}) in {folder}")
    try:
        version = _create(environment, tool, run)
        note(f"environment: installing {count} distribution{'s' * (count != 1)} into Python {version}")
        _install_pins(environment, tool, log)
        note(f"environment: installing modelapp {own.version} from {own.origin}")
        _install_own(environment, tool, log)
        _finish(environment, tool, version)
    except SurroundingsError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    note(f"environment: ready after {time.monotonic() - begun_s:.1f} s")


def _check_own(request: Request, own: Installation) -> None:
    """modelapp can be installed once more, and is the one that the file pins, as one that uv or pip wrote does."""
    if own.path is not None and not own.path.exists():
        raise SurroundingsError(
            f"modelapp was installed from {own.path}, which is no longer there, and the app's environment needs it too",
            help="put it back, or install modelapp again from a place that stays",
        )
    for pin in request.requirements.own:
        if pin.version != own.version and not pin.marker:
            raise SurroundingsError(
                f"{request.file} line {pin.line} pins modelapp {pin.version}, and this is modelapp {own.version}",
                help=f"pip install modelapp=={pin.version}, or pin modelapp=={own.version}",
            )


def _create(environment: Environment, tool: Installer, run: installer.Run) -> str:
    """An empty environment; gives the version of its Python."""
    wanted = environment.request.python
    here = not wanted or is_python(platform.python_version(), wanted)
    try:
        tool.create(environment.folder, "" if here else wanted)
        version = run([str(environment.python), "-I", "-c", installer.WHICH]).split()[-1]
    except StepFailedError as failed:
        if here:
            raise _failed("the app's environment could not be made", failed.lines) from None
        raise _failed(
            f"app.toml asks for Python {wanted}, this is Python {platform.python_version()}, and no other was found",
            failed.lines,
            help=f"install Python {wanted}, so that python{wanted.lstrip('=<>!~ ').split(',')[0]} is on the PATH",
        ) from None
    if wanted and not is_python(version, wanted):
        raise SurroundingsError(f"app.toml asks for Python {wanted}, and {tool.name} made Python {version}")
    return version


def _install_pins(environment: Environment, tool: Installer, log: Path) -> None:
    """Exactly what the file pins; what it lacks is missing afterwards, and told."""
    request = environment.request
    listed = _listed(environment, "requirements.txt", request.requirements.lines())
    words = [*_folders(request), "--no-deps", "-r", str(listed)]
    try:
        tool.install(environment.folder, words, hashed=request.requirements.hashed)
    except StepFailedError as failed:
        raise _failed(
            f"what {request.file} pins could not be installed", failed.lines, help=f"the whole output is in {log}"
        ) from None


def _install_own(environment: Environment, tool: Installer, log: Path) -> None:
    """modelapp, with what it needs as far as the app's pins leave it open."""
    request, own = environment.request, environment.own
    constraints = _listed(environment, "constraints.txt", [pin.constraint for pin in request.requirements.pins])
    words = [*_folders(request), "-c", str(constraints), *own.words]
    if places := [line for line in request.requirements.settings if line != "--require-hashes"]:
        words += ["-r", str(_listed(environment, "settings.txt", places))]
    try:
        tool.install(environment.folder, words)
    except StepFailedError as failed:
        raise _conflict(environment, failed, log) from None
    if lacking := tool.missing(environment.folder):
        raise _failed(
            f"{request.file} does not pin all that the app needs, or pins what does not go together",
            lacking,
            help=f"pin what is missing too; uv pip compile requirements.in -o {request.file} writes such a file",
        )


def _folders(request: Request) -> list[str]:
    return [word for folder in request.requirements.folders for word in ("--find-links", str(folder.resolve()))]


def _listed(environment: Environment, name: str, lines: list[str]) -> Path:
    """A file for the installer, made from what was read, so that nobody changes it meanwhile."""
    path = environment.folder / f"modelapp-{name}"
    path.touch(mode=0o600)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def _conflict(environment: Environment, failed: StepFailedError, log: Path) -> SurroundingsError:
    request, own = environment.request, environment.own
    for pin in request.requirements.pins:
        if versions := own.unmet(pin.name, pin.version):
            return _failed(
                f"{request.file} line {pin.line} pins {pin.name} {pin.version}, "
                f"and modelapp {own.version} needs {pin.name}{versions}",
                failed.lines,
                help=f"pin {pin.name}{versions}; packages that need another {pin.name} cannot share an app with it",
            )
    return _failed(
        f"modelapp {own.version} could not be installed beside what {request.file} pins",
        failed.lines,
        help=f"the whole output is in {log}",
    )


def _failed(message: str, lines: tuple[str, ...] | list[str], *, help: str = "") -> SurroundingsError:
    return SurroundingsError("\n".join([message, *(f"  | {line}" for line in lines)]), help=help)


def _finish(environment: Environment, tool: Installer, version: str) -> None:
    """Check that it holds this very modelapp, then write the marker."""
    own, folder = environment.own, environment.folder
    found = installation([str(path) for path in folder.glob("lib/python*/site-packages")])
    if found.version != own.version or found.code != own.code:
        raise SurroundingsError(
            f"modelapp {own.version} was installed from {own.origin}, which now holds another: {found.version}"
            + (" with other code" if found.version == own.version else ""),
            help=f"install it again, so that both are the same: pip install {' '.join(own.words)}",
        )
    made = {
        "format": FORMAT,
        "file": environment.request.file,
        "asked": environment.request.asked,
        "python": version,
        "modelapp": own.version,
        "built_by": tool.name,
        "pins": {canonical(pin.name): pin.version for pin in environment.request.requirements.pins},
    }
    draft = folder / f"{MARKER}.{os.getpid()}"
    draft.write_text(json.dumps(made, indent=2), encoding="utf-8")
    draft.replace(folder / MARKER)

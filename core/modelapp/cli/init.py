"""`modelapp init`: a new app that works as it is."""

import argparse
import os
import shlex
from pathlib import Path

from modelapp import scaffold
from modelapp.appschema import FILE as SCHEMA_FILE
from modelapp.appschema import schema_document
from modelapp.cli.console import Console
from modelapp.errors import UsageError
from modelapp.inventory import probe
from modelapp.loader import parse
from modelapp.mentions import mentioned
from modelapp.plugins import Plugins
from modelapp.problems import shown


def run(options: argparse.Namespace, console: Console) -> int:
    """Write the files of a template into an empty folder, and say what comes next."""
    if options.overrides:
        raise UsageError("there is no app.toml yet that --set could override", help="leave --set out")
    folder: Path = options.directory / options.folder
    scaffold.require_room(folder)
    plugins = Plugins.load(warn=console.verbosity >= 0)
    name = scaffold.app_name(folder)
    files = scaffold.files_of(options.template, name)
    data = parse(folder / scaffold.APP_FILE, files[scaffold.APP_FILE].decode())
    schema = {SCHEMA_FILE: schema_document(plugins, mentioned(data)).encode()}
    files = {scaffold.APP_FILE: files.pop(scaffold.APP_FILE), **schema, **files}
    scaffold.write_all(folder, files)
    if name != folder.resolve().name:
        console.note(f'note: the app is called "{name}": a name is lower-case letters, digits and dashes')
    for runtime in sorted(mentioned(data)["runtime"]):
        _tell_missing(runtime, plugins, console)
    following = _following(folder)
    if console.json:
        told = {"folder": str(folder), "app": name, "template": options.template, "files": list(files)}
        console.document({**told, "next": following})
    console.result(f"{shown(folder)}: {scaffold.TEMPLATES[options.template].does}")
    for line in _listed(files):
        console.result(f"  {line}")
    console.result(f"next: {following}")
    return 0


def _tell_missing(runtime: str, plugins: Plugins, console: Console) -> None:
    """Say what the app needs and is not here."""
    spec = plugins.runtimes.get(runtime)
    if spec is None:
        console.note(f'note: the app needs the runtime "{runtime}", and no plugin here has it: modelapp plugins')
        return
    found = probe(spec)
    if not found.ok:
        advice = f": {found.fix}" if found.fix else ""
        console.note(f'note: the app needs the runtime "{runtime}", which lacks {found.missing}{advice}')


def _listed(files: dict[str, bytes]) -> list[str]:
    """One line for each folder of the app."""
    folders: dict[str, list[str]] = {}
    for file in files:
        around, _, name = file.rpartition("/")
        folders.setdefault(around, []).append(name)
    return [f"{around}/  {'  '.join(names)}" if around else "  ".join(names) for around, names in folders.items()]


def _following(folder: Path) -> str:
    here = os.path.relpath(folder) == "."
    return "modelapp test" if here else f"cd {shlex.quote(os.path.relpath(folder))} && modelapp test"

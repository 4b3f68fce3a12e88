"""`modelapp lock`: write app.lock, or say where it differs."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from modelapp.cli.console import Console
from modelapp.cli.locked import readings, require
from modelapp.cli.opening import FILE, open_app
from modelapp.errors import AppFileError, UsageError
from modelapp.lockdrift import Difference, differences
from modelapp.lockfile import LOCK, TABLES, Lock, read_lock, read_text, render, write_lock
from modelapp.locking import lock_of
from modelapp.plugins import Plugins
from modelapp.salvage import remains

_NOUNS = {
    "files": ("file", "files"),
    "sources": ("package source", "package sources"),
    "recorded": ("recorded output", "recorded outputs"),
    "plugins": ("plugin", "plugins"),
}


def run(options: argparse.Namespace, console: Console) -> int:
    """Make app.lock anew and say what changed. With --locked write nothing; a difference is LockDriftError."""
    if options.locked:
        opened = open_app(options, console)
        require(opened, options)
        lock = read_lock(opened.app.root) or Lock()
        if console.json:
            console.document(_document(opened.app.name, lock, [], written=False))
        console.result(f"{LOCK} holds: {counted(lock)}")
        return 0
    if options.overrides:
        raise UsageError(f"{LOCK} is about app.toml as it is: --set has no place here", help="leave --set out")
    plugins = Plugins.load(warn=console.verbosity >= 0)
    apps = readings(options.directory / FILE, plugins)
    app = apps[0]
    before, broken = _before(app.root)
    lock = lock_of(apps, plugins, before or remains(app.root))
    written = read_text(app.root / LOCK) != render(lock)
    if written:
        write_lock(app.root, lock)
    changes = [] if broken else differences(before or Lock(), lock)
    if broken:
        console.note(f"note: {broken}; it is made anew")
    for change in changes:
        console.result(change.line)
    if console.json:
        console.document(_document(app.name, lock, changes, written=written))
    console.result(f"{LOCK}: {counted(lock)}{'' if written else ', as it was'}")
    return 0


def _before(root: Path) -> tuple[Lock | None, str]:
    """The app.lock that is there, and why it cannot be read."""
    try:
        return read_lock(root), ""
    except AppFileError as error:
        return None, f"{error.problems[0].place}: {error.problems[0].message}"


def counted(lock: Lock) -> str:
    """How much there is in a lock: "3 files, 1 plugin"."""
    numbers = {attribute: len(getattr(lock, attribute)) for attribute in TABLES.values()}
    told = [f"{number} {_NOUNS[attribute][number > 1]}" for attribute, number in numbers.items() if number]
    return ", ".join(told) or "nothing to keep"


def _document(app: str, lock: Lock, changes: Sequence[Difference], *, written: bool) -> dict[str, Any]:
    return {
        "app": app,
        "file": LOCK,
        "written": written,
        "counts": {attribute: len(getattr(lock, attribute)) for attribute in TABLES.values()},
        "differences": [change.as_dict() for change in changes],
    }

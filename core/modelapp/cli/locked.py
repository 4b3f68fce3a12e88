"""Whether what is there is what app.lock says: asked before a command loads anything."""

import argparse
import os
import shlex
from pathlib import Path

from modelapp.app import App
from modelapp.cli.console import Console
from modelapp.cli.opening import Opened
from modelapp.errors import AppFileError, LockDriftError, ModelAppError
from modelapp.loader import Spare, read_app
from modelapp.lockdrift import Difference, differences
from modelapp.lockfile import LOCK, Lock, Recorded, read_lock, write_lock
from modelapp.locking import Survey, record, survey
from modelapp.plugins import Plugins
from modelapp.testchecks import UNPROVEN

_NO = ("", "0", "false", "no", "off")


def verify(opened: Opened, options: argparse.Namespace, console: Console, *, tell: bool = True) -> None:
    """With --locked, which a CI that finds an app.lock implies: raise LockDriftError where something differs.

    Otherwise a difference is a note, unless `tell` is false.
    """
    root = opened.app.root
    if options.locked or (in_ci() and (root / LOCK).exists()):
        require(opened, options)
        return
    if not tell or not (root / LOCK).exists():
        return
    try:
        found = compare(opened)
    except AppFileError as error:
        first = error.problems[0]
        more = f"; {first.command}" if first.command else ""
        console.note(f"note: {LOCK} was not compared: {first.place}: {first.message}{more}")
    except ModelAppError as error:
        console.note(f"note: {LOCK} was not compared: {error.message}")
    else:
        if found:
            more = f", and {len(found) - 1} more" if len(found) > 1 else ""
            console.note(f"note: {LOCK} is out of date ({found[0]}{more}): run {lock_command(options)}")


def require(opened: Opened, options: argparse.Namespace) -> None:
    """Raises LockDriftError with every difference, AppFileError for an app.lock that cannot be read."""
    if found := compare(opened):
        lines = "\n".join(f"  {one}" for one in found)
        raise LockDriftError(
            f"what is here is not what {LOCK} says\n{lines}" if (opened.app.root / LOCK).exists() else str(found[0]),
            differences=[one.as_dict() for one in found],
            help=f"write down what is here, if it is what should be: {lock_command(options)}",
        )


def compare(opened: Opened) -> list[Difference]:
    """Everything in which the app of this command, in every profile, differs from app.lock.

    Raises AppFileError for an app.lock that cannot be read, and for a profile that is not valid.
    """
    locked = read_lock(opened.app.root)
    if locked is None:
        return [Difference(change="missing", table="", name=LOCK, now=f"there is no {LOCK}")]
    apps = readings(opened.app.path, opened.plugins)
    return drift_of(locked, survey([opened.app, *apps], opened.plugins, locked))


def drift_of(locked: Lock, found: Survey) -> list[Difference]:
    """What differs and what is missing. A file that is missing is told as such, not as one that nothing names."""
    told = [one for one in differences(locked, found.lock) if one.name not in found.faults or one.change != "removed"]
    missing = (Difference(change="missing", table="", name=name, now=text) for name, text in found.told())
    return [*told, *missing]


def readings(path: Path, plugins: Plugins, *, spare: Spare = ()) -> list[App]:
    """The app without a profile and with each: one app.lock covers them all. Raises AppFileError."""
    plain = read_app(path, plugins, spare=spare).app
    return [plain, *(read_app(path, plugins, profile=name, spare=spare).app for name in plain.profiles)]


def keep(opened: Opened, recorded: Recorded) -> None:
    """Put a recorded output into app.lock; where there is none, all else too, since a part of a lock is a drift.

    Raises AppFileError for an app.lock that cannot be read, SurroundingsError where it cannot be written.
    """
    root = opened.app.root
    if read_lock(root) is None:
        apps = readings(opened.app.path, opened.plugins, spare=UNPROVEN)  # what is to be recorded expects nothing yet
        write_lock(root, survey([opened.app, *apps], opened.plugins).lock)
    record(root, recorded)


def in_ci() -> bool:
    """Whether CI is set, as continuous integration sets it everywhere."""
    return os.environ.get("CI", "").lower() not in _NO


def lock_command(options: argparse.Namespace) -> str:
    """The command that writes the app.lock of this app."""
    folder = [] if str(options.directory) == "." else ["-C", str(options.directory)]
    return shlex.join(["modelapp", *folder, "lock"])

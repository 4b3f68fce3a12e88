"""The record of a running app, in `.modelapp/running.json` beside app.toml, by which `predict` and `test` find it."""

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

import attrs

FOLDER = ".modelapp"
_FILE = "running.json"


def _strings(values: Iterable[str]) -> tuple[str, ...]:
    """JSON has lists alone."""
    return tuple(values)


@attrs.frozen
class Running:
    """A running app. `token` is the control token; `born` tells `pid` from a later process of the same number;
    `overrides` and `profile` are the options it was started with.
    """

    pid: int
    url: str
    release: str
    token: str = attrs.field(repr=False)
    started: str
    born: str
    overrides: tuple[str, ...] = attrs.field(default=(), converter=_strings)
    profile: str = ""


def record(url: str, release: str, token: str, overrides: Iterable[str] = (), profile: str = "") -> Running:
    """The record of this process, which was started with `overrides` of app.toml and a profile."""
    pid = os.getpid()
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return Running(pid, url, release, token, started, birth(pid), tuple(overrides), profile)


def folder(root: Path) -> Path:
    """The folder for what the product keeps beside app.toml, made and hidden from git. Raises OSError."""
    path = root / FOLDER
    path.mkdir(exist_ok=True)
    ignore = path / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n", encoding="utf-8")
    return path


def write(root: Path, running: Running) -> str:
    """Keep `running`, readable by this user alone. The return value is a note where that failed, else ""."""
    try:
        target = folder(root) / _FILE
        draft = target.with_name(f"{_FILE}.{running.pid}")
        draft.unlink(missing_ok=True)
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            json.dump(attrs.asdict(running), file)
        draft.replace(target)
    except OSError as error:
        reason = error.strerror or str(error)
        return f"{root / FOLDER} cannot be written ({reason}): predict and test will not find this app"
    return ""


def find(root: Path) -> Running | None:
    """The running app of this folder; None where there is none or the record is stale, foreign or unreadable."""
    path = root / FOLDER / _FILE
    try:
        if path.stat().st_uid != os.getuid():
            return None
        running = Running(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    if not isinstance(running.pid, int) or not running.born or birth(running.pid) != running.born:
        return None
    return running


def clear(root: Path) -> None:
    """Remove the record if it is this process's own."""
    running = find(root)
    if running is not None and running.pid == os.getpid():
        with contextlib.suppress(OSError):
            (root / FOLDER / _FILE).unlink()


def birth(pid: int) -> str:
    """When the process was born, as text that no later process of the same number shares; "" where it is gone."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        pass
    except (OSError, OverflowError):
        return ""
    stat = Path(f"/proc/{pid}/stat")
    if not stat.exists():
        return _birth_by_ps(pid)
    try:
        # The command's name, in parentheses, may hold anything; state and start time are fields 3 and 22.
        fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else f"{boot}:{fields[19]}"


def _birth_by_ps(pid: int) -> str:
    asked = subprocess.run(  # noqa: S603 - the one argument is a number
        ["/bin/ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return asked.stdout.strip()

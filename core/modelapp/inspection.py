"""Looks into the replicas of an app on this machine from outside, through /proc: no port is asked."""

import contextlib
import json
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import attrs

from modelapp.errors import SurroundingsError
from modelapp.stacks import ANSWERS, LAST_RESORT, SIGNAL

_PROC = Path("/proc")
_STACKS_S = 3.0
"""How long the stacks may take: long, since what is tried then is not without danger."""
_ACCOUNT_S = 1.0
"""How long the loop has for its account; one that needs longer does not turn."""
_SETTLED_S = 0.2
_THREAD = re.compile(r"(?:Current t|T)hread (0x[0-9a-f]+)(?: \[(.*)\])? \(most recent call first\):")
_FRAME = re.compile(r'  File "(.*)", line (\d+|\?\?\?) in (.*)')


@attrs.frozen
class Frame:
    """One place in the code."""

    file: str
    line: int
    function: str


@attrs.frozen
class Thread:
    """One thread, innermost frame first. `name` is "" where it is not known."""

    id: str
    name: str
    frames: tuple[Frame, ...]


@attrs.frozen
class Inspected:
    """A replica at one moment. `account` is what its event loop said, None where it has not begun or is held."""

    pid: int
    threads: tuple[Thread, ...]
    begun: bool
    account: Mapping[str, Any] | None


def replicas(app_file: Path) -> list[int]:
    """The processes that serve `app_file`, of this user, sorted."""
    return sorted(pid for pid in _processes() if _serves(pid, os.path.realpath(app_file)))


def inspect(pid: int) -> Inspected:
    """What a replica is doing. Raises SurroundingsError where it cannot be told."""
    import fcntl

    try:
        with _open(pid, ANSWERS) as (answers, name), _open(pid, LAST_RESORT) as (last_resort, _):
            fcntl.flock(answers, fcntl.LOCK_EX)  # two commands at once would empty each other's files
            for file in (answers, last_resort):
                file.truncate(0)
            with (_PROC / str(pid) / "fd" / name.removeprefix(ANSWERS)).open("wb") as ask:
                ask.write(b"?")
            if (stacks := _line(answers, 0, _STACKS_S)) is None:  # no Python code runs: C code keeps the interpreter
                os.kill(pid, SIGNAL)
                return Inspected(pid, tuple(_parsed(_settled(last_resort))), begun=True, account=None)
            account = _line(answers, 1, _ACCOUNT_S) if stacks["begun"] else None
    except OSError as error:
        raise SurroundingsError(f"the replica {pid} cannot be looked into: {error.strerror or error}") from None
    threads = (
        Thread(one["id"], one["name"], tuple(Frame(**place) for place in one["frames"])) for one in stacks["threads"]
    )
    return Inspected(pid, tuple(threads), begun=stacks["begun"], account=account)


def _processes() -> Iterator[int]:
    if sys.platform != "linux":
        raise SurroundingsError("this needs /proc, which Linux has", help="py-spy dump --pid PID does it elsewhere")
    for path in _PROC.iterdir():
        if path.name.isdigit():
            yield int(path.name)


def _serves(pid: int, app_file: str) -> bool:
    try:
        if (_PROC / str(pid)).stat().st_uid != os.getuid():
            return False
        words = (_PROC / str(pid) / "cmdline").read_bytes().decode(errors="replace").split("\0")
        if "modelapp.replica" not in words or os.path.realpath(words[words.index("--app") + 1]) != app_file:
            return False
        caught = re.search(r"^SigCgt:\s*(\w+)", (_PROC / str(pid) / "status").read_text(), re.MULTILINE)
    except (OSError, ValueError, IndexError):
        return False
    return caught is not None and bool(int(caught[1], 16) >> (SIGNAL - 1) & 1)  # else the signal would end it


@contextlib.contextmanager
def _open(pid: int, name: str) -> Iterator[tuple[IO[bytes], str]]:
    """The file without a name whose name in /proc begins so, and that whole name. Raises OSError."""
    for link in (_PROC / str(pid) / "fd").iterdir():
        with contextlib.suppress(OSError):
            target = str(link.readlink())
            if target.startswith(f"/memfd:{name}"):
                break
    else:
        raise FileNotFoundError(2, "it does not tell its stacks; an older version, perhaps")
    with link.open("r+b", buffering=0) as file:
        yield file, target.removeprefix("/memfd:").removesuffix(" (deleted)")


def _line(file: IO[bytes], number: int, timeout_s: float) -> Mapping[str, Any] | None:
    """A line of JSON, by its number, as soon as it is there; None where it does not come in time."""
    until_s = time.monotonic() + timeout_s
    while time.monotonic() < until_s:
        lines = os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).splitlines(keepends=True)
        if len(lines) > number and lines[number].endswith(b"\n"):
            found: Mapping[str, Any] = json.loads(lines[number])
            return found
        time.sleep(0.02)
    return None


def _settled(file: IO[bytes]) -> str:
    """The whole of what is being written. Raises TimeoutError."""
    until_s = time.monotonic() + _STACKS_S
    size, since_s = 0, time.monotonic()
    while time.monotonic() < until_s or size:
        time.sleep(0.02)
        now_s, found = time.monotonic(), os.fstat(file.fileno()).st_size
        if found != size:
            size, since_s = found, now_s
        elif size and now_s - since_s >= _SETTLED_S:
            return os.pread(file.fileno(), size, 0).decode(errors="replace")
    raise TimeoutError(0, "it does not react; it may be stopped, or wait for a disk")


def _parsed(text: str) -> Iterator[Thread]:
    """The threads in faulthandler's words."""
    identity, name, frames = "", "", list[Frame]()
    for line in text.splitlines():
        if (thread := _THREAD.match(line)) is not None:
            if identity:
                yield Thread(identity, name, tuple(frames))
            identity, name, frames = thread[1], thread[2] or "", []
        elif (frame := _FRAME.match(line)) is not None:
            frames.append(Frame(frame[1], int(frame[2]) if frame[2].isdigit() else 0, frame[3]))
    if identity:
        yield Thread(identity, name, tuple(frames))

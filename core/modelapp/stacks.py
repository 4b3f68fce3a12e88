"""What a replica tells when it is asked what it is doing, also where something holds its loop.

`modelapp.inspection` asks by a byte into a pipe. A thread answers with the stacks of all threads, then the loop, if it
turns, with its own account; both go to a file without a name. Where no Python code can run at all, because C code keeps
the interpreter, SIGQUIT makes faulthandler write the stacks: a last resort, since it looks at frames that others may
change meanwhile, and has killed processes whose threads were busy.
"""

import asyncio
import contextlib
import faulthandler
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from time import monotonic
from types import FrameType
from typing import Any

from modelapp.call import Call
from modelapp.waiting import frames

SIGNAL = signal.SIGQUIT
ANSWERS, LAST_RESORT = "modelapp-answers-", "modelapp-last-resort"
"""What the two files are called in /proc; the first name ends with the pipe's descriptor."""


class Stacks:
    """Armed once a process, on Linux alone."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._facts: Callable[[], Mapping[str, Any]] = dict
        if sys.platform == "linux":
            self._asked, ask = os.pipe()
            self._answers = _file(f"{ANSWERS}{ask}")
            faulthandler.register(SIGNAL, file=_file(LAST_RESORT), all_threads=True)
            threading.Thread(target=self._serve, name="stacks", daemon=True).start()

    def follow(self, loop: asyncio.AbstractEventLoop, facts: Callable[[], Mapping[str, Any]]) -> None:
        """From now on the loop adds its account: `facts` about the replica, and the requests it has in hand."""
        self._loop, self._facts = loop, facts

    def _serve(self) -> None:
        while os.read(self._asked, 1):
            loop = self._loop
            self._tell({"threads": [*_threads()], "begun": loop is not None})
            if loop is not None:
                with contextlib.suppress(RuntimeError):  # it is closed
                    loop.call_soon_threadsafe(self._tell_account, loop)

    def _tell_account(self, loop: asyncio.AbstractEventLoop) -> None:
        self._tell({**self._facts(), **_account(loop)})

    def _tell(self, content: Mapping[str, Any]) -> None:
        os.write(self._answers, f"{json.dumps(content, default=str)}\n".encode())


def _file(name: str) -> int:
    import fcntl

    fd = os.memfd_create(name)
    fcntl.fcntl(fd, fcntl.F_SETFL, os.O_APPEND)  # a reader empties it before it asks
    return fd


def _threads() -> Iterator[dict[str, Any]]:
    """All threads but this one, the main thread first."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    main, me = threading.main_thread().ident, threading.get_ident()
    for ident, frame in sorted(sys._current_frames().items(), key=lambda one: one[0] != main):
        if ident != me:
            where: list[FrameType] = []
            innermost: FrameType | None = frame
            while innermost is not None:
                where.append(innermost)
                innermost = innermost.f_back
            yield {"id": f"{ident:#018x}", "name": names.get(ident, ""), "frames": [*_places(where)]}


def _account(loop: asyncio.AbstractEventLoop) -> dict[str, Any]:
    tasks = sorted(([*frames(task)] for task in asyncio.all_tasks(loop)), key=len)
    now_s = monotonic()
    # The longest of a request's tasks is the one that does its work: others wait for its client to leave, say.
    found = {call: where for where in tasks if (call := _call(where)) is not None}
    requests = [_request(call, found[call], now_s) for call in sorted(found, key=lambda call: call.arrived_s)]
    return {"tasks": len(tasks), "requests": requests}


def _call(where: list[FrameType]) -> Call | None:
    """The request that a task works for: each layer on the way keeps it in a variable."""
    for frame in where:
        for value in frame.f_locals.values():
            if isinstance(value, Call):
                return value
    return None


def _request(call: Call, where: list[FrameType], now_s: float) -> dict[str, Any]:
    return {
        "id": call.id,
        "protocol": call.protocol,
        "endpoint": call.endpoint,
        "model": call.model,
        "seconds": round(now_s - call.arrived_s, 3),
        "left": call.gone,
        "waits_in": [*_places(where[::-1])],
    }


def _places(where: list[FrameType]) -> Iterator[dict[str, Any]]:
    """Of frames, the innermost first."""
    for frame in where:
        yield {"file": frame.f_code.co_filename, "line": frame.f_lineno, "function": frame.f_code.co_name}

"""The tie between a replica and its parent: a replica never outlives the process that started it."""

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import MutableMapping

VARIABLE = "MODELAPP_LIFELINE"
"""Tells a replica its tie: "FD:PARENT_PID:GRACE_S"."""

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_ORPHANED = 70  # the exit status of a replica whose parent is gone


class Lifeline:
    """The parent's end: a pipe that nobody else holds open, so that its closing tells the replica.

    `grace_s` bounds how long an orphaned replica may still drain.
    """

    def __init__(self, grace_s: float) -> None:
        self.fd, self._kept = os.pipe()
        self._grace_s = grace_s

    def environment(self) -> dict[str, str]:
        """What the replica's environment must hold; `fd` must be passed on to it."""
        return {VARIABLE: f"{self.fd}:{os.getpid()}:{self._grace_s}"}

    def close(self) -> None:
        """Let go. A replica that still runs ends."""
        for fd in (self.fd, self._kept):
            with contextlib.suppress(OSError):
                os.close(fd)


def attach(environ: MutableMapping[str, str] = os.environ) -> bool:
    """Tie this process to its parent; False where it was not started by one. Call it first, from the main thread.

    On Linux the kernel kills an orphan. Everywhere a thread waits for the pipe's end, asks the process to drain by
    SIGTERM and ends it when the grace is over.
    """
    text = environ.pop(VARIABLE, "")
    if not text:
        return False
    fd, parent, grace_s = text.split(":")
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):  # it died before the tie was made
        os._exit(_ORPHANED)
    threading.Thread(target=_wait, args=(int(fd), float(grace_s)), name="lifeline", daemon=True).start()
    return True


def _wait(fd: int, grace_s: float) -> None:
    with contextlib.suppress(OSError):
        while os.read(fd, 1):  # nothing is ever written: this returns when the parent is gone
            pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(grace_s)
    os._exit(_ORPHANED)

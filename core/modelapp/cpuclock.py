"""Processor seconds of runs on threads: what the process spends, its loop left out, shared by the runs in progress.

A library's own threads count, which no clock of a single thread tells. With several runs at a time, of whatever models,
each instant is shared equally; what other threads of the process do meanwhile counts too.
"""

import threading
import time

_LOCAL = threading.local()


def clock_of_this_loop() -> "CpuClock":
    """The one clock for all models of the loop that this thread runs: their runs share the processor's time."""
    clock: CpuClock | None = getattr(_LOCAL, "clock", None)
    if clock is None:
        clock = _LOCAL.clock = CpuClock()
    return clock


class CpuClock:
    """The processor time of one process but for the thread that made this clock: that of the loop. Thread-safe."""

    def __init__(self) -> None:
        self._loop = (
            time.pthread_getcpuclockid(threading.get_ident()) if hasattr(time, "pthread_getcpuclockid") else None
        )
        self._lock = threading.Lock()
        self._runs = 0
        self._seen_s = 0.0
        self._shared_s = 0.0
        """What one run that was there all the time would have got."""

    def begin(self) -> float:
        """A run begins; `end` tells its share for the number returned here. Each takes about two microseconds."""
        with self._lock:
            self._share()
            self._runs += 1
            return self._shared_s

    def end(self, begun: float) -> float:
        """A run has ended: its processor seconds."""
        with self._lock:
            self._share()
            self._runs -= 1
            return self._shared_s - begun

    def _share(self) -> None:
        now_s = time.process_time()
        if self._loop is not None:
            try:
                now_s -= time.clock_gettime(self._loop)
            except OSError:  # the loop's thread has ended, and this run has not
                self._loop = None
        if self._runs:
            self._shared_s += max(0.0, now_s - self._seen_s) / self._runs
        self._seen_s = now_s

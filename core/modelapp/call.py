"""One request on its way through a replica: who waits for it, until when, and where its time went."""

import itertools
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

from modelapp.errors import Cancelled, DeadlineExceeded

if TYPE_CHECKING:
    import asyncio

CONTROL_HEADER = "x-modelapp-control"
"""Carries the replica's control token; only with it may a caller force an arm or look at a step."""


_PROCESS = secrets.token_hex(4)
_COUNT = itertools.count()


def new_id() -> str:
    """A fresh request id, 16 hexadecimal digits: half of it this process's, half counted."""
    return f"{_PROCESS}{next(_COUNT) & 0xFFFFFFFF:08x}"


class Call:
    """What every layer below the edge knows about one request. Times are seconds of `time.monotonic`."""

    __slots__ = (
        "_disconnect",
        "_on_cancel",
        "_watcher",
        "arm",
        "arrived_s",
        "deadline_s",
        "gone",
        "headers",
        "id",
        "probe",
        "steps",
        "timings_ms",
        "trusted",
    )

    def __init__(
        self,
        arrived_s: float,
        *,
        deadline_s: float | None = None,
        id: str = "",
        headers: Mapping[str, str] | None = None,
        disconnect: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.id = id or new_id()
        self.arrived_s = arrived_s
        self.deadline_s = deadline_s
        self.headers: Mapping[str, str] = headers or {}
        self.timings_ms: dict[str, float] = {}
        self.arm = ""
        self.probe = ""
        self.steps: dict[str, object] = {}
        self.trusted = False
        self.gone = False
        self._disconnect = disconnect
        self._on_cancel: list[Callable[[], None]] = []
        self._watcher: asyncio.Task[None] | None = None

    def add_time(self, what: str, ms: float) -> None:
        """Add to a `Server-Timing` entry: queue, batch, execute and the like."""
        self.timings_ms[what] = self.timings_ms.get(what, 0.0) + ms

    def check(self, now_s: float) -> None:
        """Raise DeadlineExceeded or Cancelled where nobody waits any more."""
        if self.gone:
            raise Cancelled("the client left before the answer")
        if self.deadline_s is not None and now_s >= self.deadline_s:
            raise DeadlineExceeded("the time allowed for this request is over")

    def watch(self, on_cancel: Callable[[], None]) -> None:
        """Call `on_cancel` if the client leaves.

        Watching costs a task and 50 microseconds, so only work that waits or runs off the loop asks for it.
        """
        self._on_cancel.append(on_cancel)
        if self._watcher is None and self._disconnect is not None:
            import asyncio  # takes 20 ms, which the command line, that reads this module too, need not spend

            self._watcher = asyncio.get_running_loop().create_task(self._wait_for_disconnect(self._disconnect))

    def unwatch(self, on_cancel: Callable[[], None]) -> None:
        """Forget an `on_cancel` whose work has ended."""
        if on_cancel in self._on_cancel:
            self._on_cancel.remove(on_cancel)

    async def _wait_for_disconnect(self, disconnect: Callable[[], Awaitable[None]]) -> None:
        await disconnect()
        self.cancel()

    def cancel(self) -> None:
        """The client is gone: tell everyone who works for it."""
        self.gone = True
        callbacks, self._on_cancel = self._on_cancel, []
        for callback in callbacks:
            callback()

    def close(self) -> None:
        """The answer is on its way; stop watching."""
        if self._watcher is not None:
            self._watcher.cancel()
            self._watcher = None

"""Where a replica is in its life, and how many requests it has in hand."""

import asyncio
from typing import Literal

from modelapp.errors import NotReady

State = Literal["starting", "ready", "draining", "stopped"]
_REASONS = {
    "starting": "the app is starting",
    "draining": "this replica is stopping; send the request again",
    "stopped": "this replica has stopped",
}


class Lifecycle:
    """Told by the replica, asked by the edge for every request. For the loop's thread only.

    starting -> ready -> draining -> stopped. Draining begins with a lame-duck time: requests are still answered, with
    `Connection: close`, until `refuse` ends it.
    """

    __slots__ = ("_idle", "closing", "in_flight", "reason", "refusing", "state")

    def __init__(self) -> None:
        self.state: State = "starting"
        self.reason = _REASONS["starting"]
        self.refusing = True
        """Whether requests get 503; the health routes answer all the same."""
        self.closing = False
        """Whether answers ask their connection to close."""
        self.in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def ready(self) -> None:
        """Take requests."""
        self.state, self.reason, self.refusing = "ready", "", False

    def drain(self) -> None:
        """Begin to stop: clients are sent elsewhere, but nobody is refused yet."""
        self.state, self.reason, self.closing = "draining", _REASONS["draining"], True

    def refuse(self) -> None:
        """End the lame-duck time: new requests get 503."""
        self.refusing = True

    def stop(self) -> None:
        """Everything is over."""
        self.state, self.reason, self.refusing = "stopped", _REASONS["stopped"], True

    def not_ready(self) -> NotReady:
        """The error for a request that is refused now."""
        return NotReady(self.reason, retry_after_s=1)

    def enter(self) -> None:
        """A request has arrived."""
        self.in_flight += 1

    def leave(self) -> None:
        """A request is answered."""
        self.in_flight -= 1
        if not self.in_flight and self.closing:
            self._idle.set()

    async def wait_idle(self, timeout_s: float) -> bool:
        """Wait until no request is in hand; False where some still are after `timeout_s`."""
        self.closing = True  # leave() tells only from here on
        if not self.in_flight:
            return True
        self._idle.clear()
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            return not self.in_flight
        return True

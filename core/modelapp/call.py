"""One request on its way through a replica: who waits for it, until when, and where its time went."""

import itertools
import os
from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from modelapp.errors import Cancelled, DeadlineExceeded, RequestError

if TYPE_CHECKING:
    import asyncio
    import contextvars

CONTROL_HEADER = "x-modelapp-control"
"""Carries the replica's control token; only with it may a caller force an arm or look at a step."""


_NO_HEADERS: Mapping[str, str] = {}
_PROCESS = os.urandom(4).hex()  # as the module secrets would, which takes 5 ms to import
_COUNT = itertools.count()


def new_id() -> str:
    """A fresh request id, 16 hexadecimal digits: half of it this process's, half counted."""
    return f"{_PROCESS}{next(_COUNT) & 0xFFFFFFFF:08x}"


def is_cancelled() -> bool:
    """Whether the running task was asked to end; a CancelledError without that is some code's own."""
    import asyncio  # see `Call.watch`

    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def too_late() -> DeadlineExceeded:
    """The outcome of a request whose time is over."""
    return DeadlineExceeded("the time allowed for this request is over")


def client_left() -> Cancelled:
    """The outcome of a request that nobody waits for any more."""
    return Cancelled("the client left before the answer")


def server_failed(call: "Call") -> RequestError:
    """The outcome of a request on which code of the server's own broke; what, is for its log alone."""
    return RequestError(f"the server failed; its log tells more under the request id {call.id}")


class Rights(Protocol):
    """What the holder of a token may do."""

    def check(self, access: str, name: str) -> None:
        """Raise Forbidden where it may not call `name`; `access` is "endpoint" or "model"."""
        ...


class Call:
    """What every layer below the edge knows about one request. Times are seconds of `time.monotonic`."""

    # Defaults stand on the class: most requests never set them, and a request is made for every one.
    protocol: str = ""
    """Which protocol it came by: "natural", "oip", "grpc" and the like."""
    endpoint: str = ""
    model: str = ""
    """The model, where a protocol calls one past the endpoints."""
    release: str = ""
    token: str = ""
    """The name of the bearer token that it came with; never the token."""
    rights: Rights | None = None
    """Those of its token; None: it may do anything."""
    priority: int = 0
    """1 is the most urgent level; 0: the model's default."""
    method: str = ""
    """The HTTP method; "" by other doors."""
    route: str = ""
    """The pattern of its path, e.g. "/v2/models/{model}/infer"; "" where no route takes it."""
    traceparent: str = ""
    """The W3C trace context that it came with, as it stood in the header."""
    traceresponse: str = ""
    """The W3C trace context of its own span, where a tracer follows it; goes out with the answer."""
    span: Any = None
    """What a tracer keeps of it."""
    surroundings: "contextvars.Context | None" = None
    """The context variables for work done for it elsewhere, where a tracer follows it."""
    status: int = 0
    outcome: str = ""
    """"ok", or the code of the error; "" until it has ended."""
    first_s: float = 0.0
    """When the first piece of a streamed answer was ready; 0 where it came in one."""
    ended_s: float = 0.0
    heard: bool = False
    """Whether all of it has arrived."""
    bytes_in: int = 0
    bytes_out: int = 0
    rows: int = 0
    device_s: float = 0.0
    """Seconds of model runs, its share by rows of each run it was part of."""
    cpu_s: float = 0.0
    tokens_in: int = 0
    """Tokens of its prompts, where a model generates for it."""
    tokens_out: int = 0
    runs: tuple[Any, ...] = ()
    """The `modelapp.observing.ModelRun`s it was part of, kept while somebody watches."""
    arm: str = ""
    probe: str = ""
    seed: int | None = None
    """What a test says instead of chance."""
    trusted: bool = False
    private: bool = False
    """Whether its endpoint has sensitive fields, so that no text of an exception may be shown."""
    held: tuple[Any, ...] = ()
    """The bounds (`modelapp.rates.Gate`) it counts against until it is answered."""
    gone: bool = False
    _watcher: "asyncio.Task[None] | None" = None
    _on_cancel: "tuple[Callable[[], None], ...]" = ()

    def __init__(
        self,
        arrived_s: float,
        *,
        deadline_s: float | None = None,
        id: str = "",
        headers: Mapping[str, str] = _NO_HEADERS,
        disconnect: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.id = id or new_id()
        self.arrived_s = arrived_s
        self.deadline_s = deadline_s
        self.headers = headers
        self.timings_ms: dict[str, float] = {}
        self._disconnect = disconnect

    @cached_property
    def steps(self) -> dict[str, object]:
        """Results of steps, kept where `probe` asks to look at one."""
        return {}

    def check_model(self, name: str) -> None:
        """Raise Forbidden where its token may not call that model: for those that are named in a body."""
        if self.rights is not None:
            self.rights.check("model", name)

    def add_time(self, what: str, ms: float) -> None:
        """Add to a `Server-Timing` entry: queue, batch, execute and the like."""
        self.timings_ms[what] = self.timings_ms.get(what, 0.0) + ms

    def check(self, now_s: float) -> None:
        """Raise DeadlineExceeded or Cancelled where nobody waits any more."""
        if self.gone:
            raise client_left()
        if self.deadline_s is not None and now_s >= self.deadline_s:
            raise too_late()

    def watch(self, on_cancel: Callable[[], None]) -> None:
        """Call `on_cancel` if the client leaves.

        Watching costs a task and 50 microseconds, so only work that waits or runs off the loop asks for it.
        """
        self._on_cancel += (on_cancel,)
        if self._watcher is None and self._disconnect is not None:
            import asyncio  # takes 20 ms, which the command line, that reads this module too, need not spend

            self._watcher = asyncio.get_running_loop().create_task(self._wait_for_disconnect(self._disconnect))

    def unwatch(self, on_cancel: Callable[[], None]) -> None:
        """Forget an `on_cancel` whose work has ended."""
        self._on_cancel = tuple([kept for kept in self._on_cancel if kept is not on_cancel])

    async def _wait_for_disconnect(self, disconnect: Callable[[], Awaitable[None]]) -> None:
        await disconnect()
        self.cancel()

    def cancel(self) -> None:
        """The client is gone: tell everyone who works for it."""
        self.gone = True
        callbacks, self._on_cancel = self._on_cancel, ()
        for callback in callbacks:
            callback()

    def close(self) -> None:
        """The answer is on its way; stop watching."""
        if self._watcher is not None:
            self._watcher.cancel()
            self._watcher = None

"""The door of a replica: bytes in, a route's answer out, every failure in the shape of its protocol.

An RSGI application. It runs for every request, so it makes no task, no timer and no closure for one.
"""

import asyncio
import contextlib
import hmac
import logging
import re
from functools import partial
from math import ceil, inf
from time import monotonic
from typing import TYPE_CHECKING, Any

from granian._granian import RSGIProtocolClosed as ProtocolClosed
from granian._granian import RSGIProtocolError as ProtocolError

from modelapp import current
from modelapp.admission import Admission
from modelapp.blame import told_in_full
from modelapp.call import CONTROL_HEADER, Call, is_cancelled, server_failed
from modelapp.errors import BadRequest, Cancelled, DeadlineExceeded, RequestError, SlowBody, TooLarge
from modelapp.observing import Observers
from modelapp.overdue import Overdue
from modelapp.routes import HttpRequest, HttpResponse, HttpStream, RouteTable
from modelapp.streaming import send_stream
from modelapp.waiting import frames

if TYPE_CHECKING:
    from granian._granian import RSGIHTTPProtocol as HTTPProtocol
    from granian.rsgi import Scope

PROBE_HEADER = "x-modelapp-probe"
ARM_HEADER = "x-modelapp-arm"
SEED_HEADER = "x-modelapp-seed"
BODY_TIMEOUT_S = 30.0
"""Time a body has to arrive on a route without a timeout of its own."""
LINGER_BYTES = 64 * 1024 * 1024
LINGER_S = 5.0
"""How much of a refused body is read and dropped, so that a client still sending meets the answer, not a reset."""

_MOST_RETRY_S = 3600
_log = logging.getLogger("modelapp.edge")
_GOOD_ID = re.compile(r"[A-Za-z0-9._-]{1,64}").fullmatch
_BODILESS = frozenset({"GET", "HEAD"})
_CLOSE = ("connection", "close")
_SERVER = ("server", "modelapp")
_NO_RETRY = ("x-should-retry", "false")
_UNSHAPED = HttpResponse(500, b'{"error":{"code":"internal","message":"the server failed","field":null}}')


class Edge:
    """Answers requests by `table`, which may be replaced while it serves.

    `control_token` makes a caller trusted, "" trusts nobody. `observers` are told of every request.
    """

    def __init__(
        self,
        table: RouteTable,
        admission: Admission,
        *,
        control_token: str = "",
        observers: Observers | None = None,
    ) -> None:
        self.table = table
        self.lifecycle = admission.lifecycle
        self._admission = admission
        self._observers = observers or Observers()
        self._token = control_token.encode()
        self._overdue: Overdue

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Called by the server before the first request."""
        self._loop = loop
        self._overdue = Overdue(loop)

    async def __rsgi__(self, scope: "Scope", protocol: "HTTPProtocol") -> None:
        """One request: route, body, handler, answer."""
        headers: Any = scope.headers  # each access copies them
        method, path = scope.method, scope.path
        call = self._new_call(headers, protocol)
        call.method = method
        current.enter(call)
        lifecycle, task, unread = self.lifecycle, None, True
        table = self.table  # for all of this request, though another may be put in its place
        table.in_flight += 1
        call.release = table.release[1]
        lifecycle.enter()
        try:
            route, params = table.find(method, path)
            call.endpoint, call.protocol, call.route = route.name, route.protocol, route.path
            if self._observers.following:
                self._observers.request_started(call)
            self._admission.enter(call, route.access, route.name or params.get("model", ""), always=route.always)
            timeout_s = route.timeout_s
            if timeout_s is not None:
                call.deadline_s = call.arrived_s + timeout_s
            body = b""
            if method not in _BODILESS:
                task = self._watch(call.deadline_s or call.arrived_s + BODY_TIMEOUT_S, call)
                body = await _read_body(route.max_body_bytes, headers, protocol)
                call.bytes_in = len(body)
                if timeout_s is None:
                    self._overdue.add(task, inf, call)
            elif timeout_s is not None:
                task = self._watch(call.arrived_s + timeout_s, call)
            unread, call.heard = False, True
            request = HttpRequest(method, path, scope.query_string, headers, body, params, call)
            answer = await route.handler(request)
            if isinstance(answer, HttpStream):
                await self._stream(protocol, call, table, answer)
            else:
                call.outcome = "ok"
                self._send(protocol, call, table, answer)
        except RequestError as error:
            self._send(protocol, call, table, self._shape(table, call, path, error))
            if isinstance(error, Cancelled):
                call.status = Cancelled.status  # whatever the protocol would have sent
        except GeneratorExit:
            raise
        except BaseException as error:  # whatever a handler or plugin raises, sys.exit too, the client gets an answer
            if isinstance(error, asyncio.CancelledError) and is_cancelled():
                why = self._why_ended()
                if why is None:
                    raise
                call.cancel()  # what still waits somewhere for this request need not run
                late = isinstance(why, DeadlineExceeded)
                failure = SlowBody("the body did not arrive in time") if unread and late else why
                unread = False
            else:
                _log.error("request %s: %s %r failed\n%s", call.id, method, path, told_in_full(error, call.private))
                failure = server_failed(call)
            self._send(protocol, call, table, self._shape(table, call, path, failure))
        finally:
            if task is not None:
                self._overdue.remove(task)
            call.close()
            table.in_flight -= 1
            self._admission.leave(call)
            lifecycle.leave()
            self._observers.request_ended(call)
        if unread and method not in _BODILESS and "expect" not in headers:
            await _linger(headers, protocol)

    def _new_call(self, headers: Any, protocol: "HTTPProtocol") -> Call:
        given = headers.get("x-request-id")
        call_id = given if given is not None and _GOOD_ID(given) else ""
        call = Call(monotonic(), id=call_id, headers=headers, disconnect=protocol.client_disconnect)
        control = headers.get(CONTROL_HEADER)
        if control is not None and self._token and hmac.compare_digest(control.encode(), self._token):
            call.trusted = True
            call.probe = headers.get(PROBE_HEADER, "")
            call.arm = headers.get(ARM_HEADER, "")
            seed = headers.get(SEED_HEADER, "")
            call.seed = int(seed) if seed.isdecimal() else None
        return call

    def _watch(self, deadline_s: float, call: Call) -> "asyncio.Task[Any]":
        task = asyncio.current_task(self._loop)
        assert task is not None  # the server runs each request in a task
        self._overdue.add(task, deadline_s, call)
        return task

    def end_all(self, error: RequestError) -> None:
        """Answer every request in progress with `error` now; to a stream it gives the last words."""
        for task in asyncio.all_tasks(self._loop):
            if any(frame.f_code is Edge.__rsgi__.__code__ for frame in frames(task)):
                self._overdue.end(task, error)

    def _why_ended(self) -> RequestError | None:
        """Why this task was cancelled, where that was done here; it may then go on to say so."""
        task = asyncio.current_task(self._loop)
        if task is None or (why := self._overdue.why(task)) is None:
            return None
        self._overdue.remove(task)
        task.uncancel()
        return why

    def _shape(self, table: RouteTable, call: Call, path: str, error: RequestError) -> HttpResponse:
        call.outcome = error.code
        try:
            response = table.error_shape(path)(error)
        except Exception:  # a plugin's error shape is no reason to answer nothing
            _log.exception("the error shape of %r failed", path)
            response = _UNSHAPED
        more = list(error.headers)
        if error.retry_after_s is not None or error.status in (429, 503):
            wait_s = min(error.retry_after_s or 1, _MOST_RETRY_S)
            more += [("retry-after", str(max(1, ceil(wait_s)))), ("retry-after-ms", str(max(1, ceil(wait_s * 1000))))]
        elif error.status in (500, 504):  # some clients send it again by themselves, which an overload does not need
            more.append(_NO_RETRY)
        present = {name for name, _ in response.headers}
        extra = tuple(header for header in more if header[0] not in present)
        return HttpResponse(response.status, response.body, response.content_type, response.headers + extra)

    def _send(self, protocol: "HTTPProtocol", call: Call, table: RouteTable, response: HttpResponse) -> None:
        call.bytes_out = len(response.body)
        protocol.response_bytes(response.status, self._headers(call, table, response), response.body)

    async def _stream(
        self,
        protocol: "HTTPProtocol",
        call: Call,
        table: RouteTable,
        answer: HttpStream,
    ) -> None:
        headers = partial(self._headers, call, table, answer)
        await send_stream(lambda: protocol.response_stream(answer.status, headers()), call, answer, self._why_ended)
        call.ended_s = monotonic()

    def _headers(self, call: Call, table: RouteTable, response: HttpResponse | HttpStream) -> list[tuple[str, str]]:
        call.ended_s = monotonic()
        call.status = response.status
        timing = f"total;dur={(call.ended_s - call.arrived_s) * 1e3:.3f}"
        if call.timings_ms:
            parts = ", ".join([f"{name};dur={ms:.3f}" for name, ms in call.timings_ms.items()])
            timing = f"{parts}, {timing}"
        headers = [
            ("content-type", response.content_type),
            ("x-request-id", call.id),
            table.release,
            ("server-timing", timing),
            _SERVER,
        ]
        if response.headers:
            headers.extend(response.headers)
        if call.arm:
            headers.append((ARM_HEADER, call.arm))
        if call.traceresponse:
            headers.append(("traceresponse", call.traceresponse))
        if self.lifecycle.closing:
            headers.append(_CLOSE)
        return headers


async def _read_body(most: int, headers: Any, protocol: "HTTPProtocol") -> bytes:
    length = headers.get("content-length")
    if length is not None and int(length) > most:  # the server has refused what is no number
        raise _too_large(most)
    try:
        if length is None:
            chunked = headers.get("transfer-encoding") is not None
            return await _read_chunks(protocol, most) if chunked else b""
        body = await protocol()
    except (ProtocolClosed, ProtocolError):
        raise BadRequest("the body ends too early: the connection closed in its middle") from None
    if len(body) != int(length):
        raise BadRequest(f"the body ends too early: {len(body)} of {length} bytes came")
    return body


async def _linger(headers: Any, protocol: "HTTPProtocol") -> None:
    """Read on after an early refusal, within bounds."""
    if headers.get("content-length") is None and headers.get("transfer-encoding") is None:
        return
    with contextlib.suppress(ProtocolClosed, ProtocolError, TimeoutError, TooLarge):
        async with asyncio.timeout(LINGER_S):
            await _read_chunks(protocol, LINGER_BYTES, keep=False)


async def _read_chunks(protocol: "HTTPProtocol", most: int, *, keep: bool = True) -> bytes:
    """A body of unknown length. Raises TooLarge as soon as it passes `most`.

    A connection that closes in the middle looks like the end, so only forms that tell their own end are safe in it.
    """
    chunks: list[bytes] = []
    size = 0
    async for chunk in protocol:
        size += len(chunk)
        if size > most:
            raise _too_large(most)
        if keep:
            chunks.append(chunk)
    return b"".join(chunks)


def _too_large(most: int) -> TooLarge:
    return TooLarge(f"the body is larger than the {most} bytes that this route takes")

"""Answers that come piece by piece, as a real client sees them."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from modelapp.errors import InvalidInput, ModelFailed, RequestError
from modelapp.natural import natural_error
from modelapp.routes import HttpRequest, HttpStream, ProtocolRoutes, Route


def last_words(error: RequestError) -> bytes:
    """The failure as an event."""
    return f"data: {json.dumps({'error': error.code})}\n\n".encode()


class Streams:
    """A protocol of streams, and what became of them."""

    def __init__(self) -> None:
        self.closed: list[str] = []
        self.sent = 0

    def protocol(self) -> ProtocolRoutes:
        """One route a stream."""
        streams = {"/count": self._count, "/early": self._early, "/late": self._late, "/endless": self._endless}
        routes = [Route("POST", path, self._handler(path, make), timeout_s=1.0) for path, make in streams.items()]
        return ProtocolRoutes("streams", "/", tuple(routes), natural_error)

    def _handler(self, path: str, make: Callable[[], AsyncIterator[bytes]]) -> Any:
        async def handler(request: HttpRequest) -> HttpStream:
            return HttpStream(chunks=self._noted(path, make()), last_words=last_words)

        return handler

    async def _noted(self, path: str, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        try:
            async for chunk in chunks:
                yield chunk
        finally:
            self.closed.append(path)

    async def _count(self) -> AsyncIterator[bytes]:
        for number in range(3):
            yield f"data: {number}\n\n".encode()

    async def _early(self) -> AsyncIterator[bytes]:
        raise InvalidInput("no", field="x")
        yield b""

    async def _late(self) -> AsyncIterator[bytes]:
        yield b"data: 0\n\n"
        raise ModelFailed("it broke")

    async def _endless(self) -> AsyncIterator[bytes]:
        while True:
            self.sent += 1
            yield b"data: again\n\n"
            await asyncio.sleep(0.01)


def test_chunks_arrive_in_order_under_the_usual_headers(serve) -> None:
    """Release, request id and content type, as of any answer."""
    answer = serve(Streams().protocol()).request("POST", "/count", b"")
    assert (answer.status, answer.body) == (200, b"data: 0\n\ndata: 1\n\ndata: 2\n\n")
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.headers["x-modelapp-release"] == "r1"
    assert answer.headers["x-request-id"]


def test_what_fails_before_the_first_chunk_is_an_ordinary_error(serve) -> None:
    """With its own status."""
    streams = Streams()
    answer = serve(streams.protocol()).request("POST", "/early", b"")
    assert (answer.status, answer.json["error"]["field"]) == (422, "x")
    assert streams.closed == ["/early"]


def test_what_fails_later_ends_the_stream_with_its_last_words(serve) -> None:
    """The status is sent already."""
    answer = serve(Streams().protocol()).request("POST", "/late", b"")
    assert answer.status == 200
    assert answer.body == b'data: 0\n\ndata: {"error": "model_failed"}\n\n'


def test_a_failure_that_somebody_keeps_ends_the_stream_too(serve) -> None:
    """Its traceback must not keep the answer open."""
    kept = []

    class Keeping(Streams):
        async def _late(self) -> AsyncIterator[bytes]:
            yield b"data: 0\n\n"
            kept.append(ModelFailed("it broke"))
            raise kept[0]

    answer = serve(Keeping().protocol()).request("POST", "/late", b"")
    assert answer.body == b'data: 0\n\ndata: {"error": "model_failed"}\n\n'


def test_a_stream_ends_when_its_time_is_over(serve) -> None:
    """With last words that say so."""
    answer = serve(Streams().protocol()).request("POST", "/endless", b"")
    assert answer.body.endswith(b'data: {"error": "deadline_exceeded"}\n\n')


def test_a_client_that_leaves_ends_the_stream(serve) -> None:
    """Its source is closed, long before its time is over."""
    streams = Streams()
    server = serve(streams.protocol())
    connection = server.connect()
    connection.sendall(b"POST /endless HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n")
    assert connection.recv(100)
    connection.close()
    until_s = time.monotonic() + 10
    while not streams.closed and time.monotonic() < until_s:
        time.sleep(0.01)
    assert streams.closed == ["/endless"]
    assert streams.sent < 60

"""ModelStreamInfer: requests come and answers go on one RPC, in order, several in progress at a time."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import TypeAlias

from modelapp.errors import Cancelled, NotReady, QueueFull, RequestError, Unauthorized
from modelapp.service import Host
from modelapp_oip.grpccall import Context, headers_of, new_call, refuse
from modelapp_oip.grpccodes import details_of
from modelapp_oip.grpcframe import failed, streamed
from modelapp_oip.grpcinfer import GrpcInfer
from modelapp_oip.grpclong import STOPPING

Answer: TypeAlias = asyncio.Task[tuple[bytes, RequestError | None]]

_log = logging.getLogger("modelapp.grpc")

AT_A_TIME = 32
"""Requests of one stream that are in progress together; more wait in the client."""
MOST_STREAMS = 1024
"""Streams that are open together."""
_METHOD = "ModelStreamInfer"


class GrpcStreams:
    """All streams that are open."""

    def __init__(self, host: Host, infer: GrpcInfer) -> None:
        self._host = host
        self._infer = infer
        self._open: set[_Stream] = set()

    async def serve(self, requests: AsyncIterator[bytes], context: Context) -> None:
        """One stream, to its end."""
        stream = _Stream(self._host, self._infer, context)
        if len(self._open) >= MOST_STREAMS:
            await refuse(context, stream.call, QueueFull(f"{MOST_STREAMS} streams are open already", retry_after_s=1))
        self._open.add(stream)
        try:
            failure = await stream.run(requests)
        finally:
            self._open.discard(stream)
        if failure is not None:
            await refuse(context, stream.call, failure)

    def end(self) -> None:
        """Take no more requests from any stream; each ends as soon as those it has are answered."""
        for stream in self._open:
            stream.end(NotReady(STOPPING, retry_after_s=1))


class _Stream:
    """One stream: a reader that starts requests, and a writer that sends their answers in the same order."""

    def __init__(self, host: Host, infer: GrpcInfer, context: Context) -> None:
        self._host = host
        self._infer = infer
        self._context = context
        self._headers = headers_of(context)
        self.call = new_call(context, self._headers, 0, _METHOD)
        """Stands for the stream as a whole in what its end tells; it is no request itself."""
        self.call.release = host.service.release
        self._answers: asyncio.Queue[Answer | None] = asyncio.Queue()
        self._room = asyncio.Semaphore(AT_A_TIME)
        self._failure: RequestError | None = None
        self._reader: asyncio.Task[None] | None = None

    def end(self, failure: RequestError | None) -> None:
        """Read no more."""
        if self._failure is None:
            self._failure = failure
        if self._reader is not None:
            self._reader.cancel()

    async def run(self, requests: AsyncIterator[bytes]) -> RequestError | None:
        """Answer until the client has no more, or until the end; why it ended, where not by the client's wish."""
        self._reader = asyncio.ensure_future(self._read(requests))
        self._reader.add_done_callback(self._no_more)
        answer: Answer | None = None
        try:
            while (answer := await self._answers.get()) is not None:
                content, error = await answer
                if error is not None and self._is_for_all(error):
                    return error
                await self._context.write(content)
                self._room.release()
            return self._failure
        finally:
            self._abandon(answer)

    def _is_for_all(self, error: RequestError) -> bool:
        """Whether all requests that follow would fare the same: the client is better told so at once."""
        if isinstance(error, NotReady):
            return not self._host.service.readiness().ready
        return isinstance(error, Unauthorized)

    def _no_more(self, reader: asyncio.Task[None]) -> None:
        if not reader.cancelled() and (error := reader.exception()) is not None:
            _log.debug("a stream broke off", exc_info=error)
            self.end(Cancelled("the stream broke off"))
        self._answers.put_nowait(None)

    def _abandon(self, answer: Answer | None) -> None:
        """Nobody waits for what is still in progress."""
        if self._reader is not None:
            self._reader.cancel()
        left = [answer, *(self._answers.get_nowait() for _ in range(self._answers.qsize()))]
        for one in left:
            if one is not None:
                one.cancel()

    async def _read(self, requests: AsyncIterator[bytes]) -> None:
        async for content in requests:
            await self._room.acquire()
            self._answers.put_nowait(asyncio.ensure_future(self._answer(content)))

    async def _answer(self, content: bytes) -> tuple[bytes, RequestError | None]:
        """The message that goes out, and the error that it tells of."""
        call = new_call(self._context, self._headers, len(content), _METHOD)
        try:
            return streamed(await self._infer.answer(content, call)), None
        except RequestError as error:
            return failed(content, details_of(error)), error

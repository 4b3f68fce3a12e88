"""Answers that are sent as they come into being: server-sent events and the like."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any

from granian._granian import RSGIProtocolClosed as ProtocolClosed
from granian._granian import RSGIProtocolError as ProtocolError

from modelapp.blame import told_in_full
from modelapp.call import Call, is_cancelled, server_failed
from modelapp.errors import Cancelled, RequestError
from modelapp.routes import HttpStream

if TYPE_CHECKING:
    from granian._granian import RSGIHTTPStreamTransport as Transport

_log = logging.getLogger("modelapp.edge")


async def send_stream(
    open_stream: "Callable[[], Transport]", call: Call, answer: HttpStream, ended: Callable[[], RequestError | None]
) -> None:
    """Send all chunks, with `call.outcome` and `call.bytes_out` as they turn out.

    The head is sent with the first chunk, so whatever fails before it is raised and answered like any other failure.
    `ended`: why the task was cancelled, where it may say so: its time is over, or the replica stops; it then goes on.
    """
    chunks: Any = answer.chunks
    try:
        first = await anext(chunks, b"")
        call.first_s = monotonic()
        transport = open_stream()
        call.outcome = await _send_rest(transport, call, answer, first, ended)
    finally:
        with contextlib.suppress(Exception):
            await chunks.aclose()


async def _send_rest(
    transport: "Transport", call: Call, answer: HttpStream, first: bytes, ended: Callable[[], RequestError | None]
) -> str:
    """Send what is left; the outcome."""
    # No error is kept in a variable: its traceback would hold this frame, and so the transport, whose end is the
    # answer's.
    try:
        await _send(transport, call, first)
        async for chunk in answer.chunks:
            await _send(transport, call, chunk)
    except (ProtocolClosed, ProtocolError):
        call.cancel()
        call.status = Cancelled.status  # the head, already sent, said that all was well
        return Cancelled.code
    except RequestError as error:
        error.__traceback__ = None  # it may be kept by whoever raised it
        words, code = answer.last_words(error), error.code
    except GeneratorExit:
        raise
    except BaseException as error:  # the head is sent: only the stream itself can still tell
        if isinstance(error, asyncio.CancelledError) and is_cancelled():
            why = ended()
            call.cancel()
            if why is None:
                raise
            if isinstance(why, Cancelled):
                call.status = Cancelled.status
            words, code = answer.last_words(why), why.code
        else:
            _log.error("the stream of request %s failed\n%s", call.id, told_in_full(error, call.private))
            error.__traceback__ = None
            failed = server_failed(call)
            words, code = answer.last_words(failed), failed.code
    else:
        return "ok"
    with contextlib.suppress(ProtocolClosed, ProtocolError):
        await _send(transport, call, words)
    return code


async def _send(transport: "Transport", call: Call, chunk: bytes) -> None:
    if chunk:
        await transport.send_bytes(chunk)
        call.bytes_out += len(chunk)

"""One RPC as the rest of the replica knows requests: a Call out of its metadata and deadline, an answer or a status."""

import asyncio
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any, NoReturn, TypeAlias

from grpc.aio import ServicerContext

from modelapp.blame import told_in_full
from modelapp.call import Call, server_failed, too_late
from modelapp.errors import RequestError
from modelapp.service import Host
from modelapp_oip.grpccodes import code_of, details_of, trailing
from modelapp_oip.grpcmessages import SERVICE

Context: TypeAlias = "ServicerContext[Any, Any]"
"""One RPC as its handler sees it."""

TIMEOUT_S = 30.0
"""How long a request may take whose client sets no deadline, or a later one."""
_EARLY_S = 0.05
"""A client's deadline may pass by its own clock before it does here."""

_log = logging.getLogger("modelapp.grpc")
_GOOD_ID = re.compile(r"[A-Za-z0-9._-]{1,64}").fullmatch


def headers_of(context: Context) -> dict[str, str]:
    """The texts among an RPC's metadata; of a key that is given twice, the first."""
    found: dict[str, str] = {}
    for key, value in context.invocation_metadata() or ():
        if isinstance(value, str):
            found.setdefault(key, value)
    return found


def new_call(context: Context, headers: dict[str, str], bytes_in: int, method: str) -> Call:
    """The call of a request to `method` that has just arrived.

    The RPC's deadline may shorten its time, never lengthen it.
    """
    now_s = monotonic()
    left_s = context.time_remaining()
    given = headers.get("x-request-id", "")
    call = Call(
        now_s,
        deadline_s=now_s + (TIMEOUT_S if left_s is None else min(left_s, TIMEOUT_S)),
        id=given if given and _GOOD_ID(given) else "",
        headers=headers,
    )
    call.protocol, call.route = "grpc", f"{SERVICE}/{method}"
    call.traceparent = headers.get("traceparent", "")
    call.bytes_in = bytes_in
    return call


def name_model(call: Call, host: Host, name: str) -> None:
    """Write down the model that a call asks for. Only one that there is: what a client makes up may be megabytes, and
    whoever counts requests keeps the names.
    """
    if (model := host.service.models.get(name)) is not None:
        call.model, call.private = name, model.private


@contextmanager
def contained(call: Call) -> Iterator[None]:
    """Whatever is raised inside becomes a RequestError, but that the client left.

    gRPC cancels a handler both when its client leaves and when the client's deadline passes: the clock tells which.
    """
    try:
        yield
        call.status = 200
    except RequestError:
        raise
    except asyncio.CancelledError:
        call.cancel()
        if call.deadline_s is not None and monotonic() >= call.deadline_s - _EARLY_S:
            raise too_late() from None
        raise
    except GeneratorExit:
        raise
    except BaseException as error:  # whatever a plugin or a model raises, sys.exit too, the client gets an answer
        _log.error("request %s failed\n%s", call.id, told_in_full(error, call.private))
        raise server_failed(call) from None


async def refuse(context: Context, call: Call, error: RequestError) -> NoReturn:
    """End the RPC with the status of an error."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():  # gRPC has ended it already
        raise asyncio.CancelledError from error
    # gRPC keeps the exception that ends an RPC with the RPC, a circle: what hangs on it waits for the collector.
    error.__traceback__ = error.__cause__ = error.__context__ = None
    await context.abort(code_of(error), details_of(error), trailing(call, error))

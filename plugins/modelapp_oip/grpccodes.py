"""What gRPC calls each outcome of a request, and what it tells beside the answer."""

from collections.abc import Mapping
from math import ceil
from time import monotonic
from typing import Final

from grpc import StatusCode

from modelapp.call import Call
from modelapp.errors import (
    BadRequest,
    Cancelled,
    DeadlineExceeded,
    Forbidden,
    InvalidInput,
    MethodNotAllowed,
    ModelDied,
    ModelFailed,
    NotFound,
    NotReady,
    OutOfMemory,
    QueueFull,
    RateLimited,
    RequestError,
    SlowBody,
    TooLarge,
    Unauthorized,
    UnsupportedMedia,
)

CODES: Final[Mapping[type[RequestError], StatusCode]] = {
    RequestError: StatusCode.INTERNAL,
    BadRequest: StatusCode.INVALID_ARGUMENT,
    Unauthorized: StatusCode.UNAUTHENTICATED,
    Forbidden: StatusCode.PERMISSION_DENIED,
    NotFound: StatusCode.NOT_FOUND,
    MethodNotAllowed: StatusCode.UNIMPLEMENTED,
    SlowBody: StatusCode.DEADLINE_EXCEEDED,
    TooLarge: StatusCode.RESOURCE_EXHAUSTED,  # what gRPC itself says of a message over its limit
    UnsupportedMedia: StatusCode.INVALID_ARGUMENT,
    InvalidInput: StatusCode.INVALID_ARGUMENT,
    QueueFull: StatusCode.RESOURCE_EXHAUSTED,
    RateLimited: StatusCode.RESOURCE_EXHAUSTED,
    Cancelled: StatusCode.CANCELLED,
    ModelFailed: StatusCode.INTERNAL,
    NotReady: StatusCode.UNAVAILABLE,
    ModelDied: StatusCode.UNAVAILABLE,
    OutOfMemory: StatusCode.UNAVAILABLE,
    DeadlineExceeded: StatusCode.DEADLINE_EXCEEDED,
}
"""Every error of `modelapp.errors`; an app's own subclass takes the code of what it derives from."""

_MOST_CHARS = 1000
"""Clients take 8 KiB of trailing metadata, in which a character may become nine bytes."""
_MOST_RETRY_S = 3600.0

Metadata = tuple[tuple[str, str], ...]


def code_of(error: RequestError) -> StatusCode:
    """The status code of an error."""
    return next(CODES[kind] for kind in type(error).__mro__ if kind in CODES)


def details_of(error: RequestError) -> str:
    """The text that goes with the code."""
    text = error.message
    return text if len(text) <= _MOST_CHARS else f"{text[:_MOST_CHARS]}..."


def trailing(call: Call, error: RequestError | None = None) -> Metadata:
    """What every answer carries behind it: release, request id, where the time went, and when to come again."""
    total = f"total;dur={(monotonic() - call.arrived_s) * 1e3:.3f}"
    if call.timings_ms:
        total = ", ".join([*(f"{name};dur={ms:.3f}" for name, ms in call.timings_ms.items()), total])
    told = (("x-request-id", call.id), ("x-modelapp-release", call.release), ("server-timing", total))
    if error is None or (error.retry_after_s is None and error.status not in (429, 503)):
        return told
    seconds = min(error.retry_after_s or 1.0, _MOST_RETRY_S)
    return (*told, ("retry-after", str(max(1, ceil(seconds)))), ("retry-after-ms", str(max(1, ceil(seconds * 1000)))))

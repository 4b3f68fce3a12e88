"""Failures as OpenAI's clients read them: {"error": {message, type, param, code}}.

How long to wait, and whether to try again at all, say the headers that the edge adds to every protocol's errors.
"""

import msgspec

from modelapp.errors import InvalidInput, NotFound, RequestError, Unauthorized
from modelapp.routes import HttpResponse

_TOO_MANY = 429
_SERVER_FAILED = 500


def openai_error(error: RequestError) -> HttpResponse:
    """An answer of its own; bad input is 400, since the protocol knows no finer word."""
    status = 400 if isinstance(error, InvalidInput) else error.status
    return HttpResponse(status, error_body(error))


def error_body(error: RequestError) -> bytes:
    """The JSON of a failure."""
    told = {"message": error.message, "type": _kind(error.status), "param": error.field or None, "code": _code(error)}
    return msgspec.json.encode({"error": told})


def last_event(error: RequestError) -> bytes:
    """What ends a stream that failed: clients raise on it."""
    return b"data: " + error_body(error) + b"\n\n"


def _kind(status: int) -> str:
    if status >= _SERVER_FAILED:
        return "server_error"
    return "rate_limit_error" if status == _TOO_MANY else "invalid_request_error"


def _code(error: RequestError) -> str:
    """The product's own word, but for the two that clients look for."""
    if isinstance(error, Unauthorized):
        return "invalid_api_key"
    return "model_not_found" if isinstance(error, NotFound) and error.field == "model" else error.code

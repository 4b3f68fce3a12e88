"""Failures as OpenAI's clients read them: {"error": {message, type, param, code}}."""

import msgspec

from modelapp.errors import InvalidInput, RequestError, Unauthorized
from modelapp.routes import HttpResponse

_CODES = {Unauthorized.code: "invalid_api_key"}  # the words that clients look for
_TOO_MANY = 429
_SERVER_S = 500


def openai_error(error: RequestError) -> HttpResponse:
    """An answer of its own; bad input is 400, since the protocol knows no finer word."""
    status = 400 if isinstance(error, InvalidInput) else error.status
    return HttpResponse(status, error_body(error))


def error_body(error: RequestError) -> bytes:
    """The JSON of a failure."""
    if error.status >= _SERVER_S:
        kind = "server_error"
    else:
        kind = "rate_limit_error" if error.status == _TOO_MANY else "invalid_request_error"
    code = _CODES.get(error.code, error.code)
    return msgspec.json.encode(
        {"error": {"message": error.message, "type": kind, "param": error.field or None, "code": code}}
    )

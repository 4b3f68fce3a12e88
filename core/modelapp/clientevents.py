"""A streamed answer as its caller reads it: each piece as it comes, and at the end the answer as a whole."""

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from modelapp.errors import RequestError, request_codes

CUT = b'{"error": {"code": "internal", "message": "the answer broke off before its end", "field": null}}'
Tell = Callable[[dict[str, Any]], None]
"""Is told each piece."""


class Whole(NamedTuple):
    """What a stream came to: the body that a whole answer would have had, and its status."""

    body: bytes
    status: int = 200


def read(lines: Iterable[bytes], tell: Tell) -> Whole:
    """Read a stream to its end, line by line. One that ends in neither an answer nor an error has failed."""
    for kind, data in _events(lines):
        if kind == "done":
            return Whole(data)
        if kind == "error":
            return Whole(data, _status(data))
        piece = _object(data)
        if piece is not None:
            tell(piece)
    return Whole(CUT, RequestError.status)


def _events(lines: Iterable[bytes]) -> Iterator[tuple[str, bytes]]:
    kind, data = "", b""
    for raw in lines:
        line = raw.rstrip(b"\r\n")
        if not line and data:
            yield kind, data
            kind, data = "", b""
        elif line.startswith(b"event:"):
            kind = line[6:].strip().decode()
        elif line.startswith(b"data:"):
            data = line[5:].strip()


def _status(body: bytes) -> int:
    error = (_object(body) or {}).get("error")
    code = error.get("code") if isinstance(error, dict) else None
    return request_codes().get(str(code), RequestError.status)


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(body)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None

"""Answers of endpoints as server-sent events: the pieces, then the whole answer, or the error that came in between."""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any

from modelapp.answers import Outputs
from modelapp.app import Field
from modelapp.bodies import off_loop
from modelapp.errors import RequestError
from modelapp.generating import Piece

STREAM_TYPE = "text/event-stream"
_JSON_TYPE = "application/json"


def wants_json(headers: Mapping[str, str]) -> bool:
    """Whether a client asks for the whole answer at once: it names JSON in its Accept header, and no stream."""
    accept = headers.get("accept", "").lower()
    return _JSON_TYPE in accept and STREAM_TYPE not in accept


def event(body: bytes, kind: str = "") -> bytes:
    """One server-sent event, whose data are one line."""
    head = b"event: " + kind.encode() + b"\n" if kind else b""
    return head + b"data: " + body + b"\n\n"


def failed_event(shape: Callable[[RequestError], bytes]) -> Callable[[RequestError], bytes]:
    """What ends a stream that failed; `shape` makes the error's body."""
    return lambda error: event(shape(error), "error")


class Events:
    """Writes the answers of an endpoint that streams. `fields` are its declared outputs.

    Of a piece the declared outputs that it has are sent; without declared ones, all of it. Declared outputs are those
    of one answer, so where a request asks for several the pieces of the first are sent, until the end.
    """

    def __init__(self, fields: Mapping[str, Field], outputs: Outputs) -> None:
        self._fields = fields
        self._whole = outputs
        self._part = Outputs(_boundless(fields), partial=True)

    async def write(self, pieces: AsyncGenerator[Piece]) -> AsyncGenerator[bytes]:
        """The events of one answer. Raises RequestError."""
        heavy = self._whole.heavy
        async with aclosing(pieces):
            async for piece in pieces:
                final, record = piece.final, piece.record if piece.final else self._declared(piece.record)
                if record or final:
                    encode = self._whole.encode if final else self._part.encode
                    body = await off_loop(encode, record) if heavy else encode(record)
                    yield event(body, "done" if final else "")

    def _declared(self, record: Mapping[str, Any]) -> Mapping[str, Any]:
        if not self._fields:
            return record
        return {} if record.get("index") else {name: record[name] for name in self._fields if name in record}


def _boundless(fields: Mapping[str, Field]) -> dict[str, Field]:
    """The same fields, which say no more than their types: bounds hold for a whole answer."""
    return {
        name: Field(
            name=name,
            type=field.type,
            dtype=field.dtype,
            shape=field.shape,
            fields=_boundless(field.fields),
            sensitive=field.sensitive,
        )
        for name, field in fields.items()
    }

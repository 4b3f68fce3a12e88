"""Multipart bodies: the named parts of an upload."""

import logging
from collections.abc import Callable
from typing import Any, cast

import attrs

from modelapp.errors import BadRequest, TooLarge

MAX_PARTS = 256
logging.getLogger("python_multipart").setLevel(logging.ERROR)  # it warns of each broken form, which callers send
_MAX_HEADERS = 16
_MAX_HEADER_BYTES = 4096


@attrs.frozen
class Part:
    """One part of a form. `filename` is None where the part is a plain field."""

    name: str
    data: bytes
    filename: str | None = None


def read_form(body: bytes, content_type: str) -> tuple[Part, ...]:
    """The parts of a multipart/form-data body, in order.

    Raises BadRequest where the boundary is missing, the body is broken or its last boundary never comes, and TooLarge
    past MAX_PARTS parts.
    """
    from python_multipart import MultipartParser
    from python_multipart.exceptions import FormParserError
    from python_multipart.multipart import parse_options_header

    try:
        boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
    except UnicodeEncodeError:  # a header outside latin-1
        boundary = b""
    if not boundary:
        raise BadRequest("the multipart content type names no boundary")
    reader = _Reader()
    try:
        parser = MultipartParser(
            boundary,
            cast("Any", reader.callbacks()),
            max_header_count=_MAX_HEADERS,
            max_header_size=_MAX_HEADER_BYTES,
        )
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise BadRequest(f"the multipart body is broken: {str(error)[:200]}") from None
    if not reader.ended:
        raise BadRequest(f"the multipart body ends too early, after {len(body)} bytes")
    return tuple(reader.parts)


class _Reader:
    """Collects what the parser calls back with."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.ended = False
        self._data: list[bytes] = []
        self._header = [b"", b""]
        self._disposition = b""

    def callbacks(self) -> dict[str, Callable[..., None]]:
        return {
            "on_part_begin": self._begin,
            "on_part_data": lambda data, start, end: self._data.append(data[start:end]),
            "on_part_end": self._end_part,
            "on_header_field": lambda data, start, end: self._add_header(0, data[start:end]),
            "on_header_value": lambda data, start, end: self._add_header(1, data[start:end]),
            "on_header_end": self._end_header,
            "on_end": self._end,
        }

    def _begin(self) -> None:
        if len(self.parts) >= MAX_PARTS:
            raise TooLarge(f"the form has more than {MAX_PARTS} parts")
        self._data, self._header, self._disposition = [], [b"", b""], b""

    def _add_header(self, which: int, piece: bytes) -> None:
        self._header[which] += piece

    def _end_header(self) -> None:
        name, value = self._header
        if name.strip().lower() == b"content-disposition":
            self._disposition = value
        self._header = [b"", b""]

    def _end_part(self) -> None:
        from python_multipart.multipart import parse_options_header

        options = parse_options_header(self._disposition.decode("latin-1"))[1]
        name = options.get(b"name")
        if name is None:
            raise BadRequest(f"part {len(self.parts) + 1} of the form has no name")
        filename = options.get(b"filename")
        self.parts.append(
            Part(_text(name), b"".join(self._data), _text(filename) if filename is not None else None),
        )

    def _end(self) -> None:
        self.ended = True


def _text(name: bytes) -> str:
    return name.decode("utf-8", errors="replace")

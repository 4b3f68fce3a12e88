"""A request's message taken apart without copying its tensors, and an answer's put together the same way.

Source of the wire format: protobuf.dev/programming-guides/encoding.
"""

import contextlib
from collections.abc import Sequence

from modelapp.errors import BadRequest
from modelapp_oip.grpcmessages import Message, message, parse
from modelapp_oip.raw import Raw

_COPIED_BYTES = 16 * 1024
"""Smaller messages are parsed whole: a copy costs less than looking for what need not be copied."""
_RAW_IN_TAG = 7 << 3 | 2  # ModelInferRequest.raw_input_contents
_RAW_OUT_TAG = 6 << 3 | 2  # ModelInferResponse.raw_output_contents
_STREAMED_TAG = 2 << 3 | 2  # ModelStreamInferResponse.infer_response
_FIXED_BYTES = {1: 8, 5: 4}


class Frame:
    """A ModelInferRequest. `raws` are its raw contents, left out of `request` where they are views of the message."""

    __slots__ = ("raws", "request", "size")

    def __init__(self, content: bytes) -> None:
        """Raises BadRequest where the bytes are no such message."""
        self.size = len(content)
        self.raws: Sequence[Raw]
        if self.size <= _COPIED_BYTES:
            self.request: Message = parse("ModelInferRequest", content)
            self.raws = self.request.raw_input_contents
            return
        rest, self.raws = _split(content)
        self.request = parse("ModelInferRequest", rest)


def _split(content: bytes) -> tuple[bytes, list[memoryview]]:
    """The message without its raw contents, and views of those."""
    view, size, at = memoryview(content), len(content), 0
    rest: list[memoryview] = []
    raws: list[memoryview] = []
    while at < size:
        start = at
        tag, at = _varint(content, at)
        kind = tag & 7
        if kind == 2:
            length, at = _varint(content, at)
            if at + length > size:
                raise _cut()
            if tag == _RAW_IN_TAG:
                raws.append(view[at : at + length])
                at += length
                continue
            at += length
        elif kind == 0:
            _, at = _varint(content, at)
        elif kind in _FIXED_BYTES:
            at += _FIXED_BYTES[kind]
        else:
            raise _cut()  # groups, which the protocol has none of
        rest.append(view[start:at])
    return b"".join(rest), raws


def _varint(content: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 64:
        if at >= len(content):
            raise _cut()
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise _cut()


def _cut() -> BadRequest:
    return BadRequest("the bytes are no message ModelInferRequest")


def answer(head: Message, raws: Sequence[Raw]) -> bytes:
    """A ModelInferResponse whose raw contents are copied once, into the message."""
    if not raws:
        return bytes(head.SerializeToString())
    parts: list[Raw] = [head.SerializeToString()]
    for raw in raws:
        parts += (_prefix(_RAW_OUT_TAG, len(raw)), raw)
    return b"".join(parts)


def streamed(content: bytes) -> bytes:
    """A ModelInferResponse as the answer of a stream."""
    return _prefix(_STREAMED_TAG, len(content)) + content


def failed(content: bytes, error: str) -> bytes:
    """The answer of a stream to the request `content` that failed, with the request's id where it can be read."""
    told = message("ModelStreamInferResponse")(error_message=error or "failed")
    with contextlib.suppress(BadRequest):
        request = Frame(content).request
        told.infer_response.id = request.id
        told.infer_response.model_name = request.model_name
    return bytes(told.SerializeToString())


def _prefix(tag: int, length: int) -> bytes:
    found = bytearray((tag,))
    while length > 0x7F:
        found.append(length & 0x7F | 0x80)
        length >>= 7
    found.append(length)
    return bytes(found)

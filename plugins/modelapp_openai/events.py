"""Generated pieces as server-sent events, in the order that OpenAI's clients expect."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Protocol

import msgspec

from modelapp.call import Call
from modelapp.errors import InvalidInput
from modelapp.generating import Piece
from modelapp.routes import HttpResponse, HttpStream
from modelapp.service import ModelService
from modelapp_openai.errors import last_event
from modelapp_openai.generation import (
    Choice,
    Sampling,
    Usage,
    choices_of,
    piece_of,
    pieces_of,
    usage_of,
    wants_usage,
    whole_answers,
)
from modelapp_openai.merging import merged

LIVE = (("cache-control", "no-store"), ("x-accel-buffering", "no"))
"""Headers by which proxies in between pass each piece on as it comes."""
DONE = b"data: [DONE]\n\n"
_NO_CHOICES = b'"choices":[]'
_encode = msgspec.json.Encoder().encode


class Shape(Protocol):
    """How one kind of answer is written, whole and in chunks."""

    def whole(self, answers: Sequence[Mapping[str, Any]]) -> msgspec.Struct:
        """The answers to all prompts."""
        ...

    def chunk(self, usage: Usage | None) -> msgspec.Struct:
        """A chunk whose `choices` are empty: around those of a piece, and with `usage` after all of them."""
        ...

    def begin(self, index: int) -> list[msgspec.Struct]:
        """The choices of the chunks, one each, that precede the pieces of a choice."""
        ...

    def piece(self, choice: Choice) -> list[msgspec.Struct]:
        """Those of a piece, and of the end where it has a `finish_reason`."""
        ...


async def respond(
    model: ModelService,
    records: Sequence[Mapping[str, Any]],
    call: Call,
    asked: Sampling,
    shape: Shape,
    headers: tuple[tuple[str, str], ...],
) -> HttpResponse | HttpStream:
    """The answer to `records`, one a prompt: streamed where that is asked for. Raises RequestError."""
    most, wanted = model.model.max_queue, len(records) * (asked.n or 1)
    if len(records) > 1 and wanted > most:  # it could never be let in, however often it came again
        told = f'prompt: {wanted} answers are asked for; the queue of model "{model.name}" holds {most}'
        raise InvalidInput(told, field="prompt")
    if not asked.stream:
        answers = await whole_answers(model, records, call)
        return HttpResponse(200, _encode(shape.whole(answers)), headers=headers)
    pieces = merged([pieces_of(model, record, call) for record in records])
    chunks = Events(shape, asked.n or 1, usage=wants_usage(asked)).write(pieces)
    return HttpStream(chunks=chunks, last_words=last_event, headers=LIVE + headers)


class Events:
    """Writes one stream; `per_prompt` choices belong to each of its prompts."""

    def __init__(self, shape: Shape, per_prompt: int, *, usage: bool) -> None:
        self._shape = shape
        self._per_prompt = per_prompt
        self._usage = usage
        # What is the same in all chunks is written once: there is one for every token.
        self._head, empty, self._tail = _encode(shape.chunk(None)).partition(_NO_CHOICES)
        assert empty
        self._begun: set[int] = set()
        self._ended: set[int] = set()
        self._finals: list[Mapping[str, Any]] = []

    async def write(self, pieces: AsyncGenerator[tuple[int, Piece]]) -> AsyncGenerator[bytes]:
        """The events. Raises RequestError; nothing is sent before the first piece is there."""
        async with aclosing(pieces):
            async for number, piece in pieces:
                first = number * self._per_prompt
                if piece.final:
                    chunk = self._final(first, piece.record)
                else:
                    chunk = self._written(piece_of(piece.record, first))
                if chunk:
                    yield chunk
        if self._usage:
            yield b"data: " + _encode(self._shape.chunk(usage_of(self._finals))) + b"\n\n"
        yield DONE

    def _written(self, choice: Choice) -> bytes:
        index, events = choice.index, b""
        if index not in self._begun:
            self._begun.add(index)
            events = self._events(self._shape.begin(index))
        if choice.finish_reason is not None:
            self._ended.add(index)
        elif not (choice.text or choice.logprobs):
            return events
        return events + self._events(self._shape.piece(choice))

    def _events(self, choices: list[msgspec.Struct]) -> bytes:
        return b"".join(
            [b'data: %b"choices":[%b]%b\n\n' % (self._head, _encode(choice), self._tail) for choice in choices]
        )

    def _final(self, first: int, record: Mapping[str, Any]) -> bytes:
        """The ends that no piece has told."""
        self._finals.append(record)
        left = [one for one in choices_of(record, self._per_prompt, first) if one.index not in self._ended]
        return b"".join(self._written(self._rest(choice)) for choice in left)

    def _rest(self, choice: Choice) -> Choice:
        """What is left of a choice of a model whose pieces do not say that they are the last, or that made none."""
        return choice if choice.index not in self._begun else Choice(choice.index, "", choice.finish_reason, ())

"""Generated pieces as server-sent events, in the order that OpenAI's clients expect."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Protocol

import msgspec

from modelapp.call import Call
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


class Shape(Protocol):
    """How one kind of answer is written, whole and in chunks."""

    def whole(self, answers: Sequence[Mapping[str, Any]]) -> msgspec.Struct:
        """The answers to all prompts."""
        ...

    def begin(self, index: int) -> list[msgspec.Struct]:
        """What precedes the pieces of a choice."""
        ...

    def piece(self, choice: Choice) -> list[msgspec.Struct]:
        """A piece, and the end where it has a `finish_reason`."""
        ...

    def usage(self, usage: Usage) -> msgspec.Struct:
        """The chunk after all choices."""
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
    if not asked.stream:
        answers = await whole_answers(model, records, call)
        return HttpResponse(200, msgspec.json.encode(shape.whole(answers)), headers=headers)
    pieces = merged([pieces_of(model, record, call) for record in records])
    chunks = Events(shape, asked.n or 1, usage=wants_usage(asked)).write(pieces)
    return HttpStream(chunks=chunks, last_words=last_event, headers=LIVE + headers)


class Events:
    """Writes one stream; `per_prompt` choices belong to each of its prompts."""

    def __init__(self, shape: Shape, per_prompt: int, *, usage: bool) -> None:
        self._shape = shape
        self._per_prompt = per_prompt
        self._usage = usage
        self._begun: set[int] = set()
        self._ended: set[int] = set()
        self._finals: list[Any] = []

    async def write(self, pieces: AsyncGenerator[tuple[int, Piece]]) -> AsyncGenerator[bytes]:
        """The events. Raises RequestError; nothing is sent before the first piece is there."""
        async with aclosing(pieces):
            async for number, piece in pieces:
                if chunk := self._final(number, piece) if piece.final else self._piece(number, piece):
                    yield chunk
        last = [self._shape.usage(usage_of(self._finals))] if self._usage else []
        yield b"".join(map(event, last)) + DONE

    def _piece(self, number: int, piece: Piece) -> bytes:
        choice = piece_of(piece.record)
        return self._written(self._numbered(number, choice))

    def _numbered(self, number: int, choice: Choice) -> Choice:
        """With its index among all prompts' choices."""
        return Choice(number * self._per_prompt + choice.index, choice.text, choice.finish_reason, choice.logprobs)

    def _written(self, choice: Choice) -> bytes:
        index = choice.index
        begun = [] if index in self._begun else self._shape.begin(index)
        self._begun.add(index)
        if choice.finish_reason is not None:
            self._ended.add(index)
        elif not (choice.text or choice.logprobs):
            return b"".join(map(event, begun))
        return b"".join(map(event, [*begun, *self._shape.piece(choice)]))

    def _final(self, number: int, piece: Piece) -> bytes:
        """The ends that no piece has told."""
        self._finals.append(piece.record)
        choices = [self._numbered(number, one) for one in choices_of(piece.record, self._per_prompt)]
        left = [choice for choice in choices if choice.index not in self._ended]
        return b"".join(self._written(self._rest(choice)) for choice in left)

    def _rest(self, choice: Choice) -> Choice:
        """A choice of a model whose pieces do not say that they are the last; none of them: the whole of it."""
        return choice if choice.index not in self._begun else Choice(choice.index, "", choice.finish_reason, ())


def event(chunk: msgspec.Struct) -> bytes:
    """A chunk as an event."""
    return b"data: " + msgspec.json.encode(chunk) + b"\n\n"

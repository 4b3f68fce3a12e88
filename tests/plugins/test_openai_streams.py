"""Pieces of generating models, made events: in any order, of any model, for any number of prompts and choices."""

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelapp.errors import ModelFailed, RequestError
from modelapp.generating import Piece
from modelapp_openai.chat import ChatChunk, ChunkChoice, Delta
from modelapp_openai.events import Events
from modelapp_openai.generation import Choice, Usage
from modelapp_openai.merging import merged

HEAD: Any = {"id": "i", "created": 1, "model": "m", "system_fingerprint": "r"}


class Letters:
    """The simplest shape: every chunk is one delta."""

    def whole(self, answers: Sequence[Any]) -> msgspec.Struct:
        """Not of interest here."""
        raise AssertionError(answers)

    def chunk(self, usage: Usage | None) -> msgspec.Struct:
        """The sums, or nothing."""
        return ChatChunk(**HEAD, choices=[], usage=usage)

    def begin(self, index: int) -> list[msgspec.Struct]:
        """Who speaks."""
        return [ChunkChoice(index, Delta(role="assistant"), None, None)]

    def piece(self, choice: Choice) -> list[msgspec.Struct]:
        """The text."""
        return [ChunkChoice(choice.index, Delta(content=choice.text), None, choice.finish_reason)]


async def stream_of(pieces: Sequence[Piece], error: Exception | None = None) -> AsyncGenerator[Piece]:
    """These pieces, others let in between."""
    for piece in pieces:
        await asyncio.sleep(0)
        yield piece
    if error:
        raise error


def told(streams: Sequence[AsyncGenerator[Piece]], per_prompt: int, *, usage: bool = False) -> list[Any]:
    """The data of all events."""

    async def collect() -> bytes:
        events = Events(Letters(), per_prompt, usage=usage).write(merged(streams))
        return b"".join([chunk async for chunk in events])

    body = asyncio.run(collect()).decode()
    data = [event.removeprefix("data: ") for event in body.split("\n\n")[:-1]]
    assert data.pop() == "[DONE]"
    return [json.loads(one) for one in data]


@st.composite
def answers(draw: st.DrawFn) -> tuple[int, list[tuple[list[Piece], list[str]]]]:
    """Choices a prompt; for each prompt its pieces, interleaved, and the whole texts."""
    each = draw(st.integers(1, 3))
    prompts = []
    for _ in range(draw(st.integers(1, 3))):
        texts = [draw(st.lists(st.text(max_size=3), max_size=4)) for _ in range(each)]
        tells_end = draw(st.booleans())
        order = draw(st.permutations([index for index, parts in enumerate(texts) for _ in parts]))
        left = [list(parts) for parts in texts]
        pieces = []
        for index in order:
            record: dict[str, Any] = {"index": index, "text": left[index].pop(0), "tokens": []}
            if tells_end and not left[index]:
                record["finish_reason"] = "length"
            pieces.append(Piece(record))
        choices = [
            {"index": index, "text": "".join(parts), "finish_reason": "length"} for index, parts in enumerate(texts)
        ]
        whole = {"choices": choices, "prompt_tokens": 2, "completion_tokens": 3}
        prompts.append(([*pieces, Piece(whole, final=True)], ["".join(parts) for parts in texts]))
    return each, prompts


@given(answers())
def test_every_choice_is_told_whole_and_ends_once(case: Any) -> None:
    """Its role comes first and its reason last, whatever comes between, and whether or not pieces tell the end."""
    each, prompts = case
    chunks = told([stream_of(pieces) for pieces, _ in prompts], each, usage=True)
    usage = chunks.pop()
    assert usage["usage"]["total_tokens"] == 5 * len(prompts)
    for index, text in enumerate(text for _, texts in prompts for text in texts):
        mine = [chunk["choices"][0] for chunk in chunks if chunk["choices"][0]["index"] == index]
        assert mine[0]["delta"] == {"role": "assistant"}
        assert "".join(one["delta"].get("content", "") for one in mine) == text
        assert [one["finish_reason"] for one in mine] == [None] * (len(mine) - 1) + ["length"]


def test_pieces_that_say_nothing_are_not_sent() -> None:
    """A token that is but a part of a character makes no chunk."""
    whole = {"text": "a", "finish_reason": "stop"}
    pieces = [Piece({"text": "", "tokens": [1]}), Piece({"text": "", "tokens": [2]}), Piece({"text": "a"})]
    chunks = told([stream_of([*pieces, Piece(whole, final=True)])], 1)
    assert [chunk["choices"][0]["delta"] for chunk in chunks] == [
        {"role": "assistant"}, {"content": "a"}, {"content": ""},
    ]  # fmt: skip


@pytest.mark.parametrize("final", [{"text": 7}, {}, {"choices": [{"index": 0, "text": "a"}]}])
def test_an_answer_that_lacks_something_is_the_models_failure(final: dict[str, Any]) -> None:
    """No text, or fewer answers than were asked for."""
    with pytest.raises(ModelFailed):
        told([stream_of([Piece(final, final=True)])], 2)


def test_the_first_error_ends_all_streams() -> None:
    """The others are closed, not left running; nothing hides the error."""
    closed = []

    async def endless(name: str) -> AsyncGenerator[Piece]:
        try:
            while True:
                await asyncio.sleep(0)
                yield Piece({"text": "x"})
        finally:
            closed.append(name)

    failing = stream_of([Piece({"text": "a"})], ModelFailed("it broke"))
    with pytest.raises(RequestError, match="it broke"):
        told([endless("one"), failing, endless("two")], 1)
    assert sorted(closed) == ["one", "two"]


@pytest.mark.parametrize("several", [1, 3])
def test_whoever_stops_reading_closes_them_all(several: int) -> None:
    """Also those that are ahead of a reader who takes nothing."""
    closed = []

    async def endless(name: int) -> AsyncGenerator[Piece]:
        try:
            while True:
                await asyncio.sleep(0)
                yield Piece({"text": "x"})
        finally:
            closed.append(name)

    async def leave() -> None:
        events = Events(Letters(), 1, usage=False).write(merged([endless(name) for name in range(several)]))
        await anext(events)
        for _ in range(300):  # the queue between fills up
            await asyncio.sleep(0)
        await events.aclose()

    asyncio.run(leave())
    assert sorted(closed) == list(range(several))

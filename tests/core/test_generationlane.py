"""A model that generates, as endpoints and protocols call it: records in, records or pieces out."""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any

import pytest

from modelapp.app import Generation, Model
from modelapp.call import Call
from modelapp.errors import InvalidInput, LoadError
from modelapp.generationlane import GenerationLane
from modelapp.lane import Around, Lane
from modelapp.nulloptions import RuntimeOptions
from modelapp.nulltext import NullTextModel, expected
from modelapp.runtime import Placement


def table(**more: Any) -> Model:
    """[models.story]"""
    return Model(**{"name": "story", "source": "s", "runtime": "null", "task": "text-generation", **more})


def run(work: Callable[[GenerationLane], Awaitable[Any]], model: Model | None = None, slots: int = 4) -> Any:
    """Do `work` with a lane over the scripted model."""

    async def whole() -> Any:
        lane = GenerationLane(NullTextModel(RuntimeOptions(), Placement(slots=slots)), model or table(), Around())
        checked: Lane = lane
        try:
            return await work(lane)
        finally:
            await checked.close()

    return asyncio.run(asyncio.wait_for(whole(), 30))


async def until(holds: Callable[[], bool]) -> None:
    """Wait for something that the loop brings about."""
    while not holds():  # noqa: ASYNC110 (nothing tells of it)
        await asyncio.sleep(0.001)


def call() -> Call:
    """A request's call."""
    return Call(monotonic())


def test_a_record_is_answered_with_a_record() -> None:
    """Text, reason, token counts, and each choice with its tokens."""

    async def work(lane: GenerationLane) -> None:
        (answer,) = await lane.infer([{"prompt": "a cave", "max_tokens": 4}], call())
        text = expected("a cave", 4)
        assert answer == {
            "text": text,
            "finish_reason": "length",
            "prompt_tokens": 6,
            "completion_tokens": 4,
            "choices": [{"index": 0, "text": text, "finish_reason": "length", "tokens": list(text.encode())}],
        }

    run(work)


def test_rows_of_one_request_are_answered_in_their_order() -> None:
    """Several prompts run together; where one is refused none runs."""

    async def work(lane: GenerationLane) -> None:
        prompts = [f"prompt {number}" for number in range(6)]
        answers = await lane.infer([{"prompt": prompt, "max_tokens": 5} for prompt in prompts], call())
        assert [answer["text"] for answer in answers] == [expected(prompt, 5) for prompt in prompts]
        with pytest.raises(InvalidInput, match="prompt"):
            await lane.infer([{"prompt": "good"}, {"prompt": ""}], call())
        with pytest.raises(InvalidInput):
            await lane.infer([], call())

    run(work)


@pytest.mark.parametrize("tokens", [12, 600])
def test_pieces_end_with_the_whole_answer(tokens: int) -> None:
    """Pieces joined are the text; the last one is the record that comes without streaming, however long."""

    async def work(lane: GenerationLane) -> None:
        row = {"prompt": "a cave", "max_tokens": tokens, "logprobs": 2, "ignore_end": True}
        pieces = [piece async for piece in lane.stream(row, call())]
        (whole,) = await lane.infer([row], call())
        assert [piece.final for piece in pieces] == [False] * (len(pieces) - 1) + [True]
        assert pieces[-1].record == whole
        assert "".join(piece.record["text"] for piece in pieces[:-1]) == whole["text"]
        assert pieces[-2].record["finish_reason"] == whole["finish_reason"]
        logprobs = [entry for piece in pieces[:-1] for entry in piece.record["logprobs"]]
        assert logprobs == whole["choices"][0]["logprobs"]
        assert [len(entry["top"]) for entry in logprobs] == [2] * whole["completion_tokens"]
        assert all(entry["top"][0]["id"] == entry["id"] for entry in logprobs)

    run(work)


def test_a_closed_stream_leaves_nothing_behind() -> None:
    """Whoever stops reading frees the slot."""

    async def work(lane: GenerationLane) -> None:
        stream = lane.stream({"prompt": "a", "max_tokens": 4000, "ignore_end": True}, call())
        await anext(stream)
        await stream.aclose()  # type: ignore[attr-defined]
        await until(lambda: lane._generator.schedule.idle)

    run(work)


def test_defaults_come_from_the_table_and_can_be_tuned() -> None:
    """`max_tokens` of the table holds where a request says nothing, and another one from a reload on."""

    async def work(lane: GenerationLane) -> None:
        row = {"prompt": "a cave", "ignore_end": True}
        assert (await lane.infer([row], call()))[0]["completion_tokens"] == 3
        lane.tune(table(generation_table=Generation(max_tokens=5)))
        assert (await lane.infer([row], call()))[0]["completion_tokens"] == 5

    run(work, table(generation_table=Generation(max_tokens=3)))


def test_fewer_slots_than_asked_are_told() -> None:
    """Where memory holds fewer sequences than max_batch_size says, the start says so."""

    async def work(lane: GenerationLane) -> None:
        assert "2 sequences" in lane.notes[0]
        assert lane.streams

    run(work, table(max_batch_size=8), slots=2)


def test_a_generating_model_wants_a_task() -> None:
    """Without one nobody knows what its records hold."""

    async def work() -> None:
        with pytest.raises(LoadError, match="task"):
            GenerationLane(NullTextModel(RuntimeOptions(), Placement()), table(task=""), Around())

    asyncio.run(work())

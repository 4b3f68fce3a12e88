"""The lane of models that run in batches: bounds of app.toml become the batcher's, examples warm every bucket."""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any

import numpy as np
import pytest

from modelapp.app import Model, Pad
from modelapp.batchlane import BatchLane
from modelapp.call import Call
from modelapp.errors import InvalidInput, LoadError, ModelFailed, OutOfMemory, QueueFull
from modelapp.lane import Around, Lane
from modelapp.nulloptions import RuntimeOptions
from modelapp.nullruntime import NullModel
from modelapp.runtime import Run


def table(**more: Any) -> Model:
    """[models.twice]"""
    return Model(**{"name": "twice", "source": "s", "runtime": "null", **more})


def run(work: Callable[[BatchLane, NullModel], Awaitable[Any]], model: Model | None = None, **script: Any) -> Any:
    """Do `work` with a lane over a scripted model that doubles its numbers."""

    async def whole() -> Any:
        loaded = NullModel(RuntimeOptions(**{"scale": 2.0, **script}))
        lane = BatchLane(loaded, model or table(), Around(), concurrent=False)
        checked: Lane = lane
        try:
            return await work(lane, loaded)
        finally:
            await checked.close()

    return asyncio.run(asyncio.wait_for(whole(), 30))


def call() -> Call:
    """A request's call."""
    return Call(monotonic())


def column(*numbers: float) -> dict[str, Any]:
    """Rows of one number each."""
    return {"x": np.array(numbers, np.float32)[:, np.newaxis]}


def test_a_request_larger_than_a_run_is_cut_and_joined() -> None:
    """Its answers come in the order of its rows; one larger than the queue can never run."""

    async def work(lane: BatchLane, loaded: NullModel) -> None:
        answer: Any = await lane.infer(column(*range(1, 8)), call())
        assert answer["x"][:, 0].tolist() == [2, 4, 6, 8, 10, 12, 14]
        assert loaded.calls == 3
        with pytest.raises(InvalidInput, match="never fit"):
            await lane.infer(column(*range(9)), call())

    run(work, table(max_batch_size=3, max_queue=8))


def test_other_bounds_hold_from_then_on() -> None:
    """A larger batch size is obeyed without loading anew."""

    async def work(lane: BatchLane, loaded: NullModel) -> None:
        lane.tune(table(max_batch_size=8))
        await lane.infer(column(*range(8)), call())
        assert loaded.calls == 1

    run(work, table(max_batch_size=2))


def test_the_first_example_goes_through_every_bucket() -> None:
    """While it warms up, and once; later requests run in their own bucket alone."""
    model = table(pad={"x": Pad()}, buckets=(2, 4, 8), max_batch_size=2)

    async def work(lane: BatchLane, loaded: NullModel) -> None:
        example = {"x": np.ones((1, 2), np.float32)}
        await lane.infer(example, call())
        assert loaded.calls == 4
        lane.warm()
        await lane.infer(example, call())
        assert loaded.calls == 5

    run(work, model, inputs={"x": "float32[batch, n]"})


def test_a_bucket_that_fails_is_named() -> None:
    """The start fails there, rather than the first request of that length."""
    model = table(pad={"x": Pad()}, buckets=(2, 4), max_batch_size=2)

    async def work(lane: BatchLane, loaded: NullModel) -> None:
        with pytest.raises(ModelFailed, match="in the bucket 4"):
            await lane.infer({"x": np.ones((1, 2), np.float32)}, call())

    run(work, model, inputs={"x": "float32[batch, n]"}, fail_on_call=2)


def test_what_has_no_effect_is_noted() -> None:
    """`pad` of a model whose requests run one at a time."""

    async def work(lane: BatchLane, loaded: NullModel) -> None:
        assert lane.notes == ("pad has no effect: requests run one at a time.",)

    run(work, table(pad={"x": Pad()}), batched=False)


def test_a_table_that_does_not_fit_the_model_is_refused() -> None:
    """`pad` names an input that is not there."""

    async def work() -> None:
        with pytest.raises(LoadError, match="nothing"):
            BatchLane(NullModel(RuntimeOptions()), table(pad={"nothing": Pad()}), Around(), concurrent=False)

    asyncio.run(work())


def test_a_full_queue_is_told_and_counted() -> None:
    """Rows that wait are told, and one more than the queue holds is refused."""

    async def work(lane: BatchLane, loaded: NullModel) -> None:
        asked = [asyncio.create_task(lane.infer(column(number), call())) for number in range(6)]
        await asyncio.sleep(0)
        assert lane.waiting_rows
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        assert sum(isinstance(outcome, QueueFull) for outcome in outcomes) == 3
        assert lane.figures.answered == 0  # they came by no protocol

    run(work, table(max_queue=3), delay_ms=30)


def test_a_run_without_room_is_halved_and_later_ones_are_smaller() -> None:
    """Everybody is answered in order, and from then on no run is as large; a reload of the table keeps that."""

    async def work(lane: BatchLane, loaded: NullModel) -> None:
        seen: list[int] = []
        whole = loaded.infer

        def short_of_memory(rows: Any, run: Run) -> Any:
            seen.append(len(rows["x"]))
            if len(rows["x"]) > 3:
                raise MemoryError
            return whole(rows, run)

        loaded.infer = short_of_memory  # type: ignore[method-assign] # the script cannot say it
        first: Any = await lane.infer(column(*range(8)), call())
        assert first["x"][:, 0].tolist() == [2 * number for number in range(8)]
        assert seen == [8, 4, 2, 2, 4, 2, 2]
        await asyncio.sleep(0)  # the bound is told on the loop
        lane.tune(table(max_batch_size=16))
        seen.clear()
        answers: Any = await asyncio.gather(*(lane.infer(column(number), call()) for number in range(9)))
        assert [answer["x"][0, 0] for answer in answers] == [2 * number for number in range(9)]
        assert max(seen) == 2

    run(work, table(max_batch_size=8, max_queue=32))


def test_a_model_that_may_not_run_twice_is_not_halved() -> None:
    """`rerun = false`: out of memory is the outcome of the whole run."""

    async def work(lane: BatchLane, loaded: NullModel) -> None:
        def full(rows: Any, run: Run) -> Any:
            raise MemoryError

        loaded.infer = full  # type: ignore[method-assign] # the script cannot say it
        with pytest.raises(OutOfMemory, match="on 4 rows"):
            await lane.infer(column(1, 2, 3, 4), call())

    run(work, table(max_batch_size=8, rerun=False))

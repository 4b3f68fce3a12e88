"""A loaded model behind its batcher."""

import asyncio
import threading
import tracemalloc
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import pytest

from modelapp.app import Model, Pad
from modelapp.call import Call
from modelapp.errors import DeadlineExceeded, InvalidInput, ModelDied, ModelFailed, NotReady
from modelapp.null import RUNTIME
from modelapp.nulloptions import RuntimeOptions
from modelapp.runtime import Placement
from modelapp.served import ServedModel

MB = 1 << 20


async def served(options: RuntimeOptions, *, open_it: bool = True, **keys: Any) -> ServedModel:
    """A model of the null runtime, loaded, with these keys in app.toml."""
    keys = {"max_batch_size": 8, **keys}
    model = ServedModel(
        Path(__file__).parent,
        Model(name="m", source="conftest.py", runtime="null", options=options, **keys),
        Placement(),
    )
    await model.load(RUNTIME.open())
    if open_it:
        model.open_for_requests()
    return model


def x(*values: float) -> dict[str, Any]:
    """One row a value."""
    return {"x": np.array(values, np.float32).reshape(-1, 1)}


def ids(*lengths: int) -> dict[str, Any]:
    """Rows of one length."""
    return {"ids": np.arange(1, lengths[0] * len(lengths) + 1, dtype=np.int64).reshape(len(lengths), -1)}


RAGGED = {"ids": "int64[batch, length]"}
PADDED = {"ids": Pad()}


def on_loop(scenario: Callable[[], Awaitable[None]]) -> None:
    """Run a scenario on a fresh loop and bound its time."""
    asyncio.run(asyncio.wait_for(scenario(), 30))


async def ask(model: ServedModel, rows: Any, **more: Any) -> Any:
    """One request."""
    return await model.infer(rows, Call(monotonic(), **more))


def test_large_request_is_cut_by_rows_and_joined() -> None:
    """Its rows come back as one answer, in order."""

    async def scenario() -> None:
        model = await served(RuntimeOptions(scale=2), max_batch_size=3)
        answer = await ask(model, x(*range(8)))
        assert answer["x"][:, 0].tolist() == [2.0 * value for value in range(8)]
        await model.close()

    on_loop(scenario)


@pytest.mark.parametrize("cost", ["tokens", "padded_tokens"])
def test_large_request_is_cut_by_cost(cost: str) -> None:
    """No run costs more than allowed; rows that are too long alone are bad input."""

    async def scenario() -> None:
        model = await served(RuntimeOptions(inputs=RAGGED, scale=2), cost=cost, max_batch_cost=10)
        rows = ids(3, 3, 3, 3, 3, 3, 3)
        call = Call(monotonic())
        answer: Any = await model.infer(rows, call)
        assert (answer["ids"] == rows["ids"] * 2).all()
        assert call.timings_ms["execute"] >= 0
        with pytest.raises(InvalidInput, match="a row of 11 tokens can never run: a run holds 10 at most"):
            await ask(model, ids(11))
        await model.close()

    on_loop(scenario)


def test_records_are_cut_by_cost_where_they_fit_no_run() -> None:
    """Each run takes as many records as its cost allows."""

    async def scenario() -> None:
        model = await served(RuntimeOptions(kind="records"), cost="padded_tokens", max_batch_cost=12)
        rows = [{"t": "a" * size} for size in (1, 2, 12, 3, 3, 3, 3, 3)]
        assert await ask(model, rows) == rows
        await model.close()

    on_loop(scenario)


def test_buckets_are_all_run_before_the_model_is_ready() -> None:
    """The warm-up's example is brought to each shape, shorter and longer, once."""

    async def scenario() -> None:
        model = await served(RuntimeOptions(inputs=RAGGED), pad=PADDED, buckets=(16, 4, 8), open_it=False)
        loaded: Any = model._loaded
        shapes: list[tuple[int, ...]] = []
        infer = loaded.infer
        loaded.infer = lambda rows, run: (shapes.append(rows["ids"].shape), infer(rows, run))[1]
        answer = await ask(model, ids(6))
        assert answer["ids"].shape == (1, 6)
        assert shapes == [(1, 4), (1, 8), (1, 16), (1, 8)]
        await ask(model, ids(6))
        assert len(shapes) == 5
        await model.close()

    on_loop(scenario)


def test_bucket_that_fails_is_named() -> None:
    """A model that cannot run a declared shape is not ready."""

    async def scenario() -> None:
        model = await served(
            RuntimeOptions(inputs=RAGGED, poison=77.0), pad={"ids": Pad(value=77)}, buckets=(2, 32), open_it=False
        )
        with pytest.raises(ModelFailed, match="in the bucket 32: "):
            await ask(model, ids(2))
        await model.close()

    on_loop(scenario)


def test_requests_meet_only_in_their_bucket() -> None:
    """A runtime never sees a shape that is no bucket, and each request gets its own length back."""

    async def scenario() -> None:
        model = await served(RuntimeOptions(inputs=RAGGED, scale=3), pad=PADDED, buckets=(4, 8))
        loaded: Any = model._loaded
        shapes: list[tuple[int, ...]] = []
        infer = loaded.infer
        loaded.infer = lambda rows, run: (shapes.append(rows["ids"].shape), infer(rows, run))[1]
        requests = [ids(length) for length in (1, 5, 4, 8, 3)]
        answers = await asyncio.gather(*(ask(model, one) for one in requests))
        for one, answer in zip(requests, answers, strict=True):
            assert answer["ids"].tolist() == (one["ids"] * 3).tolist()
        assert sorted(shapes) == [(2, 8), (3, 4)]
        with pytest.raises(InvalidInput, match="the largest is 8"):
            await ask(model, ids(9))
        await model.close()

    on_loop(scenario)


@pytest.mark.parametrize("priority", [3, -1])
def test_priority_out_of_range_is_bad_input(priority: int) -> None:
    """It is refused by name, never taken for another."""

    async def scenario() -> None:
        model = await served(RuntimeOptions(), priority_levels=2)
        call = Call(monotonic())
        call.priority = priority
        with pytest.raises(InvalidInput, match=f"there is no priority {priority}; priorities are 1 to 2") as refused:
            await model.infer(x(1), call)
        assert refused.value.field == "priority"
        call.priority = 2
        assert await model.infer(x(1), call)
        await model.close()

    on_loop(scenario)


def test_model_that_dies_takes_no_more() -> None:
    """Its mates and who waits are told so, the replica is told once, and the model is failed from then on."""

    async def scenario() -> None:
        model = await served(RuntimeOptions(dies_on=17, delay_ms=5), max_batch_size=2)
        deaths: list[tuple[ServedModel, ModelDied]] = []
        model.on_death = lambda who, error: deaths.append((who, error))
        outcomes = await asyncio.gather(*(ask(model, x(value)) for value in (1, 17, 2, 3)), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [ModelDied] * 4
        assert [who for who, _ in deaths] == [model]
        assert (model.state, model.ready) == ("failed", False)
        with pytest.raises(NotReady, match='model "m" died: a row holds 17'):
            await ask(model, x(1))
        await model.close()

    on_loop(scenario)


def test_stuck_is_a_run_that_nobody_waits_for() -> None:
    """A second after its last request has gone, while it holds the only slot and cannot be stopped."""

    async def scenario() -> None:
        model = await served(RuntimeOptions())
        loaded: Any = model._loaded
        gate, infer = threading.Event(), loaded.infer
        loaded.infer = lambda rows, run: (gate.wait(20), infer(rows, run))[1]
        asked = asyncio.ensure_future(ask(model, x(1), deadline_s=monotonic() + 0.05))
        await asyncio.sleep(0.02)
        assert model.stuck(monotonic() + 100) == "", "somebody waits"
        with pytest.raises(DeadlineExceeded):
            await asked
        assert model.stuck(monotonic()) == ""
        assert model.stuck(monotonic() + 1.1) == 'model "m" is stuck in a run that nobody waits for any more'
        gate.set()
        await model.close()
        assert model.stuck(monotonic() + 1.1) == ""

    on_loop(scenario)


def test_lone_request_is_not_copied() -> None:
    """8 MB go to the model as the view they are."""

    async def scenario() -> None:
        model = await served(RuntimeOptions(inputs={"x": "float32[batch, size]"}))
        body = bytearray(8 * MB)
        request = {"x": np.frombuffer(memoryview(body), np.float32).reshape(1, -1)}
        loaded: Any = model._loaded
        seen: list[bool] = []
        answer = {"x": np.zeros((1, 1), np.float32)}
        loaded.infer = lambda rows, run: (seen.append(np.shares_memory(rows["x"], request["x"])), answer)[1]
        tracemalloc.start()
        for _ in range(3):
            await ask(model, request)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert seen == [True] * 3
        assert peak < MB / 4
        await model.close()

    on_loop(scenario)


def test_batch_is_one_copy_into_memory_that_is_used_again() -> None:
    """Two requests of 8 MB are copied once each, and nothing is allocated for the next two."""

    async def scenario() -> None:
        model = await served(RuntimeOptions(inputs={"x": "float32[batch, size]"}))
        loaded: Any = model._loaded
        places: list[int] = []

        def infer(rows: Any, run: Any) -> dict[str, Any]:
            places.append(rows["x"].ctypes.data)
            return {"x": rows["x"][:, :1].copy()}

        loaded.infer = infer
        requests = [{"x": np.full((1, 2 * MB), value, np.float32)} for value in (1, 2)]
        await asyncio.gather(*(ask(model, one) for one in requests))
        tracemalloc.start()
        for _ in range(3):
            answers = await asyncio.gather(*(ask(model, one) for one in requests))
            assert [answer["x"].tolist() for answer in answers] == [[[1.0]], [[2.0]]]
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert len(set(places)) == 1
        assert peak < MB / 4
        await model.close()

    on_loop(scenario)


def test_answers_that_are_views_of_the_batch_stay_right() -> None:
    """A model that answers with its input keeps the memory: the next batch does not write over it."""

    async def scenario() -> None:
        model = await served(RuntimeOptions(inputs={"x": "float32[batch, size]"}))
        loaded: Any = model._loaded
        loaded.infer = lambda rows, run: {"x": rows["x"][:, ::2]}
        kept = []
        for turn in range(3):
            requests = [{"x": np.full((1, MB), 10 * turn + one, np.float32)} for one in range(2)]
            kept += await asyncio.gather(*(ask(model, one) for one in requests))
        assert [float(answer["x"].max()) for answer in kept] == [0.0, 1.0, 10.0, 11.0, 20.0, 21.0]
        assert [float(answer["x"].min()) for answer in kept] == [0.0, 1.0, 10.0, 11.0, 20.0, 21.0]
        await model.close()

    on_loop(scenario)


def test_a_load_that_nobody_waits_for_any_more_gives_its_memory_back() -> None:
    """The thread that opens the model cannot be stopped; what it opened is closed when it comes."""
    opened, closed = threading.Event(), threading.Event()

    class Slow:
        """Opens when told to, and notes that what it opened was closed."""

        def load(self, *arguments: Any) -> Any:
            """A model of the null runtime."""
            opened.wait(10)
            loaded: Any = RUNTIME.open().load(*arguments)
            loaded.close = closed.set
            return loaded

    async def scenario() -> None:
        model = ServedModel(
            Path(__file__).parent,
            Model(name="m", source="conftest.py", runtime="null", options=RuntimeOptions()),
            Placement(),
        )
        runtime: Any = Slow()
        loading = asyncio.ensure_future(model.load(runtime))
        await asyncio.sleep(0.05)
        loading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await loading
        opened.set()
        assert await asyncio.to_thread(closed.wait, 10)

    on_loop(scenario)

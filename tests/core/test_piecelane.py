"""Answers in pieces by a model's own code: threads, queue, deadlines, clients that leave, failures, figures."""

import asyncio
import threading
from collections.abc import Iterator, Mapping
from contextlib import aclosing
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelapp.app import Model
from modelapp.batching import Limits
from modelapp.batchlane import BatchLane
from modelapp.call import Call
from modelapp.errors import (
    Cancelled,
    DeadlineExceeded,
    InvalidInput,
    ModelDied,
    ModelFailed,
    NotReady,
    OutOfMemory,
    QueueFull,
)
from modelapp.generating import Piece, join_pieces
from modelapp.lane import Around
from modelapp.observing import ModelFigures, ModelRun, Observers
from modelapp.piecelane import AHEAD, PieceLane
from modelapp.runtime import Run
from modelapp.signature import Signature

PATIENCE_S = 10


class Teller:
    """A model whose pieces come when the test lets them."""

    signature = Signature(kind="records")
    device = "cpu"

    def __init__(self) -> None:
        self.made = 0
        self.closed = threading.Event()
        self.go = threading.Semaphore(0)
        self.most = self.now = 0
        self._lock = threading.Lock()

    def infer(self, rows: Any, run: Run) -> Any:
        """All at once."""
        return [{"text": "whole"} for _ in rows]

    def close(self) -> None:
        """Nothing is kept."""

    def stream(self, row: Mapping[str, Any], run: Run) -> Iterator[Mapping[str, Any]]:
        """As many pieces as asked, each waiting for `go` where the row says so; then what the row asks to raise."""
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
        try:
            for number in range(row.get("pieces", 2)):
                if row.get("wait"):
                    assert self.go.acquire(timeout=PATIENCE_S)
                self.made += 1
                yield row.get("piece", {"text": f"{number} ", "number": number})
            if "raises" in row:
                raise row["raises"]
        finally:
            with self._lock:
                self.now -= 1
            self.closed.set()


class Watcher:
    """Keeps the runs it is told of."""

    def __init__(self) -> None:
        self.runs: list[ModelRun] = []

    def run_ended(self, run: ModelRun) -> None:
        """A run."""
        self.runs.append(run)

    def request_ended(self, call: Call) -> None:
        """Of no interest."""

    def close(self) -> None:
        """Likewise."""


def lane_of(teller: Teller, around: Around | None = None, **bounds: Any) -> PieceLane:
    """A lane of its own; called on a loop."""
    return PieceLane("m", teller, Limits(**bounds), around or Around(), ModelFigures())


def new_call(**keys: Any) -> Call:
    """A request that came by a door."""
    call = Call(monotonic(), **keys)
    call.protocol = "natural"
    return call


async def read(lane: PieceLane, row: Mapping[str, Any], call: Call | None = None) -> list[Piece]:
    """All pieces of one answer."""
    return [piece async for piece in lane.stream(row, call or new_call())]


def on_loop(work: Any) -> Any:
    """The result of a coroutine, in time."""
    return asyncio.run(asyncio.wait_for(work, PATIENCE_S))


async def until(met: Any) -> None:
    """Wait for a condition."""
    while not met():  # noqa: ASYNC110 (what is waited for happens on other threads)
        await asyncio.sleep(0.001)


PIECES = st.lists(
    st.dictionaries(st.sampled_from("abc"), st.one_of(st.text(max_size=5), st.integers(), st.none()), max_size=3)
)


@given(PIECES, PIECES)
def test_pieces_join_in_any_grouping(first, second) -> None:
    """Texts of a key are put together as long as they are texts; of all else the last counts."""
    whole = join_pieces([*first, *second])

    assert whole == join_pieces([join_pieces(first), *second])
    assert set(whole) == {key for piece in (*first, *second) for key in piece}
    for key, value in whole.items():
        said = [piece[key] for piece in (*first, *second) if key in piece]
        texts = [one for one in said if isinstance(one, str)]
        assert value == "".join(texts) if len(texts) == len(said) else isinstance(value, str) or value == said[-1]


def test_pieces_come_in_order_and_the_whole_last() -> None:
    """Joined; the run is told once, with its times, and on the call."""
    watcher, call = Watcher(), new_call()

    async def ask() -> tuple[list[Piece], ModelFigures]:
        lane = lane_of(Teller(), Around(observers=Observers([watcher]), device="cpu"))
        pieces = await read(lane, {}, call)
        await lane.close()
        return pieces, lane._figures

    pieces, figures = on_loop(ask())
    assert [piece.record for piece in pieces] == [
        {"text": "0 ", "number": 0},
        {"text": "1 ", "number": 1},
        {"text": "0 1 ", "number": 1},
    ]
    assert [piece.final for piece in pieces] == [False, False, True]
    (run,) = watcher.runs
    assert (run.rows, run.outcome, run.calls, run.step) == (1, "ok", (call,), False)
    assert 0 <= run.infer_s <= run.ended_s - run.started_s
    assert (call.rows, call.runs) == (1, (run,))
    assert set(call.timings_ms) == {"queue", "execute"}
    assert (figures.answered, figures.failed, figures.runs) == (1, 0, 1)


@settings(max_examples=20, deadline=None)
@given(concurrency=st.integers(1, 4), asked=st.integers(1, 12))
def test_no_more_than_concurrency_run_at_a_time(concurrency, asked) -> None:
    """And all are answered."""
    teller = Teller()

    async def ask() -> list[list[Piece]]:
        lane = lane_of(teller, concurrency=concurrency)
        answers = await asyncio.gather(*(read(lane, {"pieces": 3}) for _ in range(asked)))
        await lane.close()
        return answers

    assert [len(answer) for answer in on_loop(ask())] == [4] * asked
    assert teller.most <= concurrency
    assert teller.now == 0


def test_a_full_queue_refuses_and_says_when_to_come_back() -> None:
    """The urgent go first among those that wait."""
    teller, begun = Teller(), []

    async def one(lane: PieceLane, priority: int) -> None:
        call = new_call()
        call.priority = priority
        await read(lane, {"wait": True, "pieces": 1}, call)
        begun.append(priority)

    async def ask() -> None:
        lane = lane_of(teller, max_queue_rows=3, levels=3)
        asked = [asyncio.create_task(one(lane, priority)) for priority in (2, 3, 2, 1)]
        await until(lambda: lane.waiting == 3)
        with pytest.raises(QueueFull, match="3 rows are waiting and the queue holds 3") as caught:
            await read(lane, {})
        assert caught.value.retry_after_s >= 1
        with pytest.raises(InvalidInput, match="no priority 4"):
            await one(lane, 4)
        for _ in asked:
            teller.go.release()
        await asyncio.gather(*asked)
        await lane.close()

    on_loop(ask())
    assert begun == [2, 1, 2, 3]


def test_who_leaves_ends_the_generator_at_its_next_piece() -> None:
    """Its thread takes the next request; nobody is told of a failure, and none is counted."""
    teller = Teller()

    async def ask() -> ModelFigures:
        lane = lane_of(teller)
        async with aclosing(lane.stream({"wait": True, "pieces": 10**6}, new_call())) as pieces:
            teller.go.release()
            await anext(pieces)
        teller.go.release()
        await until(teller.closed.is_set)
        assert len(await read(lane, {})) == 3
        await lane.close()
        return lane._figures

    figures = on_loop(ask())
    assert teller.made <= 2 + 2
    assert (figures.answered, figures.failed) == (1, 0)


def test_a_lost_client_is_told_and_the_waiting_are_forgotten() -> None:
    """Also where its request still waits for a thread."""
    teller = Teller()

    async def ask() -> None:
        lane = lane_of(teller)
        running = asyncio.create_task(read(lane, {"wait": True}))
        await until(lambda: teller.now)
        call = new_call()
        waiting = asyncio.create_task(read(lane, {}, call))
        await until(lambda: lane.waiting)
        call.cancel()
        with pytest.raises(Cancelled):
            await waiting
        assert lane.waiting == 0
        teller.go.release(2)
        assert len(await running) == 3
        await lane.close()

    on_loop(ask())
    assert teller.made == 2


def test_a_deadline_ends_an_answer_wherever_it_is() -> None:
    """In the queue, before it runs, and between two pieces."""
    teller = Teller()

    async def ask() -> None:
        lane = lane_of(teller)
        with pytest.raises(DeadlineExceeded):
            await read(lane, {}, new_call(deadline_s=monotonic()))
        late = new_call(deadline_s=monotonic() + 0.2)
        running = asyncio.create_task(read(lane, {"wait": True, "pieces": 3}, late))
        await until(lambda: teller.now)
        waiting = asyncio.create_task(read(lane, {}, new_call(deadline_s=late.deadline_s)))
        await until(lambda: lane.waiting and monotonic() > late.deadline_s)
        teller.go.release()
        for asked in (running, waiting):
            with pytest.raises(DeadlineExceeded):
                await asked
        await lane.close()

    on_loop(ask())
    assert teller.made == 1


def test_a_model_is_never_far_ahead_of_its_reader() -> None:
    """An endless answer that nobody reads on does not fill the memory."""
    teller = Teller()

    async def ask() -> None:
        lane = lane_of(teller)
        async with aclosing(lane.stream({"pieces": 10**9}, new_call())) as pieces:
            await anext(pieces)
            await until(lambda: teller.made > AHEAD)
            await asyncio.sleep(0.05)
            assert teller.made <= AHEAD + 2
        await lane.close()

    on_loop(ask())
    assert teller.closed.is_set()


class Odd(Exception):
    """A failure of the model's own."""


@pytest.mark.parametrize(
    ("row", "error", "words"),
    [
        ({"raises": Odd("pomegranate")}, ModelFailed, 'model "m" raised Odd: pomegranate'),
        ({"raises": SystemExit(3)}, ModelFailed, 'model "m" raised SystemExit'),
        ({"raises": InvalidInput("no pomegranate", field="x")}, InvalidInput, "no pomegranate"),
        ({"raises": MemoryError()}, OutOfMemory, 'model "m" ran out of memory'),
        ({"piece": "pomegranate"}, ModelFailed, "in pieces that are records, not str"),
    ],
)
def test_what_a_model_raises_is_told_after_its_pieces(row, error, words) -> None:
    """As of any model; and without its words where they may hold what nobody may see."""
    watcher = Watcher()

    async def ask(*, private: bool) -> str:
        lane = lane_of(Teller(), Around(root=Path("/nowhere"), observers=Observers([watcher])))
        lane.private = private
        with pytest.raises(error) as caught:
            await read(lane, {**row, "secret": "pomegranate"})
        await lane.close()
        return caught.value.message

    assert words in on_loop(ask(private=False))
    assert "pomegranate" not in on_loop(ask(private=True))
    assert [run.outcome for run in watcher.runs] == [error.code] * 2


def test_a_dead_model_answers_nobody_and_says_so_once() -> None:
    """Whoever waits is told the same."""
    deaths: list[ModelDied] = []
    teller = Teller()

    async def ask() -> None:
        lane = lane_of(teller, Around(on_death=deaths.append))
        rows = [{"wait": True, "pieces": 1, "raises": ModelDied("it is gone")}, {}]
        asked = [asyncio.create_task(read(lane, row)) for row in rows]
        await until(lambda: lane.waiting)
        teller.go.release()
        for one in asked:
            with pytest.raises(ModelDied, match="it is gone"):
                await one
        with pytest.raises(ModelDied, match="it is gone"):
            await read(lane, {})
        await lane.close()

    on_loop(ask())
    assert len(deaths) == 1


def test_closing_finishes_what_was_admitted() -> None:
    """And takes no more."""
    teller = Teller()

    async def ask() -> None:
        lane = lane_of(teller)
        asked = [asyncio.create_task(read(lane, {"wait": True, "pieces": 1})) for _ in range(2)]
        await until(lambda: lane.waiting)
        closing = asyncio.create_task(lane.close())
        await asyncio.sleep(0)
        with pytest.raises(NotReady, match="stopping"):
            await read(lane, {})
        teller.go.release(2)
        await closing
        assert [len(await one) for one in asked] == [2, 2]

    on_loop(ask())


def test_a_generator_that_does_not_end_is_told_as_stuck() -> None:
    """Only once its client is gone for a second, and until it ends."""
    teller = Teller()

    async def ask() -> None:
        lane = lane_of(teller)
        stream = lane.stream({"wait": True}, new_call())
        first = asyncio.create_task(anext(stream))
        await until(lambda: teller.now)
        assert not lane.is_stuck(monotonic() + 60)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert not lane.is_stuck(monotonic())
        assert lane.is_stuck(monotonic() + 60)
        teller.go.release()
        await lane.close()
        assert not lane.is_stuck(monotonic() + 60)

    on_loop(ask())


def test_other_bounds_hold_at_once() -> None:
    """Whoever waits for a thread gets one of the new ones."""
    teller = Teller()

    async def ask() -> None:
        lane = lane_of(teller, concurrency=1)
        asked = [asyncio.create_task(read(lane, {"wait": True, "pieces": 1})) for _ in range(3)]
        await until(lambda: lane.waiting == 2)
        lane.tune(Limits(concurrency=3))
        await until(lambda: teller.now == 3)
        teller.go.release(3)
        await asyncio.gather(*asked)
        await lane.close()

    on_loop(ask())


def test_a_batch_lane_streams_where_its_model_does() -> None:
    """Beside whole answers; one that does not says so."""

    class Plain:
        signature = Signature(kind="records")
        device = "cpu"

        def infer(self, rows: Any, run: Run) -> Any:
            return list(rows)

        def close(self) -> None:
            pass

    async def ask() -> None:
        model = Model(name="m", source="m", runtime="python")
        lane = BatchLane(Teller(), model, Around(), concurrent=False)
        assert lane.streams
        assert [piece.record["text"] async for piece in lane.stream({}, new_call())] == ["0 ", "1 ", "0 1 "]
        assert await lane.infer([{}], new_call()) == [{"text": "whole"}]
        assert lane.figures.answered == 2
        await lane.close()
        plain = BatchLane(Plain(), model, Around(), concurrent=False)
        assert not plain.streams
        with pytest.raises(InvalidInput, match="does not answer piece by piece"):
            plain.stream({}, new_call())
        await plain.close()

    on_loop(ask())

"""Generation on a real loop and thread: streams, clients that leave, deadlines, deaths, a close that loses nothing."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import monotonic
from typing import Any

import attrs
import pytest

from modelapp.batching import Limits
from modelapp.call import Call
from modelapp.errors import (
    Cancelled,
    DeadlineExceeded,
    ModelDied,
    ModelFailed,
    NotReady,
    OutOfMemory,
    QueueFull,
    RequestError,
)
from modelapp.generator import Generator
from modelapp.nulloptions import RuntimeOptions
from modelapp.nulltext import NullTextModel, expected
from modelapp.observing import ModelRun, Observers
from modelapp.prompts import GenerationRequest
from modelapp.runtime import Placement
from modelapp.sampling import Sampling

POISON = 7


def request(prompt: str = "a cave", max_tokens: int = 6, **more: Any) -> GenerationRequest:
    """A request for the likeliest answer."""
    values: dict[str, Any] = {"n": 1, "seed": 1, "stop": (), "stop_tokens": frozenset(), "ignore_end": False}
    sampling = more.pop("sampling", Sampling())
    tokens = tuple(prompt.encode())
    return GenerationRequest(prompt=tokens, max_tokens=max_tokens, sampling=sampling, **{**values, **more})


def call(patience_s: float | None = None) -> Call:
    """A request's call, as one that came by HTTP."""
    made = Call(monotonic(), deadline_s=None if patience_s is None else monotonic() + patience_s)
    made.protocol = "natural"
    return made


class Watcher:
    """Keeps the steps it is told of."""

    def __init__(self) -> None:
        self.runs: list[ModelRun] = []

    def request_ended(self, call: Call) -> None:
        """Not looked at."""

    def run_ended(self, run: ModelRun) -> None:
        """Keep it."""
        self.runs.append(run)

    def close(self) -> None:
        """Nothing to write."""


def run(
    work: Callable[[Generator, NullTextModel], Awaitable[Any]],
    *,
    slots: int = 4,
    queue: int = 64,
    step_tokens: int = 32,
    observers: Observers | None = None,
    on_death: Callable[[ModelDied], None] | None = None,
    **script: Any,
) -> Any:
    """Do `work` with a generator over a scripted model, and close it."""

    async def whole() -> Any:
        model = NullTextModel(RuntimeOptions(**script), Placement(slots=slots))
        generator = Generator(
            "story", model, Limits(max_queue_rows=queue), slots=slots, step_tokens=step_tokens, root=Path("/nowhere"),
            observers=observers, on_death=on_death,
        )  # fmt: skip
        try:
            return await work(generator, model)
        finally:
            await asyncio.wait_for(generator.close(), 10)
            assert model.engine.used_slots == 0

    return asyncio.run(asyncio.wait_for(whole(), 60))


async def until(holds: Callable[[], bool]) -> None:
    """Wait for something that the loop brings about."""
    while not holds():  # noqa: ASYNC110 (nothing tells of it)
        await asyncio.sleep(0.001)


def text_of(decodings: Any) -> str:
    """The text of the first answer."""
    return "".join(decodings[0].texts)


def test_what_is_streamed_is_what_comes_whole() -> None:
    """The pieces' texts joined are the answer that comes in one, and both are the model's."""

    async def work(generator: Generator, _: NullTextModel) -> None:
        whole = text_of(await generator.whole(request(max_tokens=20), call()))
        pieces = [fragment async for _, fragment in generator.pieces(request(max_tokens=20), call())]
        assert whole == "".join(fragment.text for fragment in pieces) == expected("a cave", 20)
        assert [bool(fragment.finish_reason) for fragment in pieces] == [False] * (len(pieces) - 1) + [True]

    run(work)


def test_several_answers_to_one_prompt() -> None:
    """Each of n answers has dice of its own, and together they end the request once."""

    async def work(generator: Generator, _: NullTextModel) -> None:
        asked = request(n=3, max_tokens=8, sampling=Sampling(temperature=9.0), ignore_end=True)
        first, second = await generator.whole(asked, call()), await generator.whole(asked, call())
        texts = ["".join(one.texts) for one in first]
        assert len(set(texts)) == 3
        assert texts == ["".join(one.texts) for one in second]
        seen = {one.index: fragment.finish_reason async for one, fragment in generator.pieces(asked, call())}
        assert seen == {0: "length", 1: "length", 2: "length"}

    run(work)


def test_a_closed_stream_frees_its_slot_at_the_next_step() -> None:
    """Whoever takes no more pieces is worked for no longer."""

    async def work(generator: Generator, model: NullTextModel) -> None:
        stream = generator.pieces(request(max_tokens=4000, ignore_end=True), call())
        await anext(stream)
        await stream.aclose()  # type: ignore[attr-defined]
        steps = model.engine.steps
        await until(lambda: not model.engine.used_slots)
        assert model.engine.steps <= steps + 1

    run(work, delay_ms=2)


def test_a_client_that_leaves_is_worked_for_no_longer() -> None:
    """A call that is cancelled ends with 499, whether its sequence runs or waits."""

    async def work(generator: Generator, model: NullTextModel) -> None:
        calls = [call() for _ in range(3)]
        asked = [asyncio.create_task(generator.whole(request(max_tokens=3000, ignore_end=True), one)) for one in calls]
        await asyncio.sleep(0.02)
        for one in calls:
            one.cancel()
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [Cancelled] * 3
        await until(lambda: generator.schedule.idle)

    run(work, slots=2, delay_ms=2)


def test_what_was_done_for_who_left_is_told() -> None:
    """Tokens read and written by then, and the time it took, stand on the call; of one that never began nothing."""

    async def work(generator: Generator, _: NullTextModel) -> None:
        left, late, waited = call(), call(0.15), call()
        long = request(max_tokens=3000, ignore_end=True)
        asked = [asyncio.create_task(generator.whole(long, one)) for one in (left, late, waited)]
        await until(lambda: any(one.chosen for one in generator.schedule.active))
        waited.cancel()
        left.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
        for one in (left, late):
            assert (one.rows, one.tokens_in) == (1, len("a cave"))
            assert one.tokens_out > 0
            assert one.timings_ms["execute"] > 0
        assert (waited.rows, waited.tokens_in, waited.tokens_out) == (0, 0, 0)

    run(work, slots=2, delay_ms=2)


def test_deadlines_hold_while_waiting_running_and_hanging() -> None:
    """504 comes at the deadline even where the step itself never ends; that model is then told as stuck."""

    async def work(generator: Generator, model: NullTextModel) -> None:
        started_s = monotonic()
        asked = [generator.whole(request(max_tokens=3000, ignore_end=True), call(0.1)) for _ in range(3)]
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [DeadlineExceeded] * 3
        assert monotonic() - started_s < 5

    run(work, slots=2, delay_ms=20)


def test_a_stuck_step_is_told() -> None:
    """Its requests get their 504, and the model says that it can serve nobody."""

    async def work() -> None:
        model = NullTextModel(RuntimeOptions(hang_on_call=1), Placement(slots=1))
        release = asyncio.get_running_loop().create_future()

        def wait(*_: Any) -> None:
            asyncio.run_coroutine_threadsafe(asyncio.wait_for(release, 30), loop).result()

        loop = asyncio.get_running_loop()
        model.engine._wait = wait
        generator = Generator("story", model, Limits(), slots=1, step_tokens=8)
        with pytest.raises(DeadlineExceeded):
            await generator.whole(request(), call(0.05))
        assert not generator.schedule.is_stuck(monotonic())
        assert generator.schedule.is_stuck(monotonic() + 1.5)
        release.set_result(None)
        await generator.close()

    asyncio.run(asyncio.wait_for(work(), 30))


def test_one_bad_request_fails_alone() -> None:
    """A prompt that the model cannot take fails its own request; the mates' answers are what they are alone."""

    async def work(generator: Generator, _: NullTextModel) -> None:
        prompts = ["one", "two\x07", "three", "four"]
        asked = [generator.whole(request(prompt, 9), call()) for prompt in prompts]
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        assert isinstance(outcomes[1], ModelFailed)
        assert "ScriptedStepError" in outcomes[1].message
        for prompt, outcome in zip(prompts, outcomes, strict=True):
            if prompt != "two\x07":
                assert text_of(outcome) == expected(prompt, 9)

    run(work, poison=POISON)


def test_a_step_that_fails_fails_its_requests_and_the_loop_lives() -> None:
    """After a failed step the next request is answered."""

    async def work(generator: Generator, _: NullTextModel) -> None:
        with pytest.raises(ModelFailed):
            await generator.whole(request(), call())
        assert text_of(await generator.whole(request(), call())) == expected("a cave", 6)

    run(work, fail_on_call=1)


def test_what_is_private_is_not_told() -> None:
    """Where a field is sensitive the model's words stay out of the error."""

    async def work(generator: Generator, _: NullTextModel) -> None:
        generator.private = True
        with pytest.raises(ModelFailed, match="withheld"):
            await generator.whole(request("x\x07"), call())

    run(work, poison=POISON)


def test_words_that_an_engine_chose_lose_what_is_private() -> None:
    """An error of its own making may hold the prompt; where a field is sensitive it is taken out."""

    async def work(generator: Generator, model: NullTextModel) -> None:
        def admit(prompt: Any, tokens: int) -> Any:
            raise OutOfMemory(f"no memory for {bytes(prompt).decode()!r} with {tokens} tokens")

        model.engine.admit = admit  # type: ignore[method-assign]
        for private, told in ((False, "'a quillon'"), (True, "'***' with 15")):
            generator.private = private
            with pytest.raises(OutOfMemory) as refused:
                await generator.whole(request("a quillon"), call())
            assert told in refused.value.message

    run(work)


def test_a_tokenizer_that_panics_ends_its_own_request_alone() -> None:
    """Native ones raise what is no Exception; the model goes on, and the mate has its answer."""

    class Panic(BaseException):
        """As libraries in Rust raise it."""

    async def work(generator: Generator, model: NullTextModel) -> None:
        stream = model.text.stream

        def broken() -> Any:
            made = stream()
            made.push = _panic  # type: ignore[method-assign]
            model.text.stream = stream  # type: ignore[method-assign]
            return made

        def _panic(token: int) -> str:
            raise Panic(f"no character for {token}")

        model.text.stream = broken  # type: ignore[method-assign]
        outcomes = await asyncio.gather(
            *[generator.whole(request(max_tokens=9), call()) for _ in range(2)], return_exceptions=True
        )
        assert isinstance(outcomes[0], ModelFailed)
        assert text_of(outcomes[1]) == text_of(await generator.whole(request(max_tokens=9), call()))

    run(work)


def test_an_answer_beside_its_prompt_needs_memory_for_itself_alone() -> None:
    """Of an encoder-decoder model the prompt is read elsewhere: its start token and the answer are what is kept."""

    async def work(generator: Generator, model: NullTextModel) -> None:
        rooms: list[int] = []
        admit = model.engine.admit

        def noted(prompt: Any, tokens: int) -> Any:
            rooms.append(tokens)
            return admit(prompt[:1], tokens)

        model.engine.admit = noted  # type: ignore[method-assign]
        generator._capacity = attrs.evolve(model.engine.capacity, source_tokens=99)
        await generator.whole(request("a long cave", max_tokens=5), call())
        assert rooms == [1 + 5]

    run(work)


def test_a_dead_model_is_told_once_and_answers_nobody() -> None:
    """Everyone who waits or runs gets the death, its owner is told once, and later requests get it at once."""
    deaths: list[ModelDied] = []

    async def work(generator: Generator, _: NullTextModel) -> None:
        asked = [
            generator.whole(request(f"{number}" * 3 + ("\x07" if number == 2 else ""), 50), call())
            for number in range(5)
        ]
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {ModelDied}
        with pytest.raises(ModelDied):
            await generator.whole(request(), call())
        await asyncio.sleep(0)
        assert len(deaths) == 1

    run(work, slots=3, dies_on=POISON, on_death=deaths.append)


def test_more_than_the_queue_holds_is_refused() -> None:
    """429 with a time to come back, at once; the admitted are answered."""

    async def work(generator: Generator, _: NullTextModel) -> None:
        asked = [generator.whole(request(f"prompt {number}", 5), call()) for number in range(10)]
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        refused = [outcome for outcome in outcomes if isinstance(outcome, QueueFull)]
        assert len(refused) == 6
        assert all(outcome.retry_after_s for outcome in refused)
        assert sum(not isinstance(outcome, BaseException) for outcome in outcomes) == 4  # one has the slot

    run(work, slots=1, queue=3)


def test_closing_finishes_what_was_admitted_and_takes_no_more() -> None:
    """A request in progress gets its whole answer while the generator closes; a new one is refused."""

    async def work(generator: Generator, _: NullTextModel) -> None:
        asked = asyncio.create_task(generator.whole(request(max_tokens=30, ignore_end=True), call()))
        await asyncio.sleep(0.02)
        closing = asyncio.create_task(generator.close())
        await asyncio.sleep(0)
        with pytest.raises(NotReady):
            await generator.whole(request(), call())
        assert len((await asked)[0].chosen) == 30
        await closing

    run(work, delay_ms=2)


def test_no_room_where_the_engine_said_there_was_is_that_requests_error() -> None:
    """What `admit` raises ends its request alone."""

    async def work(generator: Generator, model: NullTextModel) -> None:
        admit = model.engine.admit

        def refuse(prompt: Any, tokens: int) -> Any:
            if bytes(prompt) == b"refuse":
                raise OutOfMemory("no room after all")
            return admit(prompt, tokens)

        model.engine.admit = refuse  # type: ignore[method-assign]
        asked = [generator.whole(request(prompt, 5), call()) for prompt in ("one", "refuse", "two")]
        one, refused, two = await asyncio.gather(*asked, return_exceptions=True)
        assert isinstance(refused, OutOfMemory)
        assert (text_of(one), text_of(two)) == (expected("one", 5), expected("two", 5))

    run(work)


def test_observers_are_told_of_every_step() -> None:
    """Each sequence's tokens are told: the first with the time since it came, the others with that since the last."""
    watcher = Watcher()

    async def work(generator: Generator, _: NullTextModel) -> None:
        made = call()
        await generator.whole(request("x" * 50, 5, ignore_end=True), made)
        assert (made.tokens_in, made.tokens_out) == (50, 5)
        assert {"queue", "execute"} <= made.timings_ms.keys()
        assert made.device_s > 0
        figures = generator.figures
        assert (figures.answered, figures.runs) == (1, len(watcher.runs))

    run(work, observers=Observers([watcher]), step_tokens=20, delay_ms=1)
    assert all(step.step for step in watcher.runs)
    assert sum(len(step.firsts_s) for step in watcher.runs) == 1
    assert sum(len(step.gaps_s) for step in watcher.runs) == 4
    assert sum(step.tokens_in for step in watcher.runs) == 50
    assert sum(step.cost for step in watcher.runs) == 54


def test_a_thousand_requests_with_clients_that_leave() -> None:
    """No answer is crossed, doubled or lost, and no slot or memory is left behind."""
    dice = random.Random(5)

    async def one(generator: Generator, number: int) -> str:
        prompt = "".join(dice.choices("abcdef \x07" if number % 10 == 0 else "abcdef ", k=dice.randint(1, 40)))
        asked = request(prompt, dice.randint(1, 15))
        task = asyncio.create_task(generator.whole(asked, call(30)))
        if number % 4 == 0:
            await asyncio.sleep(dice.random() * 0.02)
            task.cancel()
        try:
            answer = text_of(await task)
        except asyncio.CancelledError:
            return "cancelled"
        except RequestError as error:
            return error.code if "\x07" in prompt else f"a good prompt failed: {error}"
        assert answer == expected(prompt, asked.max_tokens)
        return "ok"

    async def work(generator: Generator, model: NullTextModel) -> list[str]:
        gate = asyncio.Semaphore(40)

        async def gated(number: int) -> str:
            async with gate:
                return await one(generator, number)

        outcomes = await asyncio.gather(*(gated(number) for number in range(1000)))
        await until(lambda: generator.schedule.idle)
        assert model.engine.used_slots == 0
        assert model.engine._tokens_left == 900
        return outcomes

    outcomes = run(work, slots=8, queue=64, poison=POISON, cache_tokens=900)
    assert outcomes.count("ok") > 700
    assert outcomes.count("cancelled") > 50
    assert outcomes.count("model_failed") > 10


def test_a_tests_seed_stands_for_chance() -> None:
    """Where the request names none the call's is drawn with, and without either chance is."""

    async def work(generator: Generator, _: NullTextModel) -> None:
        async def draw(seed: int | None) -> str:
            made = call()
            made.seed = seed
            asked = request(max_tokens=12, seed=None, sampling=Sampling(temperature=9.0), ignore_end=True)
            return text_of(await generator.whole(asked, made))

        assert await draw(3) == await draw(3) != await draw(4)
        assert await draw(None) != await draw(None)

    run(work)

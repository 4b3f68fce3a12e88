"""Endpoints at work: steps, branches, splits."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing
from pathlib import Path
from time import monotonic
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelapp.app import Endpoint, Field, Model, Split, Step
from modelapp.call import Call
from modelapp.errors import InvalidInput, ModelFailed
from modelapp.fieldtype import parse
from modelapp.functions import Functions
from modelapp.generating import Piece
from modelapp.pipeline import Pipeline, choose_arm
from modelapp.runtime import Rows
from modelapp.signature import Signature, TensorSpec

HANDLERS = """
import asyncio

running = []

async def left(value):
    running.append("left")
    while "right" not in running:
        await asyncio.sleep(0)
    return {"x": [value, value]}

async def right(value):
    running.append("right")
    while "left" not in running:
        await asyncio.sleep(0)
    return value + 1

def join(doubled, plus):
    return {"sum": float(doubled["y"].sum()) + plus}

def fail(value):
    raise KeyError("no such thing")

def before(values):
    return {**values, "x": [1.0, 1.0]}

def after(result):
    return {"wrapped": result}
"""

SIGNATURE = Signature(
    inputs=(TensorSpec("x", "float32", ("batch", 2)),), outputs=(TensorSpec("y", "float32", ("batch", 2)),)
)


class Multiplier:
    """A served model that multiplies."""

    def __init__(self, name: str, factor: float, **keys: Any) -> None:
        self.name = name
        self.model = Model(name=name, source="m", runtime="null", **keys)
        self.signature = SIGNATURE
        self.factor = factor

    async def infer(self, rows: Rows, call: Call) -> Rows:
        """The rows times the factor."""
        arrays: Any = rows
        return {"y": np.asarray(arrays["x"]) * np.float32(self.factor)}


@pytest.fixture
def functions(tmp_path: Path) -> Iterator[Functions]:
    """The functions above."""
    (tmp_path / "handlers.py").write_text(HANDLERS, encoding="utf-8")
    functions = Functions(tmp_path, threads=2)
    yield functions
    functions.close()


def run(pipeline: Pipeline, values: Mapping[str, Any], call: Call | None = None) -> Any:
    """One request, bounded in time."""

    async def one() -> Any:
        return await asyncio.wait_for(pipeline.run(values, call or Call(monotonic())), 10)

    return asyncio.run(one())


def build(endpoint: Endpoint, functions: Functions, *models: Multiplier) -> Pipeline:
    """A pipeline over fakes."""
    return Pipeline(endpoint, {model.name: model for model in models}, functions)  # type: ignore[misc]


def steps(*triples: tuple[str, str, tuple[str, ...]]) -> tuple[Step, ...]:
    """Steps from (name, run, needs)."""
    return tuple(Step(name=name, run=ref, needs=needs) for name, ref, needs in triples)


def test_single_model_answers_one_row(functions: Functions) -> None:
    """An endpoint over a model takes a row and gives its row back, without the row axis."""
    pipeline = build(Endpoint(name="e", model="m"), functions, Multiplier("m", 2))

    assert run(pipeline, {"x": [1.0, 2.0]})["y"].tolist() == [2.0, 4.0]


def test_independent_steps_run_at_the_same_time(functions: Functions) -> None:
    """Two branches that wait for each other's start both finish; the join sees both."""
    endpoint = Endpoint(
        name="e",
        steps=steps(
            ("a", "handlers.py:left", ("n",)),
            ("b", "handlers.py:right", ("n",)),
            ("doubled", "m", ("a",)),
            ("out", "handlers.py:join", ("doubled", "b")),
        ),
    )

    assert run(build(endpoint, functions, Multiplier("m", 2)), {"n": 3.0}) == {"sum": 16.0}


def test_failing_step_fails_the_request_with_its_own_error(functions: Functions) -> None:
    """A branch that fails is told as itself, not as a group of errors."""
    endpoint = Endpoint(name="e", steps=steps(("a", "handlers.py:fail", ("n",)), ("b", "handlers.py:fail", ("n",))))

    with pytest.raises(ModelFailed, match=r"handlers\.py:fail raised KeyError"):
        run(build(endpoint, functions), {"n": 1})


def test_hooks_around_model_and_endpoint(functions: Functions) -> None:
    """preprocess and postprocess of a model and of an endpoint wrap it in that order."""
    model = Multiplier("m", 3, preprocess="handlers.py:before", postprocess="handlers.py:after")
    pipeline = build(Endpoint(name="e", model="m", postprocess="handlers.py:after"), functions, model)

    assert run(pipeline, {})["wrapped"]["wrapped"]["y"].tolist() == [3.0, 3.0]


def test_probe_keeps_every_step(functions: Functions) -> None:
    """A trusted caller may look at a step's result."""
    endpoint = Endpoint(name="e", steps=steps(("a", "m", ("x",)), ("b", "handlers.py:after", ("a",))))
    call = Call(monotonic())
    call.probe = "a"

    run(build(endpoint, functions, Multiplier("m", 2)), {"x": [1.0, 1.0]}, call)

    assert list(call.steps) == ["a", "b"]


def test_split_runs_one_arm_and_tells_which(functions: Functions) -> None:
    """The arm is in the call; a caller kept by a header stays on its arm; an unknown forced arm is refused."""
    split = Split(arms={"old": 50.0, "new": 50.0}, by="x-user")
    pipeline = build(Endpoint(name="e", split=split), functions, Multiplier("old", 2), Multiplier("new", 3))

    def ask(user: str, arm: str = "") -> tuple[str, list[float]]:
        call = Call(monotonic(), headers={"x-user": user})
        call.arm = arm
        return call.arm or "", run(pipeline, {"x": [1.0, 1.0]}, call)["y"].tolist()

    answers = {user: {tuple(ask(user)[1]) for _ in range(5)} for user in map(str, range(20))}
    assert all(len(seen) == 1 for seen in answers.values())
    assert set.union(*answers.values()) == {(2.0, 2.0), (3.0, 3.0)}
    assert ask("1", "new")[1] == ask("2", "new")[1] == [3.0, 3.0]
    with pytest.raises(InvalidInput, match='no arm "none"; arms: old, new'):
        ask("1", "none")


@given(share=st.floats(5, 95), by=st.sampled_from(["user", ""]))
def test_arms_get_their_shares(share: float, by: str) -> None:
    """Over many callers, kept or random, each arm sees its declared share."""
    split = Split(arms={"a": share, "b": 100 - share}, by=by)

    seen = Counter(choose_arm(split, {"user": f"u{number}"}, {}) for number in range(2000))

    assert abs(seen["a"] / 20 - share) < 6


def test_stable_hash_does_not_depend_on_the_process() -> None:
    """The same caller meets the same arm in every replica and after every restart."""
    split = Split(arms={"a": 50.0, "b": 50.0}, by="user")

    assert [choose_arm(split, {"user": user}, {}) for user in ("eve", "fay", "gil", "hal")] == ["a", "a", "b", "a"]


class Teller(Multiplier):
    """A model with a task that tells a text word by word."""

    streams = True

    def __init__(self, name: str, **keys: Any) -> None:
        super().__init__(name, 1, task="text-generation", **keys)
        self.signature = Signature(kind="records")
        self.given: list[Any] = []
        self.closed = 0

    async def infer(self, rows: Rows, call: Call) -> Rows:
        """One record a row."""
        return [{"text": str(row), "finish_reason": "stop", "choices": []} for row in rows]

    async def stream(self, row: Mapping[str, Any], call: Call) -> AsyncGenerator[Piece]:
        """Two words, and the whole."""
        self.given.append(dict(row))
        try:
            yield Piece({"index": 0, "text": "once "})
            yield Piece({"index": 0, "text": "upon"})
            if "broken" in row:
                raise ModelFailed(f"it choked on {row['broken']}")
            yield Piece({"text": "once upon", "finish_reason": "stop", "choices": []}, final=True)
        finally:
            self.closed += 1


def collect(pipeline: Pipeline, values: Mapping[str, Any], most: int = 99) -> list[Piece]:
    """The pieces of one request."""

    async def read() -> list[Piece]:
        found: list[Piece] = []
        async with aclosing(pipeline.stream(values, Call(monotonic()))) as pieces:
            async for piece in pieces:
                found.append(piece)
                if len(found) == most:
                    break
        return found

    return asyncio.run(read())


OUTPUT = {"text": Field(name="text", type=parse("str"))}


def test_of_a_task_the_declared_outputs_are_taken(functions: Functions) -> None:
    """Without declared ones everything is given, and so it is to a function that follows."""
    shown = Endpoint(name="e", model="m", output=OUTPUT)
    assert run(build(shown, functions, Teller("m")), {"a": 1}) == {"text": "{'a': 1}"}
    everything = run(build(Endpoint(name="e", model="m"), functions, Teller("m")), {"a": 1})
    assert set(everything) == {"text", "finish_reason", "choices"}
    worked_on = attrs.evolve(shown, postprocess="handlers.py:after")
    assert set(run(build(worked_on, functions, Teller("m")), {})["wrapped"]) == set(everything)
    untasked = Teller("m")
    untasked.model = attrs.evolve(untasked.model, task="")
    assert set(run(build(shown, functions, untasked), {"a": 1})) == set(everything)


def test_an_answer_without_a_declared_output_stays_whole(functions: Functions) -> None:
    """So that whoever refuses it can tell what there was; one that may be missing is no reason."""
    everything = {"text", "finish_reason", "choices"}
    wanted = Endpoint(name="e", model="m", output={**OUTPUT, "texts": Field(name="texts", type=parse("str"))})
    assert set(run(build(wanted, functions, Teller("m")), {"a": 1})) == everything
    *_, last = collect(build(attrs.evolve(wanted, stream=True), functions, Teller("m")), {"a": 1})
    assert set(last.record) == everything
    maybe = attrs.evolve(wanted, output={**OUTPUT, "texts": Field(name="texts", type=parse("str?"))})
    assert set(run(build(maybe, functions, Teller("m")), {"a": 1})) == {"text"}


def test_messages_alone_are_one_record_of_their_task(functions: Functions) -> None:
    """Not the records themselves, as a list under another name is."""
    messages = [{"role": "user", "content": "a"}]
    told = build(Endpoint(name="e", model="m", stream=True), functions, model := Teller("m"))
    assert run(told, {"messages": messages})["text"] == str({"messages": messages})
    collect(told, {"messages": messages})
    collect(told, {"rows": [{"prompt": "a"}]})
    assert model.given == [{"messages": messages}, {"prompt": "a"}]


def test_a_stream_ends_with_what_run_gives(functions: Functions) -> None:
    """Its pieces pass as they come; the model's and the endpoint's preprocess work first."""
    model = Teller("m", preprocess="handlers.py:before")
    pieces = collect(build(Endpoint(name="e", model="m", output=OUTPUT), functions, model), {})

    assert [piece.record.get("text") for piece in pieces] == ["once ", "upon", "once upon"]
    assert (pieces[-1].final, pieces[-1].record) == (True, {"text": "once upon"})
    assert list(model.given[0]) == ["x"]


def test_the_last_step_streams_what_earlier_ones_made(functions: Functions) -> None:
    """They run first, also side by side."""
    model = Teller("m")
    endpoint = Endpoint(
        name="e",
        steps=steps(
            ("a", "handlers.py:left", ("n",)),
            ("b", "handlers.py:right", ("n",)),
            ("c", "handlers.py:join", ("a", "b")),
            ("told", "m", ("c",)),
        ),
    )
    with pytest.raises(ModelFailed, match=r"join raised"):
        collect(build(endpoint, functions, model), {"n": 3.0})
    sound = attrs.evolve(endpoint, steps=steps(("c", "handlers.py:after", ("n",)), ("told", "m", ("c",))))

    assert len(collect(build(sound, functions, model), {"n": 3.0})) == 3
    assert model.given == [{"wrapped": 3.0}]


def test_who_reads_no_more_frees_the_model(functions: Functions) -> None:
    """At once."""
    model = Teller("m")
    assert len(collect(build(Endpoint(name="e", model="m"), functions, model), {}, most=1)) == 1
    assert model.closed == 1


def test_a_streams_error_holds_nothing_sensitive(functions: Functions) -> None:
    """As in an answer that comes in one."""
    secret = Field(name="broken", type=parse("str"), sensitive=True)
    pipeline = build(Endpoint(name="e", model="m", input={"broken": secret}), functions, Teller("m"))

    with pytest.raises(ModelFailed, match=r"it choked on \*\*\*"):
        collect(pipeline, {"broken": "pomegranate"})


def test_what_cannot_stream_says_so(functions: Functions) -> None:
    """A model that answers at once, a function at the end, several records."""
    once = Teller("m")
    once.streams = False
    with pytest.raises(ModelFailed, match='"m" does not answer piece by piece'):
        collect(build(Endpoint(name="e", model="m"), functions, once), {})
    endpoint = Endpoint(name="e", steps=steps(("a", "handlers.py:after", ("n",))))
    with pytest.raises(ModelFailed, match="does not end with a model"):
        collect(build(endpoint, functions), {"n": 1})
    with pytest.raises(InvalidInput, match="one record, not to 2"):
        collect(build(Endpoint(name="e", model="m"), functions, Teller("m")), {"rows": [{}, {}]})


def test_a_seed_stands_for_chance() -> None:
    """The same seed chooses the same arm, and seeds share the traffic as chance would."""
    split = Split(arms={"left": 70, "right": 30})
    arms = [choose_arm(split, {}, {}, seed) for seed in range(400)]
    assert arms == [choose_arm(split, {}, {}, seed) for seed in range(400)]
    assert 240 < arms.count("left") < 320

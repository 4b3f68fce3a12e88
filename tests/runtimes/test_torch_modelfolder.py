"""What a folder of transformers is refused for, before and while it is loaded; which class opens it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelapp.errors import LoadError
from modelapp.runtime import Artefact, LoadedModel, Placement, Run
from modelapp.tasks import TASKS

LoadTask = Callable[..., LoadedModel]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, words: Any) -> Path:
    """A tiny BERT in one file, with its tokenizer."""
    import torch
    from transformers import BertConfig, BertForMaskedLM

    torch.manual_seed(1)
    folder = tmp_path_factory.mktemp("whole")
    config = BertConfig(vocab_size=60, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32)
    BertForMaskedLM(config).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    """The folder, to be spoilt."""
    return Path(shutil.copytree(whole, tmp_path / "copy"))


def edit(folder: Path, name: str = "config.json", **keys: Any) -> None:
    """Change keys of a JSON file."""
    path = folder / name
    path.write_text(json.dumps({**(json.loads(path.read_text()) if path.exists() else {}), **keys}))


def test_a_masked_language_model_gives_embeddings(whole: Path, load_task: LoadTask) -> None:
    """Its weights hold the encoder's; what is left out is told, and the pooler that it lacks is read by nobody."""
    model = load_task(whole, "embeddings")

    assert any("BertModel leaves out" in note for note in model.signature.notes)
    answers: Any = model.infer([{"text": "a cat"}], Run())
    assert len(answers[0]["embedding"]) == 16


def test_shards_are_one_model(whole: Path, load_task: LoadTask, tmp_path: Path, words: Any) -> None:
    """Weights in several files answer as in one; a file that is missing is named."""
    from transformers import BertForMaskedLM

    BertForMaskedLM.from_pretrained(whole).save_pretrained(tmp_path, max_shard_size="10kB")
    words.save_pretrained(tmp_path)
    shards = sorted(tmp_path.glob("model-*.safetensors"))
    assert len(shards) > 1

    one: Any = load_task(whole, "embeddings").infer([{"text": "a cat"}], Run())
    several: Any = load_task(tmp_path, "embeddings").infer([{"text": "a cat"}], Run())
    assert (one[0]["embedding"] == several[0]["embedding"]).all()

    shards[0].unlink()
    with pytest.raises(LoadError, match=rf"names {shards[0].name}, which is not there"):
        load_task(tmp_path, "embeddings")


def _pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


SPOILT: list[tuple[Callable[[Path], Any], str, str]] = [
    (lambda folder: shutil.rmtree(folder), "is no folder", "save_pretrained wrote"),
    (lambda folder: (folder / "config.json").unlink(), "holds no config.json", "save_pretrained wrote"),
    (lambda folder: (folder / "config.json").write_text("{"), "config.json cannot be read as JSON", "copy the model"),
    (lambda folder: (folder / "model.safetensors").unlink(), "holds no model.safetensors", "copy the weights"),
    (_pickled, "weights are a pickle", "import BertForMaskedLM as M; M.from_pretrained"),
    (lambda folder: (folder / "model.safetensors").write_bytes(b""), "header too small", "damaged or cut"),
    (
        lambda folder: (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-9]),
        "file not fully covered",
        "damaged or cut",
    ),
    (lambda folder: edit(folder, auto_map={"AutoModel": "own.Model"}), r"asks for code .* \(auto_map\)", "handlers.py"),
    (
        lambda folder: edit(folder, "tokenizer_config.json", auto_map={"AutoTokenizer": ["own.T", None]}),
        r"tokenizer_config.json asks for code",
        "handlers.py",
    ),
    (lambda folder: edit(folder, "adapter_config.json", base="x"), "an adapter of another model", "merge"),
    (
        lambda folder: edit(folder, hidden_size=32),
        r"the tensor \S+ has the shape \[.*16.*\], and config.json makes it \[.*32.*\] \(\d+ tensors differ\)",
        "two models",
    ),
    (lambda folder: edit(folder, num_hidden_layers=3), r"16 weights of BertModel are missing: .*layer\.2", "whole"),
    (lambda folder: edit(folder, model_type="brt"), 'knows no model type "brt"', "a version of transformers"),
    (lambda folder: (folder / "tokenizer.json").unlink(), "its tokenizer cannot be loaded", "copy the files"),
]


@pytest.mark.parametrize(("spoil", "told", "fix"), SPOILT, ids=[told for _, told, _ in SPOILT])
def test_a_spoilt_folder_is_refused(copy: Path, load_task: LoadTask, spoil: Any, told: str, fix: str) -> None:
    """The error names place, reason and fix; nothing is made up, and nothing asks on the terminal."""
    spoil(copy)
    with pytest.raises(LoadError, match=told) as caught:
        load_task(copy, "embeddings")
    assert fix in caught.value.help
    assert str(copy) in caught.value.message
    assert caught.value.model == "m"


def test_code_in_the_folder_does_not_run(copy: Path, load_task: LoadTask, tmp_path: Path) -> None:
    """Neither of a class that config.json names, nor of a pickle that lies beside the weights."""
    ran = tmp_path / "ran"
    (copy / "own.py").write_text(f"open({str(ran)!r}, 'w')")
    edit(copy, auto_map={"AutoModel": "own.Model", "AutoConfig": "own.Config"})
    with pytest.raises(LoadError):
        load_task(copy, "embeddings")

    edit(copy, auto_map={})
    (copy / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch " + str(ran).encode() + b"'\ntR.")
    load_task(copy, "embeddings")
    assert not ran.exists()


@pytest.mark.parametrize("task", [name for name in TASKS if name != "embeddings"])
def test_a_folder_for_another_task_is_refused(whole: Path, task: str) -> None:
    """The error names what the folder holds and what it fits."""
    from modelapp_torch.architectures import class_for
    from modelapp_torch.modelfolder import opened

    with pytest.raises(LoadError, match=rf'holds BertForMaskedLM, which does not fit task = "{task}"') as caught:
        class_for(opened(Artefact("m", whole, task=task)), task)
    assert caught.value.help == 'task = "embeddings"'


def test_every_task_has_classes() -> None:
    """Each word of the tasks is known here, and each table that it names is one of transformers'."""
    from transformers.models.auto import modeling_auto

    from modelapp_torch.architectures import _ENCODERS, _FAMILIES
    from modelapp_torch.tasks.loading import ADAPTERS

    assert set(_FAMILIES) == set(TASKS)
    for family in [*sum(_FAMILIES.values(), ()), *_ENCODERS]:
        assert getattr(modeling_auto, f"{family}_MAPPING_NAMES")
    assert set(ADAPTERS) == {name for name, task in TASKS.items() if not task.generates}


def test_without_architectures_the_task_decides(copy: Path, load_task: LoadTask) -> None:
    """An old config.json names no class; the weights must then be whole for the task."""
    edit(copy, architectures=None)
    load_task(copy, "embeddings")
    with pytest.raises(LoadError, match=r"2 weights of BertForTokenClassification are missing: classifier\.bias"):
        load_task(copy, "token-classification")


def test_weights_stay_in_the_file(whole: Path, load_task: LoadTask) -> None:
    """They are mapped, not read: what replicas share, as long as nobody writes to it."""
    model = load_task(whole, "embeddings")

    maps = Path("/proc/self/maps").read_text()

    assert str(whole / "model.safetensors") in maps
    model.close()
    with pytest.raises(RuntimeError, match="closed"):
        model.infer([{"text": "a"}], Run())


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"inputs": {"x": "float32[2]"}}, "torch.inputs has no effect on a folder served by its task"),
        ({"batching": "never"}, "torch.batching has no effect"),
        ({"quantize": "int8", "dtype": "bfloat16"}, 'quantize = "int8" does not go together with models.m.torch.dtype'),
        ({"threads": 9}, "over the model's budget of 1"),
    ],
)
def test_options_without_effect_are_refused(whole: Path, load_task: LoadTask, options: Any, told: str) -> None:
    """Rather than passed over."""
    with pytest.raises(LoadError, match=told):
        load_task(whole, "embeddings", **options)


def test_a_class_and_a_device_that_is_not_here_are_refused(whole: Path) -> None:
    """Both before anything is loaded."""
    from modelapp_torch import Options
    from modelapp_torch.tasks import load_task

    with pytest.raises(LoadError, match=r"handlers.py:Model is a class, and models.m.task adapts a folder"):
        load_task(Artefact("m", whole / "handlers.py", symbol="Model", task="embeddings"), Options(), Placement())
    with pytest.raises(LoadError, match=r'models\.m\.device is "cuda:99"'):
        load_task(Artefact("m", whole, task="embeddings"), Options(), Placement(device="cuda:99"))
    gguf = whole / "model.gguf"
    gguf.write_bytes(b"GGUF")
    with pytest.raises(LoadError, match="a GGUF file holds a text model"):
        load_task(Artefact("m", gguf, task="embeddings"), Options(), Placement())
    gguf.unlink()

"""Small ONNX files made on the spot, and models loaded from files or from a class written in the test."""

import itertools
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from modelapp.runtime import Artefact, LoadedModel, Placement, RawOptions
from modelapp_onnx import Options

_TYPES = {
    "float": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "int64": TensorProto.INT64,
    "bool": TensorProto.BOOL,
    "string": TensorProto.STRING,
}
Value = tuple[str, Sequence[Any] | None]
WriteGraph = Callable[..., Path]
LoadOnnx = Callable[..., LoadedModel]
LoadPython = Callable[..., LoadedModel]
LoadTorch = Callable[..., LoadedModel]
LoadTask = Callable[..., LoadedModel]


def _value(name: str, told: Value) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, _TYPES[told[0]], told[1])


@pytest.fixture
def write_graph(tmp_path: Path) -> WriteGraph:
    """Writes an ONNX file: nodes as (operator, inputs, outputs, attributes), values as (type, dims)."""

    def write(
        nodes: Sequence[tuple[str, Sequence[str], Sequence[str], Mapping[str, Any]]],
        inputs: Mapping[str, Value],
        outputs: Mapping[str, Value],
        constants: Mapping[str, NDArray[Any]] | None = None,
        name: str = "graph.onnx",
    ) -> Path:
        made = [helper.make_node(op, list(ins), list(outs), **attributes) for op, ins, outs, attributes in nodes]
        graph = helper.make_graph(
            made,
            "graph",
            [_value(name, told) for name, told in inputs.items()],
            [_value(name, told) for name, told in outputs.items()],
            [numpy_helper.from_array(array, key) for key, array in (constants or {}).items()],
        )
        path = tmp_path / name
        path.write_bytes(
            helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()
        )
        return path

    return write


@pytest.fixture
def affine(write_graph: WriteGraph) -> Path:
    """y = 3x + 1 over rows of 4 numbers."""
    return write_graph(
        [("Mul", ["x", "three"], ["t"], {}), ("Add", ["t", "one"], ["y"], {})],
        {"x": ("float", ["batch", 4])},
        {"y": ("float", ["batch", 4])},
        {"three": np.array([3], np.float32), "one": np.array([1], np.float32)},
        name="affine.onnx",
    )


@pytest.fixture
def endless(write_graph: WriteGraph) -> Path:
    """Multiplies a row by one `times` times: a run as long as the test wants."""
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["a", "weight"], ["b"]),
            helper.make_node("Identity", ["go"], ["goes"]),
        ],
        "body",
        [_value("i", ("int64", [])), _value("go", ("bool", [])), _value("a", ("float", ["n", 64]))],
        [_value("goes", ("bool", [])), _value("b", ("float", ["n", 64]))],
    )
    return write_graph(
        [("Loop", ["times", "yes", "x"], ["y"], {"body": body})],
        {"times": ("int64", []), "x": ("float", ["n", 64])},
        {"y": ("float", ["n", 64])},
        {"weight": np.eye(64, dtype=np.float32), "yes": np.array(True)},
        name="endless.onnx",
    )


@pytest.fixture
def load_onnx() -> Iterator[LoadOnnx]:
    """Loads an ONNX file with the options given as keywords; closes it after the test."""
    from modelapp_onnx.runtime import OnnxRuntime

    opened: list[LoadedModel] = []

    def load(path: Path, placement: Placement | None = None, **options: Any) -> LoadedModel:
        artefact = Artefact("m", path, root=path.parent)
        model = OnnxRuntime().load(artefact, Options(**options), placement or Placement())
        opened.append(model)
        return model

    yield load
    for model in opened:
        model.close()


@pytest.fixture
def load_python(tmp_path: Path) -> Iterator[LoadPython]:
    """Loads the class `Model` of the code given, with the options and files given; closes it after the test."""
    from modelapp_python.runtime import PythonRuntime

    opened: list[LoadedModel] = []
    folders = itertools.count()

    def load(
        code: str,
        options: Mapping[str, Any] | None = None,
        files: Mapping[str, Path] | None = None,
        name: str = "Model",
    ) -> LoadedModel:
        root = tmp_path / f"app{next(folders)}"
        root.mkdir()
        (root / "handlers.py").write_text(textwrap.dedent(code))
        artefact = Artefact("m", root / "handlers.py", symbol=name, root=root, files=files or {})
        model = PythonRuntime().load(artefact, RawOptions(options or {}), Placement())
        opened.append(model)
        return model

    yield load
    for model in opened:
        model.close()


@pytest.fixture
def load_task() -> Iterator[LoadTask]:
    """Loads a folder of transformers for a task, with the options given as keywords; closes it after the test."""
    from modelapp_torch import Options as TorchOptions
    from modelapp_torch.tasks import load_task as load

    opened: list[LoadedModel] = []

    def opens(path: Path, task: str, files: Mapping[str, Path] | None = None, **options: Any) -> LoadedModel:
        model = load(Artefact("m", path, files=files or {}, task=task), TorchOptions(**options), Placement())
        opened.append(model)
        return model

    yield opens
    for model in opened:
        model.close()


@pytest.fixture(scope="session")
def words(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A tokenizer of 60 whole words and pieces, made here; `[CLS] ... [SEP]` stands around a text."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    known = "a the cat dog ran slept in park of anna ber ##lin paris met bob ##by , . !"
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *known.split()]
    pieces += [f"w{number}" for number in range(60 - len(pieces))]
    made = Tokenizer(models.WordPiece({piece: at for at, piece in enumerate(pieces)}, unk_token="[UNK]"))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )


@pytest.fixture
def load_torch(tmp_path: Path) -> Iterator[LoadTorch]:
    """Loads the class `Net` of the code given, with the weights and options given; closes it after the test.

    `weights` is a state dict, written as safetensors, or a file; without code `source` is opened as it is.
    """
    import safetensors.torch

    from modelapp_torch import Options
    from modelapp_torch.runtime import TorchRuntime

    opened: list[LoadedModel] = []
    folders = itertools.count()

    def load(
        code: str = "",
        weights: Any = None,
        *,
        source: Path | None = None,
        placement: Placement | None = None,
        **options: Any,
    ) -> LoadedModel:
        root = tmp_path / f"net{next(folders)}"
        root.mkdir()
        files = {}
        if isinstance(weights, Path):
            files["weights"] = weights
        elif weights is not None:
            files["weights"] = root / "net.safetensors"
            safetensors.torch.save_file(dict(weights), files["weights"])
        if source is None:
            source = root / "handlers.py"
            source.write_text("import torch\nfrom torch import nn\n" + textwrap.dedent(code))
        artefact = Artefact("m", source, symbol="Net" if code else "", root=source.parent, files=files)
        model = TorchRuntime().load(artefact, Options(**options), placement or Placement())
        assert not hasattr(model, "engine")
        opened.append(model)  # type: ignore[arg-type] # no TextModel, as just seen
        return model  # type: ignore[return-value] # no TextModel, as just seen

    yield load
    for model in opened:
        model.close()


@pytest.fixture(scope="session")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Any]]:
    """A tiny decoder with random weights, by its family: the folder it was exported into, and transformers' model."""
    import torch
    from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, MistralConfig

    from modelapp_torch.onnxgraph import export_generating

    configs: dict[str, Any] = {
        "gpt2": GPT2Config(
            n_layer=2, n_embd=64, n_head=4, vocab_size=96, n_positions=64, bos_token_id=0, eos_token_id=1
        ),
        "llama": LlamaConfig(
            num_hidden_layers=2,
            hidden_size=72,
            intermediate_size=96,
            num_attention_heads=9,
            num_key_value_heads=3,
            vocab_size=96,
            max_position_embeddings=64,
            tie_word_embeddings=True,
        ),
        "mistral": MistralConfig(
            num_hidden_layers=2,
            hidden_size=64,
            intermediate_size=96,
            num_attention_heads=4,
            num_key_value_heads=2,
            vocab_size=96,
            max_position_embeddings=64,
            sliding_window=8,
        ),
    }  # fmt: skip
    made: dict[str, tuple[Path, Any]] = {}

    def make(family: str) -> tuple[Path, Any]:
        if family not in made:
            torch.manual_seed(0)
            model = AutoModelForCausalLM.from_config(configs[family]).eval()
            for weight in model.parameters():
                weight.data.add_(torch.randn_like(weight) * 0.05)
            folder = tmp_path_factory.mktemp(family)
            model.save_pretrained(folder / "plain")
            export_generating(model, folder)
            made[family] = folder, AutoModelForCausalLM.from_pretrained(folder / "plain").eval()
        return made[family]

    return make

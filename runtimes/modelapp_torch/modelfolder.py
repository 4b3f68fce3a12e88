"""A folder of transformers, or a GGUF file, looked at before anything of it is loaded: what it is, what it lacks."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from modelapp.errors import LoadError
from modelapp.runtime import Artefact

WEIGHTS, SHARDED = "model.safetensors", "model.safetensors.index.json"
_PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json")
_FOREIGN = ("tf_model.h5", "flax_model.msgpack", "model.ckpt.index", "model.onnx")
_MAY_HOLD_CODE = ("config.json", "tokenizer_config.json", "processor_config.json", "preprocessor_config.json")


@attrs.frozen(kw_only=True)
class ModelFolder:
    """Where a model lies: `path` is the folder, `gguf` the name of the file in it that holds everything, or "".

    `config` is config.json as it stands, empty for a GGUF file.
    """

    artefact: Artefact
    path: Path
    gguf: str = ""
    config: Mapping[str, Any] = attrs.Factory(dict)

    @property
    def architectures(self) -> tuple[str, ...]:
        """The classes that wrote the weights, e.g. ("BertModel",); none where the config does not say."""
        return tuple(self.config.get("architectures") or ())

    @property
    def model_type(self) -> str:
        """The family, e.g. "bert"."""
        return str(self.config.get("model_type", ""))

    def read_json(self, name: str) -> Any:
        """A JSON file of the folder, None where there is none. Raises LoadError where it is no JSON."""
        return _read_json(self.path / name, self.artefact.name)

    def failure(self, why: str, *, help: str = "") -> LoadError:
        """An error about this folder."""
        return LoadError(f"{self.path / self.gguf}: {why}", model=self.artefact.name, help=help)


def opened(artefact: Artefact) -> ModelFolder:
    """The model's folder, whose files are all there and can be read without running code out of them.

    Raises LoadError naming the file and the fix.
    """
    path = artefact.source
    if artefact.symbol:
        raise LoadError(
            f"{path}:{artefact.symbol} is a class, and models.{artefact.name}.task adapts a folder of transformers",
            model=artefact.name,
            help="name the folder with config.json, or leave `task` out",
        )
    if path.suffix == ".gguf" and path.is_file():
        return ModelFolder(artefact=artefact, path=path.parent, gguf=path.name)
    if not (path / "config.json").is_file():
        what = "holds no config.json" if path.is_dir() else "is no folder"
        raise LoadError(
            f"{path} {what}, and models.{artefact.name}.task adapts a folder of transformers",
            model=artefact.name,
            help="name the folder that save_pretrained wrote: config.json, model.safetensors and the tokenizer's files",
        )
    folder = ModelFolder(artefact=artefact, path=path, config=_read_json(path / "config.json", artefact.name))
    _refuse_code(folder)
    _check_weights(folder)
    return folder


def _read_json(path: Path, model: str) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise LoadError(f"{path} cannot be read as JSON: {error}", model=model, help="copy the model again") from None


def _refuse_code(folder: ModelFolder) -> None:
    """Whatever a folder brings along to be run is refused, rather than asked about on a terminal that nobody sees."""
    for name in _MAY_HOLD_CODE:
        read = folder.read_json(name)
        if isinstance(read, Mapping) and read.get("auto_map"):
            raise folder.failure(
                f"{name} asks for code out of the folder (auto_map), which is never run",
                help="read that code, and if you trust it put it into handlers.py as a class of your own",
            )
    if (folder.path / "adapter_config.json").exists():
        raise folder.failure(
            "it holds an adapter of another model (adapter_config.json)",
            help="merge the adapter into its model and save that: merge_and_unload(), then save_pretrained()",
        )


def _check_weights(folder: ModelFolder) -> None:
    """Raise LoadError unless all of the weights are there as safetensors."""
    if (folder.path / SHARDED).is_file() and not (folder.path / WEIGHTS).is_file():
        shards = set((folder.read_json(SHARDED) or {}).get("weight_map", {}).values())
        if gone := sorted(name for name in shards if not (folder.path / name).is_file()):
            raise folder.failure(f"{SHARDED} names {gone[0]}, which is not there", help="copy the model again, whole")
        return
    if (folder.path / WEIGHTS).is_file():
        return
    if any((folder.path / name).is_file() for name in _PICKLED):
        made = folder.architectures[0] if folder.architectures else "AutoModel"
        raise folder.failure(
            f"its weights are a pickle ({_PICKLED[0]}), which may run code when it is read; {WEIGHTS} is not there",
            help=f'write them as safetensors once: python -c "from transformers import {made} as M;'
            f" M.from_pretrained('{folder.path}').save_pretrained('{folder.path}')\"",
        )
    others = [name for name in _FOREIGN if (folder.path / name).exists()]
    raise folder.failure(
        f"it holds no {WEIGHTS}" + (f", only {others[0]}" if others else ""),
        help="copy the weights beside config.json, or write them anew with save_pretrained()",
    )

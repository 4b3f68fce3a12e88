"""GGUF files unfolded once: their packed numbers as safetensors, which load at once and which replicas map together."""

import contextlib
import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import attrs
from safetensors.torch import save_model

from modelapp.modelfile import sha256_of
from modelapp.runtime import Placement
from modelapp_torch import Options
from modelapp_torch.modelfolder import WEIGHTS, ModelFolder

_MANIFEST = "unfolded.json"
_MB = 1024 * 1024


@attrs.frozen
class GgufCache:
    """The folder of transformers that one GGUF file becomes, in one dtype and by one version of each library.

    It is written aside and put in its place whole. Its files are held against their digests before they are loaded: a
    flipped bit would load, and answer wrongly. It may be deleted at any time.
    """

    entry: Path
    folder: ModelFolder

    @classmethod
    def of(cls, folder: ModelFolder, options: Options, placement: Placement) -> "GgufCache | None":
        """Where a GGUF file is kept unfolded; None where the model is no such file, or nothing can be kept."""
        if not folder.gguf or placement.cache_dir is None:
            return None
        facts = (sha256_of(folder.path / folder.gguf), options.dtype, version("transformers"), version("gguf"))
        key = hashlib.sha256("\0".join(facts).encode()).hexdigest()[:32]
        return cls(placement.cache_dir / "torch" / f"gguf-{key}", folder)

    def load(self) -> ModelFolder | None:
        """The folder, None where it is not there; a damaged one is removed."""
        try:
            known: Mapping[str, str] = json.loads((self.entry / _MANIFEST).read_text("utf-8"))
            if known and all(sha256_of(self.entry / name) == digest for name, digest in known.items()):
                config = json.loads((self.entry / "config.json").read_text("utf-8"))
                return attrs.evolve(self.folder, path=self.entry, gguf="", config=config)
        except FileNotFoundError:
            pass
        except (OSError, ValueError, AttributeError):  # whatever is wrong with it, it is made anew
            pass
        shutil.rmtree(self.entry, ignore_errors=True)
        return None

    def keep(self, model: Any, tokenizer: Any) -> str:
        """Write what was loaded out of the file; a note for whoever starts the app."""
        try:
            self.entry.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".writing-", dir=self.entry.parent) as workshop:
                made = Path(workshop) / "made"
                _write(model, tokenizer, made)
                with contextlib.suppress(OSError):  # another replica was quicker
                    made.rename(self.entry)
            size_mb = (self.entry / WEIGHTS).stat().st_size // _MB
        except Exception as error:  # a full disk, a folder that may not be written to: the model is loaded all the same
            return f"It could not be kept unfolded in {self.entry}, and is unfolded at each start: {error}"
        return f"Kept unfolded in {self.entry} ({size_mb} MB), so that the next start takes it from there."


def _write(model: Any, tokenizer: Any, made: Path) -> None:
    made.mkdir()
    save_model(model, str(made / WEIGHTS), metadata={"format": "pt"})
    config = {**model.config.to_dict(), "architectures": [type(model).__name__]}
    config.pop("quantization_config", None)  # it says how the numbers were packed, which they are no more
    (made / "config.json").write_text(json.dumps(config), "utf-8")
    model.generation_config.save_pretrained(made)
    tokenizer.save_pretrained(made)
    digests = {path.name: sha256_of(path) for path in sorted(made.iterdir())}
    (made / _MANIFEST).write_text(json.dumps(digests), "utf-8")

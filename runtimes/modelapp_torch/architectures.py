"""Which class of transformers a folder is opened with for a task, and what else a folder would fit."""

from collections.abc import Iterable
from itertools import chain
from typing import Any

import transformers
from transformers.models.auto import modeling_auto

from modelapp_torch.modelfolder import ModelFolder

_FAMILIES = {
    "text-generation": ("MODEL_FOR_CAUSAL_LM",),
    "text-to-text": ("MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM",),
    "embeddings": ("MODEL_FOR_TEXT_ENCODING", "MODEL"),
    "image-classification": ("MODEL_FOR_IMAGE_CLASSIFICATION",),
    "object-detection": ("MODEL_FOR_OBJECT_DETECTION",),
    "token-classification": ("MODEL_FOR_TOKEN_CLASSIFICATION",),
    "text-to-speech": ("MODEL_FOR_TEXT_TO_WAVEFORM", "MODEL_FOR_TEXT_TO_SPECTROGRAM"),
    "speech-to-text": ("MODEL_FOR_SPEECH_SEQ_2_SEQ", "MODEL_FOR_CTC"),
}
"""task -> the tables of transformers, family to class, in which its classes stand."""
_ENCODERS = ("MODEL_FOR_MASKED_LM", "MODEL_FOR_PRETRAINING")
"""Tables of classes around an encoder; its weights in their folders serve for embeddings."""


def class_for(folder: ModelFolder, task: str) -> Any:
    """The class that opens the folder for the task. Raises LoadError naming both, and what the folder fits."""
    if folder.model_type not in transformers.CONFIG_MAPPING:
        raise folder.failure(
            f'transformers {transformers.__version__} knows no model type "{folder.model_type}" (model_type in'
            " config.json)",
            help="install a version of transformers that does, or serve the model by a class of your own",
        )
    names = _names(folder.model_type, _FAMILIES[task])
    written = folder.architectures
    if not names or (written and not _fits(folder, task)):
        raise _misfit(folder, task)
    return getattr(transformers, next((name for name in names if name in written), names[0]))


def _fits(folder: ModelFolder, task: str) -> bool:
    """Whether the classes that wrote the weights are such that serve the task."""
    names = set(_names(folder.model_type, _FAMILIES[task]))
    if task == "embeddings" and names:
        around = _names(folder.model_type, _ENCODERS)
        names |= {name for name in around if name.endswith(("ForMaskedLM", "ForPreTraining"))}
    return bool(names & set(folder.architectures))


def _misfit(folder: ModelFolder, task: str) -> Exception:
    held = ", ".join(folder.architectures) or f'a model of the type "{folder.model_type}"'
    fits = [other for other in _FAMILIES if _fits(folder, other)]
    wanted = " or ".join(_names(folder.model_type, _FAMILIES[task]))
    needed = f"weights of {wanted}" if wanted else f'no model of the type "{folder.model_type}" does it'
    return folder.failure(
        f'it holds {held}, which does not fit task = "{task}": {needed}',
        help=" or ".join(f'task = "{other}"' for other in fits)
        or "name another folder, or serve the model by a class of your own",
    )


def _names(model_type: str, families: Iterable[str]) -> list[str]:
    """The classes of a model type in these tables, each once."""
    found = [getattr(modeling_auto, f"{family}_MAPPING_NAMES").get(model_type, ()) for family in families]
    return list(dict.fromkeys(chain.from_iterable([names] if isinstance(names, str) else names for names in found)))

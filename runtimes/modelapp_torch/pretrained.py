"""Loading out of a folder of transformers: nothing is fetched, no code of the folder runs, no weight is made up."""

from collections.abc import Iterable
from typing import Any

import attrs
import torch
from transformers.utils import logging

from modelapp.runtime import Placement
from modelapp_torch import Options
from modelapp_torch.failures import reason
from modelapp_torch.modelfolder import ModelFolder
from modelapp_torch.placing import DTYPES, device_of
from modelapp_torch.quantizing import check_quantize, quantized

_OFFLINE = {"local_files_only": True, "trust_remote_code": False}
"""Said at every call: without the second, transformers would ask on the terminal, and wait."""


@attrs.frozen
class Pretrained:
    """A model in evaluation mode on its device. `notes` are for whoever starts the app."""

    model: Any
    device: torch.device
    notes: tuple[str, ...] = ()


def load_pretrained(
    folder: ModelFolder,
    kind: Any,
    options: Options,
    placement: Placement,
    *,
    unused: Iterable[str] = (),
) -> Pretrained:
    """The weights as a model of the class `kind`, mapped from the file: replicas share them while they are only read.

    `unused`: beginnings of the names of weights that nobody reads, and may lack. Raises LoadError, naming the tensor.
    """
    check_quantize(options, folder.artefact)
    device = device_of(folder.artefact, placement)
    _hush()
    given: dict[str, Any] = {"gguf_file": folder.gguf} if folder.gguf else {"use_safetensors": True}
    if options.attention != "sdpa":  # else transformers finds out which of the model's parts have code for it
        given["attn_implementation"] = options.attention
    try:
        model, told = kind.from_pretrained(
            folder.path,
            dtype=DTYPES[options.dtype],
            ignore_mismatched_sizes=True,  # they are told below, by name and shapes
            output_loading_info=True,
            **given,
            **_OFFLINE,
        )
    except Exception as error:  # whatever a damaged file or an odd config makes it raise
        raise folder.failure(f"it cannot be loaded as {kind.__name__}: {reason(error)}", help=_fix(error)) from error
    _check_complete(folder, kind, told, tuple(unused))
    notes = _notes(kind, model, told, options)
    model = model.eval()
    if options.quantize == "int8":
        model = quantized(model, device, str(folder.path), folder.artefact)
    return Pretrained(model.to(device), device, notes)


def load_part(folder: ModelFolder, kind: Any, what: str, **given: Any) -> Any:
    """A tokenizer, processor or the like by its Auto class; `what` names it in the LoadError where it does not load."""
    if folder.gguf:
        given["gguf_file"] = folder.gguf
    try:
        return kind.from_pretrained(folder.path, **given, **_OFFLINE)
    except Exception as error:
        raise folder.failure(
            f"its {what} cannot be loaded: {reason(error)}",
            help=f"copy the files of the {what} beside config.json, as save_pretrained() of the {what} writes them",
        ) from error


def _hush() -> None:
    """What transformers would report of a load is an error or a note here."""
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # it has no types
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]


def _notes(kind: Any, model: Any, told: Any, options: Options) -> tuple[str, ...]:
    notes = []
    used = getattr(model.config, "_attn_implementation", None) or options.attention
    if used != options.attention:
        notes.append(f'{kind.__name__} has no code for attention = "{options.attention}": "{used}" is used.')
    if extra := sorted(told["unexpected_keys"]):
        notes.append(f"{kind.__name__} leaves out {len(extra)} tensors of the folder, {extra[0]} the first.")
    return tuple(notes)


def _check_complete(folder: ModelFolder, kind: Any, told: Any, unused: tuple[str, ...]) -> None:
    """Raise LoadError where a weight is missing or has another shape: it would be filled in at random."""
    if mismatched := sorted(told["mismatched_keys"]):
        name, found, wanted = mismatched[0]
        raise folder.failure(
            f"the tensor {name} has the shape {list(found)}, and config.json makes it {list(wanted)}"
            + (f" ({len(mismatched)} tensors differ)" if len(mismatched) > 1 else ""),
            help="config.json and weights are of two models: copy both anew from one",
        )
    missing = sorted(name for name in told["missing_keys"] if not name.startswith(unused))
    if missing or told["error_msgs"]:
        what = f"{len(missing)} weights of {kind.__name__} are missing" if missing else told["error_msgs"][0]
        raise folder.failure(
            what + (f": {', '.join(missing[:3])}{', ...' if len(missing) > 3 else ''}" if missing else ""),
            help=f"name a folder saved from a whole {kind.__name__}",
        )


def _fix(error: Exception) -> str:
    if "safetensors" in type(error).__module__ or "header" in str(error).lower():
        return "the file is damaged or cut: copy it again and compare size and digest"
    return ""

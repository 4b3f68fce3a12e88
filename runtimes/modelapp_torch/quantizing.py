"""Linear layers with weights of 8 bits: the activations are scaled anew at each run."""

import warnings
from functools import partial
from typing import Any

import torch

from modelapp.errors import LoadError
from modelapp.runtime import Artefact
from modelapp_torch import Options


def check_quantize(options: Options, artefact: Artefact) -> None:
    """Raise LoadError where layers of 8 bits, which answer in float32, would stand among others in half of it."""
    if options.quantize == "off" or options.dtype == Options().dtype:
        return
    table = f"models.{artefact.name}.torch"
    raise LoadError(
        f'{table}.quantize = "{options.quantize}" does not go together with {table}.dtype = "{options.dtype}"',
        model=artefact.name,
        help=f'{options.quantize} needs dtype = "float32", which is the default; or leave quantize out',
    )


def quantized(module: torch.nn.Module, device: torch.device, where: str, artefact: Artefact) -> torch.nn.Module:
    """`module` with its linear layers changed in place. Raises LoadError where it has none, or on another device."""
    key = f'models.{artefact.name}.torch.quantize = "int8"'
    if device.type != "cpu":
        raise LoadError(f"{key} works on the CPU alone, not on {device}", model=artefact.name, help="leave it out")
    linear = torch.nn.Linear
    if not any(type(part) is linear for part in module.modules()):
        raise LoadError(f"{key}: {where} has no linear layer", model=artefact.name, help="leave it out")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it tells of a successor that is slower here without a compiler
        from torch.ao.nn.quantized import dynamic
        from torch.ao.quantization import quantize_dynamic
        from torch.ao.quantization.qconfig import per_channel_dynamic_qconfig

        module = module.to(torch.float32)
        # One scale for each row of a weight costs nothing, and halves what a whole model loses.
        each = {linear: per_channel_dynamic_qconfig}
        made = quantize_dynamic(module, each, dtype=torch.qint8, inplace=True)  # type: ignore[no-untyped-call]
    if _has_vnni():
        for part in made.modules():
            if type(part) is dynamic.Linear:
                part.forward = partial(_in_full, part)  # type: ignore[method-assign] # of this one alone
    return made  # type: ignore[no-any-return]


def _has_vnni() -> bool:
    """Whether the processor multiplies 8 bits by 8 without overflow; torch keeps to 7 bits, as if none did."""
    return bool(getattr(torch.cpu, "_is_vnni_supported", lambda: False)())


def _in_full(part: Any, rows: torch.Tensor) -> torch.Tensor:
    """What the layer computes, with activations in all of their 8 bits."""
    packed = part._packed_params._packed_params
    return torch.ops.quantized.linear_dynamic(rows, packed, reduce_range=False).to(rows.dtype)  # type: ignore[no-any-return]

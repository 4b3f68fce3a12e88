"""Linear layers with weights of 8 bits: the activations are scaled anew at each run."""

import warnings

import torch

from modelapp.errors import LoadError
from modelapp.runtime import Artefact


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
        from torch.ao.quantization import quantize_dynamic

        module = module.to(torch.float32)
        return quantize_dynamic(module, {linear}, dtype=torch.qint8, inplace=True)  # type: ignore[no-any-return, no-untyped-call] # untyped there

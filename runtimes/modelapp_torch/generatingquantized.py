"""The layers of a generating model with weights of 8 bits."""

from typing import Any

import torch
from transformers.pytorch_utils import Conv1D

from modelapp.runtime import Artefact
from modelapp_torch.quantizing import quantized


def make_small(model: Any, device: torch.device, where: str, artefact: Artefact) -> None:
    """Change the layers of `model` in place. Raises LoadError.

    One scale is found for all tokens of a step, so that an answer may depend on its neighbours: of the logits only
    their size is promised, not that greedy answers alone and in company are equal.
    """
    straighten(model)
    quantized(model, device, where, artefact)


def straighten(model: Any) -> None:
    """GPT-2 keeps its weights the other way around, in a layer of its own: make each a plain linear layer."""
    for module in list(model.modules()):
        for name, part in list(module.named_children()):
            if isinstance(part, Conv1D):
                setattr(module, name, _linear(part))


def _linear(part: Any) -> torch.nn.Linear:
    width, outputs = part.weight.shape
    linear = torch.nn.Linear(width, outputs, device="meta")
    linear.weight = torch.nn.Parameter(part.weight.detach().t().contiguous(), requires_grad=False)
    linear.bias = torch.nn.Parameter(part.bias.detach(), requires_grad=False)
    return linear.eval()

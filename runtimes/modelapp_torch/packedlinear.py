"""Linear layers whose weights lie as the processor's matrix code wants them, which is else done anew in every step."""

from typing import Any

import torch
from transformers.pytorch_utils import Conv1D


class PackedLinear(torch.nn.Module):
    """A linear layer for float32 or bfloat16 on the CPU. A few rows take half the time of a plain one."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None, rows: int) -> None:
        super().__init__()
        self.bias = None if bias is None else torch.nn.Parameter(bias.detach(), requires_grad=False)
        self.weight = torch.empty_like(weight, device="meta")
        """Of no use but for its dtype and shape, which some models look at."""
        self._packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), rows)

    def forward(self, rows: torch.Tensor) -> Any:
        """[..., inputs] to [..., outputs]."""
        return torch.ops.mkldnn._linear_pointwise(rows, self._packed, self.bias, "none", [], "")


def can_pack(model: Any, device: torch.device) -> bool:
    """Whether the layers of `model` can be packed here."""
    return bool(
        device.type == "cpu"
        and model.dtype in ([torch.float32, torch.bfloat16] if _has_bfloat16() else [torch.float32])
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]  # untyped there
        and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
    )


def _has_bfloat16() -> bool:
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def pack(model: Any, rows: int) -> None:
    """Change the linear layers of `model` in place, for about so many rows at a time.

    The packed weights are this process's own: unlike those mapped from a file, replicas do not share them.
    """
    _replace(model, lambda weight, bias: PackedLinear(weight, bias, rows), {torch.nn.Linear, Conv1D})


def straighten(model: Any) -> None:
    """GPT-2 keeps its weights the other way around, in a layer of its own: make each a plain linear layer."""
    _replace(model, _linear, {Conv1D})


def _replace(model: Any, make: Any, kinds: set[type]) -> None:
    made: dict[int, Any] = {}
    for module in list(model.modules()):
        for name, part in list(module.named_children()):
            if type(part) in kinds:
                if id(part) not in made:  # one layer may be used in two places
                    weight = part.weight.t().contiguous() if isinstance(part, Conv1D) else part.weight
                    made[id(part)] = make(weight, part.bias), part
                setattr(module, name, made[id(part)][0])


def _linear(weight: torch.Tensor, bias: torch.Tensor | None) -> torch.nn.Linear:
    linear = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    linear.weight = torch.nn.Parameter(weight.detach(), requires_grad=False)
    if bias is not None:
        linear.bias = torch.nn.Parameter(bias.detach(), requires_grad=False)
    return linear.eval()

"""Attention biases that depend on how far two tokens are apart, as T5 has them, for sequences packed into one pass."""

from collections.abc import Mapping
from typing import Any

import attrs
import torch

from modelapp_torch.slotattention import Turn


@attrs.frozen(eq=False)
class DistanceBias:
    """`by_distance` is [heads, distances]: what is added where a key lies so many tokens before the query."""

    by_distance: torch.Tensor

    def rows(self, turn: Turn) -> torch.Tensor:
        """The bias of the rows of `turn`, [1, heads, count, total]; later tokens are shut out."""
        return turn.kept(self, self._rows)

    def _rows(self, turn: Turn) -> torch.Tensor:
        device = self.by_distance.device
        places = torch.arange(turn.before, turn.total, device=device)[:, None]
        distances = places - torch.arange(turn.total, device=device)
        bias = self.by_distance[:, distances.clamp(min=0)]
        return bias.masked_fill(distances < 0, -torch.inf)[None]


class RelativeBiases:
    """The biases of a decoder's layers. A layer without its own has that of the layer before."""

    def __init__(self, decoder: Any, tokens: int) -> None:
        self._own: dict[Any, DistanceBias] = {}
        self._current: DistanceBias | None = None
        for module in decoder.modules():
            if getattr(module, "has_relative_attention_bias", False) and hasattr(module, "compute_bias"):
                rows = module.compute_bias(1, tokens, past_seen_tokens=tokens - 1)[0, :, 0]
                self._own[module] = DistanceBias(rows.flip(-1))

    def of(self, module: Any, given: Mapping[str, Any]) -> DistanceBias | None:
        """The bias of a layer that is told of one; None for all others."""
        if given.get("position_bias") is None:
            return None
        self._current = self._own.get(module, self._current)
        return self._current

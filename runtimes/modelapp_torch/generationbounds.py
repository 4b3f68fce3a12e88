"""How many sequences of which length an engine holds: the model's own bounds, and what app.toml grants."""

from collections.abc import Sequence
from typing import Any

import attrs

from modelapp.generating import Capacity
from modelapp.runtime import Placement
from modelapp.slots import SlotTable
from modelapp_torch.modelfolder import ModelFolder
from modelapp_torch.slotattention import LayerShape

_PARKED = 4
"""So many earlier sequences are kept for each slot while there is memory."""
_WINDOWS = ("sliding_window", "attention_chunk_size")


@attrs.frozen(kw_only=True)
class Bounds:
    """What is known of a model: tokens of one sequence (0: no bound), of a source text (0: none is read), words."""

    folder: ModelFolder
    model: Any
    own_tokens: int
    vocabulary: int
    token_bytes: int
    source_tokens: int = 0
    unbounded: int = 0
    """Tokens of one sequence where nothing else bounds them; 0: as many as there is memory for."""
    source_bytes: int = 0
    """What the source text of one sequence takes at most."""

    def grant(self, placement: Placement) -> tuple[Capacity, SlotTable]:
        """Bounds of the engine, and the books of its memory. Raises LoadError where app.toml asks for too much."""
        asked = placement.context_tokens
        if self.own_tokens and asked > self.own_tokens:
            raise self._failure(
                f"context_tokens is {asked}, and the model reads {self.own_tokens}",
                f"context_tokens = {self.own_tokens}, or leave the key out",
            )
        memory = placement.cache_mb * 2**20
        slots = placement.slots
        if self.source_bytes:
            longest = asked or self.own_tokens or self.unbounded
            slots = max(1, min(slots, memory // (self.source_bytes + longest * self.token_bytes)))
        tokens = (memory - slots * self.source_bytes) // self.token_bytes
        least = max(asked, 2)
        if tokens < least:
            needed = -(-(self.source_bytes + least * self.token_bytes) // 2**20)
            raise self._failure(
                f"cache_mb = {placement.cache_mb} holds no sequence of {least} tokens, each of which takes"
                f" {self.token_bytes} bytes",
                f"cache_mb = {needed} or more",
            )
        capacity = Capacity(
            slots=slots,
            context_tokens=asked or min(self.own_tokens or self.unbounded or tokens, tokens),
            vocabulary=self.vocabulary,
            ends=end_tokens(self.model),
            source_tokens=self.source_tokens,
        )
        parked = _PARKED * slots if placement.reuse_prefixes and not self.source_tokens else 0
        return capacity, SlotTable(slots, tokens, parked=parked)

    def _failure(self, why: str, fix: str) -> Exception:
        return self.folder.failure(why, help=f"{fix} in [models.{self.folder.artefact.name}.generation]")


def end_tokens(model: Any) -> frozenset[int]:
    """The tokens by which a model says that it has finished."""
    for config in (getattr(model, "generation_config", None), model.config.get_text_config(decoder=True)):
        ends = getattr(config, "eos_token_id", None)
        if ends is not None:
            return frozenset(ends if isinstance(ends, list | tuple) else (ends,))
    return frozenset()


def own_tokens(config: Any, *, windowed: bool) -> int:
    """The longest sequence that a model reads rightly; 0 where nothing bounds it.

    `windowed`: whether its layers say how far back they look. Where they do not, a window in its config is one that
    only masks tell of, and within it there is no difference.
    """
    bounds = [getattr(config, "max_position_embeddings", None)]
    if not windowed:
        bounds += [getattr(config, name, None) for name in _WINDOWS]
    return min((bound for bound in bounds if isinstance(bound, int) and bound > 0), default=0)


def token_bytes(shapes: Sequence[LayerShape], itemsize: int) -> int:
    """What one token takes in the layers that keep it."""
    return itemsize * sum(shape.numbers for shape in shapes)

"""Attention of many sequences in one pass of a model: each over its own keys and values, and over nothing else.

A model is run over the tokens of all its sequences, one after the other as if they were one long sequence, so that
each weight is read once. transformers hands what concerns the places of tokens to an attention function: ours keeps
the sequences apart. No mask reaches from one into another and no row is padded, so a neighbour changes nothing.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import attrs
import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

NAME = "modelapp"
"""The name under which transformers knows this attention."""
_FOREIGN = ("softcap", "s_aux", "head_mask", "alibi")
"""What changes attention in ways that are not computed here."""


@attrs.frozen
class LayerShape:
    """Keys [heads, tokens, key_width] and values [heads, tokens, value_width] of one layer."""

    heads: int
    key_width: int
    value_width: int
    crossed: bool = False
    """Whether they are of the source text, which an encoder has read."""

    @property
    def numbers(self) -> int:
        """Numbers for one token."""
        return self.heads * (self.key_width + self.value_width)


class Memory:
    """The keys and values of one sequence, for `room` tokens; `keys[layer]` is [heads, room, width]."""

    __slots__ = ("keys", "values")

    def __init__(self, shapes: Sequence[LayerShape], room: int, dtype: torch.dtype, device: torch.device) -> None:
        numbers = room * sum(shape.numbers for shape in shapes)
        flat = torch.empty(numbers, dtype=dtype, device=device)
        self.keys: list[torch.Tensor] = []
        self.values: list[torch.Tensor] = []
        at = 0
        for shape in shapes:
            for kept, width in ((self.keys, shape.key_width), (self.values, shape.value_width)):
                size = shape.heads * room * width
                kept.append(flat[at : at + size].view(shape.heads, room, width))
                at += size

    def copy(self, other: "Memory", tokens: int) -> None:
        """Take over the first tokens of another sequence."""
        for own, theirs in ((self.keys, other.keys), (self.values, other.values)):
            for mine, yours in zip(own, theirs, strict=True):
                mine[:, :tokens] = yours[:, :tokens]


class Turn:
    """What one sequence is fed in a pass: `count` tokens after the `before` that it knows."""

    __slots__ = ("_kept", "before", "count", "memory", "source", "total")

    def __init__(self, memory: Memory, before: int, count: int, source: Memory | None = None) -> None:
        self.memory = memory
        self.source = source
        """What the decoder sees of the source text."""
        self.before = before
        self.count = count
        self.total = before + count
        self._kept: dict[Any, torch.Tensor] = {}

    def kept(self, key: Any, make: "Callable[[Turn], torch.Tensor]") -> torch.Tensor:
        """What `make` makes of this turn: once for all layers."""
        if (found := self._kept.get(key)) is None:
            found = self._kept[key] = make(self)
        return found

    def mask(self, groups: int, window: int | None, device: torch.device) -> torch.Tensor:
        """Which of `total` tokens each of `groups` times `count` rows sees, bool."""
        return self.kept((groups, window), lambda _: self._mask(groups, window, device))

    def _mask(self, groups: int, window: int | None, device: torch.device) -> torch.Tensor:
        places = torch.arange(self.before, self.total, device=device).repeat(groups)[:, None]
        tokens = torch.arange(self.total, device=device)
        mask = tokens <= places
        if window is not None:
            mask &= tokens > places - window
        return mask


class Pass:
    """One pass over several turns. Layers are told apart by the order in which a model calls for attention."""

    def __init__(self, shapes: Sequence[LayerShape], turns: Sequence[Turn], biases: Any = None) -> None:
        self._shapes = shapes
        self._turns = turns
        self._sizes = [turn.count for turn in turns]
        self._biases = biases
        self._call = 0
        self._own = self._crossed = 0

    def check(self) -> None:
        """Raise RuntimeError unless every layer has asked for attention, once."""
        if self._call != len(self._shapes):
            raise RuntimeError(f"{self._call} layers asked for attention, and {len(self._shapes)} when it was loaded")

    def attend(self, module: Any, query: Any, key: Any, value: Any, scale: float | None, given: Any) -> torch.Tensor:
        """One layer: queries [1, heads, tokens, width] of all turns to [1, tokens, heads, width]."""
        shape = self._shapes[self._call]
        self._call += 1
        if shape.crossed:
            found = self._cross(query, scale)
            self._crossed += 1
        else:
            bias = self._biases.of(module, given) if self._biases is not None else None
            found = self._along(query, key[0], value[0], scale, given.get("sliding_window"), bias)
            self._own += 1
        return torch.cat(found, dim=2).transpose(1, 2) if len(found) > 1 else found[0].transpose(1, 2)

    def _along(
        self, query: Any, key: Any, value: Any, scale: float | None, window: int | None, bias: Any
    ) -> list[torch.Tensor]:
        layer, found = self._own, []
        heads = key.shape[0]
        groups = query.shape[1] // heads
        parts = zip(
            self._turns,
            query.split(self._sizes, 2),
            key.split(self._sizes, 1),
            value.split(self._sizes, 1),
            strict=True,
        )
        for turn, asked, new_keys, new_values in parts:
            keys, values = turn.memory.keys[layer], turn.memory.values[layer]
            total, count = turn.total, turn.count
            keys.narrow(1, turn.before, count).copy_(new_keys)
            values.narrow(1, turn.before, count).copy_(new_values)
            start = 0 if window is None or count > 1 else max(0, total - window)
            keys, values = keys[None, :, start:total], values[None, :, start:total]
            mask = None
            if bias is not None:
                mask = bias.rows(turn)
            elif count > 1 and (turn.before or groups > 1 or window is not None):
                mask = turn.mask(groups, window, query.device)
            # Heads that share keys are rows of one head: nothing is repeated.
            packed = asked if groups == 1 else asked.reshape(1, heads, groups * count, -1)
            out = scaled_dot_product_attention(
                packed, keys, values, attn_mask=mask, is_causal=count > 1 and mask is None, scale=scale
            )
            found.append(out if groups == 1 else out.reshape(1, heads * groups, count, -1))
        return found

    def _cross(self, query: Any, scale: float | None) -> list[torch.Tensor]:
        layer, found = self._crossed, []
        for turn, asked in zip(self._turns, query.split(self._sizes, 2), strict=True):
            assert turn.source is not None
            keys, values = turn.source.keys[layer], turn.source.values[layer]
            found.append(scaled_dot_product_attention(asked, keys[None], values[None], scale=scale))
        return found


class Probe:
    """A pass over one sequence from its beginning that keeps nothing but what the layers are like.

    `known`: what they are like, as an earlier one found. The first one tells layers that see a source by its length,
    which must not be that of the sequence.
    """

    def __init__(self, known: Sequence[LayerShape] = ()) -> None:
        self._known = known
        self.shapes: list[LayerShape] = []
        self.crossed: list[tuple[torch.Tensor, torch.Tensor]] = []
        """Keys and values of the source text, [heads, tokens, width] of each layer that has them."""
        self.windowed = False
        """Whether a layer said itself how far back it looks."""
        self.foreign: list[str] = []

    def attend(self, module: Any, query: Any, key: Any, value: Any, scale: float | None, given: Any) -> torch.Tensor:
        """Plain attention; its answer is of no use where a layer has a bias or a window."""
        crossed = self._known[len(self.shapes)].crossed if self._known else key.shape[2] != query.shape[2]
        self.shapes.append(LayerShape(key.shape[1], key.shape[3], value.shape[3], crossed))
        self.foreign += [name for name in _FOREIGN if given.get(name) is not None]
        self.windowed |= given.get("sliding_window") is not None
        if crossed:
            self.crossed.append((key[0], value[0]))
        elif not getattr(module, "is_causal", True):
            self.foreign.append("attention to later tokens")
        heads = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(heads, 1), value.repeat_interleave(heads, 1)
        return scaled_dot_product_attention(query, key, value, is_causal=not crossed, scale=scale).transpose(1, 2)


class Plain:
    """A pass over one whole text that keeps nothing, as an encoder's."""

    def attend(self, module: Any, query: Any, key: Any, value: Any, scale: float | None, given: Any) -> torch.Tensor:
        """As transformers does it where no attention is replaced."""
        found: torch.Tensor = sdpa_attention_forward(module, query, key, value, None, scaling=scale, **given)[0]
        return found


_current = threading.local()


@contextmanager
def during(step: Pass | Probe | Plain) -> Iterator[None]:
    """Whatever model runs on this thread within runs `step`."""
    _current.step = step
    try:
        yield
    finally:
        _current.step = None


def _attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **given: Any,
) -> tuple[torch.Tensor, None]:
    return _current.step.attend(module, query, key, value, scaling, given), None


def _no_mask(*_: Any, **__: Any) -> None:
    return None


def register() -> None:
    """Make it known to transformers under `NAME`."""
    AttentionInterface.register(NAME, _attend)
    AttentionMaskInterface.register(NAME, _no_mask)

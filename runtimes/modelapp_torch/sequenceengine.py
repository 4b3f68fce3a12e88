"""The engine of encoder-decoder models: a source text is read at admission, and the decoder writes from its start."""

from collections.abc import Sequence
from typing import Any

import attrs
import torch

from modelapp.generating import Admitted, Capacity, Feed
from modelapp.slots import SlotTable
from modelapp_torch.decoderside import Beginning, KnownSource, Places, beginning_of, read_source
from modelapp_torch.generationbounds import Bounds, own_tokens, token_bytes
from modelapp_torch.generationproof import LENGTHS, Example, as_ids, look, made_up, prove
from modelapp_torch.placing import keep_to
from modelapp_torch.relativebias import RelativeBiases
from modelapp_torch.slotattention import Memory, Pass, Probe, Turn, during
from modelapp_torch.slotengine import Grounds, Opening, SlotEngine, packed, wanted_rows

_UNBOUNDED = 1024
"""Tokens of source and answer each, where neither model nor app.toml says."""
_SOURCE = 11
"""Tokens of the source texts that are tried."""


@attrs.frozen(kw_only=True)
class Sides:
    """What an encoder-decoder model has beyond a decoder."""

    beginning: Beginning
    biases: RelativeBiases
    source: KnownSource
    places: Places


class SequenceEngine(SlotEngine):
    """Runs a model whose attention is ours. A slot holds the answer's keys and values, and those of its source."""

    def __init__(self, grounds: Grounds, capacity: Capacity, table: SlotTable, sides: Sides) -> None:
        super().__init__(grounds, capacity, table)
        self._sides = sides
        self._sources: dict[int, Memory] = {}
        self._extra = len(sides.beginning.tokens) - 1
        """Tokens of each answer that the core does not know of."""

    def has_room(self, tokens: int) -> bool:
        """Whether an answer of so many tokens can be begun."""
        return super().has_room(tokens + self._extra)

    def admit(self, prompt: Sequence[int], tokens: int) -> Admitted:
        """Read the source `prompt`, and begin an answer. Raises RequestError."""
        slot, _ = super().admit((), tokens + self._extra)
        keep_to(self._grounds.threads)
        try:
            with torch.inference_mode():
                self._sources[slot] = self._read(prompt)
        except Exception as error:
            self._forget(self._table.release(slot, keep=False))
            raise self._failure(error, 1) from error
        return Admitted(slot, list(self._sides.beginning.tokens))

    def _read(self, prompt: Sequence[int]) -> Memory:
        """What the decoder's layers see of a source."""
        grounds, probe = self._grounds, Probe(self._grounds.shapes)
        starts = as_ids(self._sides.beginning.tokens[:1], grounds.device)
        read_source(grounds.model, as_ids(prompt, grounds.device), starts, probe)
        shapes = [shape for shape in grounds.shapes if shape.crossed]
        memory = Memory(shapes, len(prompt), grounds.dtype, grounds.device)
        for layer, (keys, values) in enumerate(probe.crossed):
            memory.keys[layer].copy_(keys)
            memory.values[layer].copy_(values)
        return memory

    def _turn(self, feed: Feed) -> Turn:
        turn = super()._turn(feed)
        turn.source = self._sources[feed.slot]
        return turn

    def _forget(self, holdings: Sequence[int]) -> None:
        super()._forget(holdings)
        for one in holdings:
            self._sources.pop(one, None)

    def _run(self, feeds: Sequence[Feed], turns: Sequence[Turn]) -> torch.Tensor:
        grounds, sides = self._grounds, self._sides
        ids, places = packed(feeds, turns, grounds.device)
        step = Pass(grounds.shapes, turns, sides.biases)
        with during(step), sides.places.being(places[0]):
            logits: torch.Tensor = grounds.model(decoder_input_ids=ids, **sides.source.given).logits[0]
        step.check()
        logits = logits[wanted_rows(feeds, turns, grounds.device)]
        logits[:, sides.beginning.never] = torch.finfo(logits.dtype).min
        return logits


def open_sequence(opening: Opening) -> SequenceEngine:
    """The engine of a loaded model, proven. Raises LoadError where it cannot run it rightly, or not in that memory."""
    keep_to(opening.threads)
    folder, model, device = opening.folder, opening.model, opening.device
    beginning = beginning_of(folder, model)
    own = own_tokens(model.config, windowed=False)
    most = own or opening.placement.context_tokens or _UNBOUNDED
    with torch.inference_mode():
        examples = [_example(model, length, device) for length in LENGTHS]
        opening.prepare()
        source, starts = as_ids(examples[0].source, device), as_ids(examples[0].tokens, device)
        probe = look(folder, model, lambda probe: read_source(model, source, starts, probe))
        sides = Sides(
            beginning=beginning,
            biases=RelativeBiases(model.get_decoder(), most),
            source=KnownSource(model, probe.shapes, device),
            places=Places(model.get_decoder()),
        )
    grounds = opening.grounds(probe.shapes)
    vocabulary = examples[0].logits.shape[-1]
    trial = Capacity(slots=2, context_tokens=LENGTHS[0], vocabulary=vocabulary, source_tokens=_SOURCE)
    plain = attrs.evolve(sides, beginning=Beginning(beginning.tokens[:1], ()))
    prove(SequenceEngine(grounds, trial, SlotTable(2, sum(LENGTHS)), plain), examples, model.dtype, folder)
    asked = min(opening.placement.context_tokens or most, most)
    itemsize = model.dtype.itemsize
    bounds = Bounds(
        folder=folder,
        model=model,
        own_tokens=own,
        vocabulary=vocabulary,
        token_bytes=token_bytes([shape for shape in probe.shapes if not shape.crossed], itemsize),
        source_tokens=asked,
        source_bytes=asked * token_bytes([shape for shape in probe.shapes if shape.crossed], itemsize),
        unbounded=_UNBOUNDED,
    )
    capacity, table = bounds.grant(opening.placement)
    return SequenceEngine(grounds, capacity, table, sides)


def _example(model: Any, length: int, device: torch.device) -> Example:
    tokens = made_up(model.config.get_text_config(decoder=True).vocab_size, length)
    source = made_up(model.config.get_text_config(encoder=True).vocab_size, _SOURCE + length % 2)
    logits = model(as_ids(source, device), decoder_input_ids=as_ids(tokens, device), use_cache=False).logits[0]
    return Example(tokens, logits.float().cpu().numpy(), source)

"""The engine of decoder-only models: one pass over all that is fed, prompts and single tokens alike."""

import inspect
from collections.abc import Sequence
from typing import Any

import torch

from modelapp.generating import Capacity, Feed
from modelapp.slots import SlotTable
from modelapp_torch.generationbounds import Bounds, own_tokens, token_bytes
from modelapp_torch.generationproof import LENGTHS, Example, as_ids, look, made_up, prove, refusal
from modelapp_torch.placing import keep_to
from modelapp_torch.slotattention import Pass, Probe, Turn, during
from modelapp_torch.slotengine import Grounds, Opening, SlotEngine, packed, wanted_rows


class DecoderEngine(SlotEngine):
    """Runs a model whose attention is ours (`slotattention.NAME`)."""

    def __init__(self, grounds: Grounds, capacity: Capacity, table: SlotTable) -> None:
        super().__init__(grounds, capacity, table)
        self._sparing = "logits_to_keep" in inspect.signature(grounds.model.forward).parameters
        """Whether it computes logits of chosen rows alone, which spares most of the work of its largest layer."""

    def _run(self, feeds: Sequence[Feed], turns: Sequence[Turn]) -> torch.Tensor:
        grounds = self._grounds
        ids, places = packed(feeds, turns, grounds.device)
        rows = wanted_rows(feeds, turns, grounds.device)
        step = Pass(grounds.shapes, turns)
        chosen = {"logits_to_keep": rows} if self._sparing else {}
        with during(step):
            logits: torch.Tensor = grounds.model(ids, position_ids=places, use_cache=False, **chosen).logits[0]
        step.check()
        return logits if self._sparing else logits[rows]


def open_decoder(opening: Opening) -> DecoderEngine:
    """The engine of a loaded model, proven. Raises LoadError where it cannot run it rightly, or not in that memory."""
    keep_to(opening.threads)
    folder, model, device = opening.folder, opening.model, opening.device
    config = model.config.get_text_config(decoder=True)
    if "position_ids" not in inspect.signature(model.forward).parameters:
        raise refusal(folder, "it cannot be told the places of its tokens (position_ids)")
    with torch.inference_mode():
        examples = [_example(model, length, device) for length in LENGTHS]
        opening.prepare()
        probe = look(folder, model, lambda probe: _seen(model, examples[0].tokens, device, probe))
    grounds = opening.grounds(probe.shapes)
    vocabulary = examples[0].logits.shape[-1]
    trial = Capacity(slots=2, context_tokens=LENGTHS[0], vocabulary=vocabulary)
    prove(DecoderEngine(grounds, trial, SlotTable(2, sum(LENGTHS))), examples, model.dtype, folder)
    bounds = Bounds(
        folder=folder,
        model=model,
        own_tokens=own_tokens(config, windowed=probe.windowed),
        vocabulary=vocabulary,
        token_bytes=token_bytes(probe.shapes, model.dtype.itemsize),
    )
    return DecoderEngine(grounds, *bounds.grant(opening.placement))


def _seen(model: Any, tokens: Sequence[int], device: torch.device, probe: Probe) -> None:
    with during(probe):
        model(as_ids(tokens, device), use_cache=False)


def _example(model: Any, length: int, device: torch.device) -> Example:
    tokens = made_up(model.config.get_text_config(decoder=True).vocab_size, length)
    logits = model(as_ids(tokens, device), use_cache=False).logits[0]
    return Example(tokens, logits.float().cpu().numpy())

"""Whether an engine answers as its model does: tried at every load, so that no architecture is served wrongly."""

from collections.abc import Callable, Sequence
from typing import Any

import attrs
import numpy as np
import torch

from modelapp.generating import Feed, Generates
from modelapp_torch.failures import reason
from modelapp_torch.modelfolder import ModelFolder
from modelapp_torch.slotattention import NAME, Probe, register

_TOLERANCES = {torch.float32: 1e-3, torch.float16: 2e-2, torch.bfloat16: 8e-2}
"""How far logits may differ, in parts of the distance from the least to the greatest: sums in another order."""
LENGTHS = (13, 8)
"""Tokens of the two sequences that are tried."""


@attrs.frozen
class Example:
    """A sequence, what its model says after each token (float32 [tokens, vocabulary]), and its source text."""

    tokens: Sequence[int]
    logits: Any
    source: Sequence[int] = ()


def made_up(vocabulary: int, length: int) -> list[int]:
    """Some tokens, always the same."""
    return [7919 * (at + length) ** 2 % vocabulary for at in range(length)]


def as_ids(tokens: Sequence[int], device: torch.device) -> torch.Tensor:
    """One sequence as a model takes it, [1, tokens]."""
    return torch.tensor([tokens], device=device)


def look(folder: ModelFolder, model: Any, run: Callable[[Probe], Any]) -> Probe:
    """Give `model` our attention for good, and see by one run what its layers ask of it. Raises LoadError."""
    register()
    probe = Probe()
    model.set_attn_implementation(NAME)
    if model.config._attn_implementation == NAME:
        try:
            run(probe)
        except Exception as error:  # of code that nobody here has seen
            raise refusal(folder, f"with its attention replaced it raises {reason(error)}") from error
    if not probe.shapes:
        raise refusal(folder, "its attention is code of its own, which cannot keep sequences apart")
    if probe.foreign:
        raise refusal(folder, f"its attention uses {probe.foreign[0]}")
    return probe


def prove(engine: Generates, examples: Sequence[Example], dtype: torch.dtype, folder: ModelFolder) -> None:
    """Raise LoadError unless `engine` says the same in pieces and in company: a prompt in chunks beside single tokens,
    a sequence that joins later, one that leaves."""
    long, short = examples
    first = engine.admit(long.source or long.tokens, len(long.tokens)).slot
    _compare(engine, [(first, long, 0, 5)], dtype, folder)
    second = engine.admit(short.source or short.tokens, len(short.tokens)).slot
    _compare(engine, [(first, long, 5, 9), (second, short, 0, 1)], dtype, folder)
    _compare(engine, [(second, short, 1, 4), (first, long, 9, 10)], dtype, folder)
    _compare(engine, [(first, long, 10, 11), (second, short, 4, 5)], dtype, folder)
    engine.release(first)
    _compare(engine, [(second, short, 5, 8)], dtype, folder)
    engine.release(second)


def step_once(engine: Generates, folder: ModelFolder, key: str) -> None:
    """Raise LoadError unless `engine` answers one made-up token with numbers, now that its model was changed.

    `key` of app.toml asked for the change. No answer is compared: it may have moved them.
    """
    fault = ""
    try:
        slot, feed = engine.admit([0], 1)
        if not np.isfinite(engine.step([Feed(slot, feed)])).all():
            fault = "it answers with what is no number"
        engine.release(slot)
    except Exception as error:  # of code that nobody here has seen
        fault = f"it raises {reason(error)}"
    if fault:
        raise folder.failure(f"with {key} {fault}", help=f"leave {key} out")


def _compare(engine: Generates, parts: Any, dtype: torch.dtype, folder: ModelFolder) -> None:
    try:
        found = engine.step([Feed(slot, one.tokens[start:stop]) for slot, one, start, stop in parts])
    except Exception as error:  # of code that nobody here has seen
        raise refusal(folder, f"with its attention replaced it raises {reason(error)}") from error
    wanted = np.stack([one.logits[stop - 1] for _, one, _, stop in parts])
    spread = float(wanted.max() - wanted.min())
    worst = float(np.abs(found - wanted).max()) / spread if spread else float(np.abs(found).max())
    if not worst <= _TOLERANCES[dtype]:  # also where it is no number
        raise refusal(
            folder,
            f"its answers in company differ from those alone by {worst:.2g} of their range"
            f" (allowed: {_TOLERANCES[dtype]:g})",
        )


def refusal(folder: ModelFolder, why: str) -> Exception:
    """An error that says why this architecture cannot be served."""
    name = folder.architectures[0] if folder.architectures else folder.model_type or "this model"
    return folder.failure(
        f"{name} does not generate in this runtime: {why}",
        help='export it and serve it with runtime = "onnx", or by a python class of your own',
    )

"""8 bit weights of models that generate: near to the whole ones, and the same alone and in company to the last bit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from modelapp.generating import Feed
from modelapp.runtime import Artefact, Placement
from modelapp_onnx import Options
from modelapp_onnx.generation import OnnxEngine, engine_of
from modelapp_onnx.runtime import OnnxRuntime

pytestmark = pytest.mark.slow
Decoder = Callable[[str], tuple[Path, Any]]
PROMPTS = [[5, 6, 7], [8], list(range(2, 32)), [9, 9, 9, 9, 9], [40, 41], [3] * 12, list(range(50, 70)), [1]]


def answers(engine: OnnxEngine, prompts: list[list[int]], steps: int = 8) -> list[list[np.ndarray]]:
    """The logits of greedy answers to prompts that run together."""
    slots = [engine.admit(prompt, len(prompt) + steps) for prompt in prompts]
    fed = [list(slot.feed) for slot in slots]
    found: list[list[np.ndarray]] = [[] for _ in prompts]
    for _ in range(steps):
        logits = engine.step([Feed(one.slot, tokens) for one, tokens in zip(slots, fed, strict=True)])
        for at, row in enumerate(logits):
            found[at].append(row.copy())
            fed[at] = [int(row.argmax())]
    for one in slots:
        engine.release(one.slot)
    return found


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_alone_as_in_company(family: str, decoder: Decoder, tmp_path: Path) -> None:
    """int8 answers have the same bits alone and in company; they are near the float32 ones, and say their precision."""
    folder, _ = decoder(family)
    (folder / "tokenizer_config.json").write_text("{}")
    notes = OnnxRuntime().quantize(folder, tmp_path, "int8")
    assert any("8 bit weights" in note for note in notes)
    assert (tmp_path / "tokenizer_config.json").exists()
    kinds = [node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node]
    assert "MatMulNBits" in kinds
    assert not {"MatMul", "Gemm"} & set(kinds), "every matrix of weights, the head that shares the embedding's too"
    placement = Placement(slots=8, cache_mb=16, reuse_prefixes=False)
    small, facts = engine_of(Artefact("m", tmp_path / "model.onnx"), Options(), placement)
    whole, _ = engine_of(Artefact("m", folder / "model.onnx"), Options(), placement)
    assert facts.precision == "int8"
    together = answers(small, PROMPTS)
    for at, prompt in enumerate(PROMPTS):
        for one, other in zip(answers(small, [prompt])[0], together[at], strict=True):
            np.testing.assert_array_equal(one, other)
    for row, exact in zip(together, answers(whole, PROMPTS), strict=True):
        np.testing.assert_allclose(row[0], exact[0], atol=0.1 * np.ptp(exact[0]))

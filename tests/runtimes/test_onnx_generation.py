"""Generation on ONNX Runtime, held against transformers' own forward pass over the whole text."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelapp.errors import LoadError, ModelFailed, OutOfMemory
from modelapp.generating import Feed, TextModel
from modelapp.runtime import Artefact, Placement
from modelapp_onnx import Options
from modelapp_onnx.generation import OnnxEngine, OnnxTextModel, load_generating
from modelapp_onnx.runtime import OnnxRuntime

pytestmark = pytest.mark.slow
FAMILIES = ["gpt2", "llama", "mistral"]
PLACEMENT = Placement(slots=4, cache_mb=64)
VOCABULARY = 96
Decoder = Callable[[str], tuple[Path, Any]]


@pytest.fixture
def opened(decoder: Decoder) -> Callable[..., OnnxTextModel]:
    """Loads the decoder of a family, with a tokenizer of plain numbers."""

    def load(family: str, placement: Placement = PLACEMENT, source: str = "", **options: Any) -> OnnxTextModel:
        folder, _ = decoder(family)
        _write_tokenizer(folder)
        artefact = Artefact("story", folder / source, task="text-generation")
        return load_generating(artefact, Options(**options), placement)

    return load


def _write_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    made = Tokenizer(models.WordLevel({f"{number}": number for number in range(VOCABULARY)}, unk_token="0"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.save(str(folder / "tokenizer.json"))


def expected(model: Any, tokens: Sequence[int]) -> np.ndarray:
    """What comes after `tokens`, by the whole forward pass as transformers does it."""
    import torch

    with torch.inference_mode():
        return np.asarray(model(torch.tensor([list(tokens)])).logits[0, -1])


def fed(engine: OnnxEngine, *feeds: tuple[int, Sequence[int]]) -> np.ndarray:
    """One step in which every feed is wanted."""
    return engine.step([Feed(slot, tokens) for slot, tokens in feeds])


def test_implements_the_contract(opened: Callable[..., OnnxTextModel], decoder: Decoder) -> None:
    """A loaded folder, or its file, is a text model with the bounds of the file; the runtime opens it by its task."""
    for source in ("", "model.onnx"):
        model = opened("gpt2", source=source)
        assert isinstance(model, TextModel)
        assert model.device == "cpu"
        assert model.signature.kind == "records"
        capacity = model.engine.capacity
        assert (capacity.slots, capacity.context_tokens, capacity.vocabulary) == (4, 64, VOCABULARY)
        assert capacity.ends == {1}
        assert model.text.encode("7 8") == [7, 8]
        model.close()
    artefact = Artefact("story", decoder("gpt2")[0], task="text-generation")
    assert isinstance(OnnxRuntime().load(artefact, Options(), PLACEMENT), OnnxTextModel)
    described = OnnxRuntime().describe(artefact, Options())
    assert described is not None
    assert described.kind == "records"


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_equals_generate(family: str, opened: Callable[..., OnnxTextModel], decoder: Decoder) -> None:
    """Sequences that join, run and leave together choose what transformers' `generate` chooses for each alone."""
    import torch

    plain = decoder(family)[1]
    prompts = [[5, 6, 7], [8], list(range(2, 32)), [9, 9, 9, 9, 9], [40, 41], [3] * 12, list(range(50, 70))]
    wanted = []
    for prompt in prompts:
        answer = plain.generate(
            torch.tensor([prompt]), max_new_tokens=20, min_new_tokens=20, do_sample=False, pad_token_id=0,
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
        )  # fmt: skip
        wanted.append(answer[0, len(prompt) :].tolist())
    engine = opened(family).engine
    waiting, running, found = list(range(len(prompts))), {}, [[] for _ in prompts]  # type: ignore[var-annotated]
    while waiting or running:
        while waiting and engine.has_room(len(prompts[waiting[0]]) + 20):
            which = waiting.pop(0)
            admitted = engine.admit(prompts[which], len(prompts[which]) + 20)
            running[admitted.slot] = which, list(admitted.feed)
        logits = fed(engine, *[(slot, tokens) for slot, (_, tokens) in running.items()])
        for row, slot in zip(logits, list(running), strict=True):
            which, _ = running[slot]
            row[list(engine.capacity.ends)] = -np.inf  # which min_new_tokens puts off
            found[which].append(int(row.argmax()))
            running[slot] = which, [found[which][-1]]
            if len(found[which]) == 20:
                engine.release(slot)
                del running[slot]
    assert found == wanted


@attrs.define
class Given:
    """What a sequence was given: tokens fed so far, those to come, and its room."""

    told: list[int]
    coming: list[int]
    room: int


@pytest.mark.parametrize("family", FAMILIES)
@given(data=st.data())
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_schedule_answers_as_the_whole_pass(
    family: str, data: st.DataObject, opened: Callable[..., OnnxTextModel], decoder: Decoder
) -> None:
    """However sequences are cut into chunks, mixed, left out of steps, ended and admitted anew, with beginnings shared,
    each answer is that of the whole forward pass within 1e-4."""
    plain = decoder(family)[1]
    engine = opened(family).engine
    running: dict[int, Given] = {}
    prompts = st.tuples(st.integers(0, 20), st.integers(1, 14), st.integers(0, 3))
    for _ in range(data.draw(st.integers(1, 14))):
        if data.draw(st.booleans()):
            shared, own, kind = data.draw(prompts)
            prompt = [7 + at % 5 for at in range(shared)] + [20 + kind] * own
            room = len(prompt) + data.draw(st.integers(1, 6))
            if engine.has_room(room):
                admitted = engine.admit(prompt, room)
                assert admitted.feed
                assert list(prompt[len(prompt) - len(admitted.feed) :]) == list(admitted.feed)
                assert admitted.slot not in running
                known = prompt[: len(prompt) - len(admitted.feed)]
                running[admitted.slot] = Given(known, list(admitted.feed), room)
        feeds = []
        for slot, one in running.items():
            one.coming = one.coming or [data.draw(st.integers(0, VOCABULARY - 1))]
            count = data.draw(st.integers(0, min(len(one.coming), one.room - len(one.told))))
            if count:
                feeds.append(Feed(slot, tuple(one.coming[:count]), data.draw(st.booleans())))
        if feeds:
            logits = engine.step(data.draw(st.permutations(feeds)) if len(feeds) > 1 else feeds)
            assert logits.shape == (sum(feed.wanted for feed in feeds), VOCABULARY)
        for feed in feeds:
            running[feed.slot].told += feed.tokens
            del running[feed.slot].coming[: len(feed.tokens)]
        for slot in [slot for slot in running if data.draw(st.integers(0, 4)) == 0]:
            if running[slot].told and len(running[slot].told) < running[slot].room:
                token = data.draw(st.integers(0, VOCABULARY - 1))
                answer = fed(engine, (slot, [token]))[0]
                np.testing.assert_allclose(answer, expected(plain, [*running[slot].told, token]), atol=1e-4)
            engine.release(slot)
            del running[slot]


def test_beginnings_are_not_read_again(opened: Callable[..., OnnxTextModel], decoder: Decoder) -> None:
    """A prompt that begins as an earlier one is fed what is new, and answers the same; without reuse, all of it."""
    plain = decoder("gpt2")[1]
    start = list(range(10, 40))
    for reuse in (True, False):
        engine = opened("gpt2", attrs.evolve(PLACEMENT, reuse_prefixes=reuse)).engine
        slot, feed = engine.admit([*start, 50], 40)
        fed(engine, (slot, feed))
        engine.release(slot)
        slot, feed = engine.admit([*start, 60, 61], 40)
        assert list(feed) == ([60, 61] if reuse else [*start, 60, 61])
        np.testing.assert_allclose(fed(engine, (slot, feed))[0], expected(plain, [*start, 60, 61]), atol=1e-4)


def test_failed_step_moves_no_slot_on(opened: Callable[..., OnnxTextModel], decoder: Decoder) -> None:
    """Where the library raises, in the second run of a step too, the same tokens may be fed again."""
    plain = decoder("gpt2")[1]
    engine = opened("gpt2", attrs.evolve(PLACEMENT, slots=7)).engine
    slots = [engine.admit([7, 8, at], 10).slot for at in range(2, 8)]
    feeds = [(slot, [7, 8, at]) for slot, at in zip(slots, range(2, 8), strict=True)]
    session, calls = engine._session, []

    class Failing:
        """Runs once, and fails after that."""

        def run_with_iobinding(self, *given: Any) -> None:
            calls.append(given)
            if len(calls) > 1:
                raise RuntimeError("Failed to allocate memory for requested buffer of size 42")
            session.run_with_iobinding(*given)

    engine._session = Failing()
    with pytest.raises(OutOfMemory, match="did not fit into memory"):
        fed(engine, *feeds)
    assert len(calls) == 2
    engine._session = session
    for _ in range(2):
        with pytest.raises(ModelFailed, match="indices"):
            fed(engine, (slots[0], [7]), (slots[1], [VOCABULARY + 5, 7]))
    logits = fed(engine, *feeds)
    for row, (_, tokens) in zip(logits, feeds, strict=True):
        np.testing.assert_allclose(row, expected(plain, tokens), atol=1e-4)


def test_nobody_writes_beyond_the_room(opened: Callable[..., OnnxTextModel]) -> None:
    """More tokens than a slot has memory for are refused before the graph runs, as is a sequence over the context."""
    engine = opened("gpt2").engine
    slot = engine.admit([7, 8], 3).slot
    with pytest.raises(OutOfMemory, match="memory for 3 tokens"):
        fed(engine, (slot, [7, 8, 9, 10]))
    fed(engine, (slot, [7, 8, 9]))
    with pytest.raises(OutOfMemory, match="memory for 3 tokens"):
        fed(engine, (slot, [10]))
    with pytest.raises(OutOfMemory, match="65 tokens"):
        engine.admit([7], 65)


def test_full_context_beside_idle_rows(opened: Callable[..., OnnxTextModel], decoder: Decoder) -> None:
    """A sequence that fills its context stays right while others step around it."""
    plain = decoder("gpt2")[1]
    engine = opened("gpt2").engine
    tokens = [3 + at % 60 for at in range(64)]
    full, other = engine.admit(tokens, 64).slot, engine.admit([5], 64).slot
    fed(engine, (full, tokens[:63]), (other, [5]))
    for _ in range(3):
        fed(engine, (other, [6]))
    answer = fed(engine, (full, tokens[63:]), (other, [7, 8]))
    np.testing.assert_allclose(answer[0], expected(plain, tokens), atol=1e-4)
    np.testing.assert_allclose(answer[1], expected(plain, [5, 6, 6, 6, 7, 8]), atol=1e-4)


def test_no_answer_wanted(opened: Callable[..., OnnxTextModel]) -> None:
    """A step of which nobody wants an answer answers nothing, and still moves on."""
    engine = opened("gpt2").engine
    slot = engine.admit([7, 8, 9], 4).slot
    assert engine.step([Feed(slot, (7, 8), wanted=False)]).shape == (0, VOCABULARY)
    assert fed(engine, (slot, [9])).shape == (1, VOCABULARY)


def test_memory_bounds_who_is_admitted(opened: Callable[..., OnnxTextModel]) -> None:
    """`cache_mb` is kept to: a token takes 1,024 bytes here, so a MB holds 976 of them, in all slots together."""
    engine = opened("gpt2", Placement(slots=20, cache_mb=1)).engine
    taken = 0
    while engine.has_room(64):
        engine.admit([7], 64)
        taken += 1
    assert taken == 976 // 64
    assert engine.has_room(976 % 64)
    assert not engine.has_room(976 % 64 + 1)


@pytest.mark.parametrize(
    ("placement", "told", "fix"),
    [
        (Placement(context_tokens=65), r"context_tokens is 65, and .* knows 64 positions", "context_tokens = 64"),
        (Placement(device="cuda"), "CUDAExecutionProvider", ""),
    ],
)
def test_bounds_that_cannot_be_kept(
    placement: Placement, told: str, fix: str, opened: Callable[..., OnnxTextModel]
) -> None:
    """A longer context than the model's own, or a device that is not there, is a LoadError with the fix."""
    with pytest.raises(LoadError, match=told) as caught:
        opened("gpt2", placement)
    assert fix in caught.value.help


def test_context_is_what_the_app_asks_for(opened: Callable[..., OnnxTextModel]) -> None:
    """A smaller `context_tokens` is the bound of a sequence."""
    assert opened("gpt2", Placement(slots=1, context_tokens=30)).engine.capacity.context_tokens == 30


def test_optimised_graph_from_the_cache(opened: Callable[..., OnnxTextModel], tmp_path: Path, decoder: Decoder) -> None:
    """A session of the kept, rewritten graph generates the same."""
    plain = decoder("gpt2")[1]
    for _ in range(2):
        engine = opened("gpt2", attrs.evolve(PLACEMENT, cache_dir=tmp_path), cache_optimized=True).engine
        slot = engine.admit([7, 8], 9).slot
        np.testing.assert_allclose(fed(engine, (slot, [7, 8]))[0], expected(plain, [7, 8]), atol=1e-4)
    assert list(tmp_path.rglob("*.onnx"))


def test_needs_neither_torch_nor_transformers(opened: Callable[..., OnnxTextModel], decoder: Decoder) -> None:
    """A replica that generates on this runtime imports neither: both take seconds and hundreds of MB."""
    opened("gpt2").close()
    code = f"""
import sys
from pathlib import Path
from modelapp.runtime import Artefact, Placement
from modelapp_onnx import SPEC, Options
artefact = Artefact("m", Path({str(decoder("gpt2")[0])!r}), task="text-generation")
model = SPEC.open().load(artefact, Options(), Placement())
slot, feed = model.engine.admit([7, 8], 9)
from modelapp.generating import Feed
assert model.engine.step([Feed(slot, feed)]).shape == (1, {VOCABULARY})
assert not {{"torch", "transformers", "onnx"}} & set(sys.modules), set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_plain_file_with_a_task(opened: Callable[..., OnnxTextModel], tmp_path: Path, write_graph: Any) -> None:
    """A file that was not exported to generate is refused by the metadata it lacks."""
    path = write_graph([("Relu", ["x"], ["y"], {})], {"x": ("float", ["n"])}, {"y": ("float", ["n"])})
    with pytest.raises(LoadError, match=r"was not made to generate text"):
        load_generating(Artefact("story", path, task="text-generation"), Options(), PLACEMENT)


def test_folder_without_a_tokenizer(decoder: Decoder, tmp_path: Path) -> None:
    """The tokenizer lies beside the file; where it does not, the error says so."""
    (tmp_path / "model.onnx").write_bytes((decoder("gpt2")[0] / "model.onnx").read_bytes())
    with pytest.raises(LoadError, match=r"tokenizer\.json"):
        load_generating(Artefact("story", tmp_path, task="text-generation"), Options(), PLACEMENT)

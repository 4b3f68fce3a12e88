"""Decoder-only models of transformers as engines: pieces, company, prefixes and failures change no answer."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer as Words
from tokenizers import models
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from modelapp.errors import LoadError, OutOfMemory
from modelapp.generating import Feed
from modelapp.runtime import Artefact, Placement
from modelapp_torch import Options, generation
from modelapp_torch.generation import load_generating

TINY_GPT2 = Path(__file__).parents[2] / "apps" / "dungeon" / "models" / "tiny_gpt2"
WORDS = 96
TOLERANCE = 1e-5
"""Of float32 logits whose range is about 10: a wrong place or a neighbour's key moves them by 0.1 and more."""
ROTARY = {
    "vocab_size": WORDS, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64, "initializer_range": 0.3, "bos_token_id": 0,
    "eos_token_id": [1, 2], "pad_token_id": None,
}  # fmt: skip
GPT2 = GPT2Config(
    vocab_size=WORDS, n_positions=64, n_embd=32, n_layer=2, n_head=4, initializer_range=0.3, eos_token_id=1,
    bos_token_id=0,
)  # fmt: skip
MAKERS: dict[str, Callable[[], Any]] = {
    "gpt2": lambda: GPT2LMHeadModel(GPT2),
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**ROTARY)),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**ROTARY)),
    "mistral": lambda: MistralForCausalLM(MistralConfig(**ROTARY, sliding_window=6)),
}


def write(folder: Path, model: Any) -> Path:
    """The model's folder, with a tokenizer whose words are numbers."""
    model.save_pretrained(folder)
    Words(models.WordLevel({str(token): token for token in range(WORDS)}, unk_token="0")).save(
        str(folder / "tokenizer.json")
    )
    return folder


def load(folder: Path, options: Options = Options(), **placement: Any) -> Any:  # noqa: B008 (frozen)
    """The model by the runtime."""
    return load_generating(
        Artefact("m", folder, task="text-generation"), options, Placement(**{"slots": 4} | placement)
    )


@pytest.fixture(scope="module", params=sorted(MAKERS))
def served(request: Any, tmp_path_factory: Any) -> tuple[Any, Path]:
    """A small random model as transformers has it, and its folder."""
    torch.manual_seed(1)
    model = MAKERS[request.param]().eval()
    return model, write(tmp_path_factory.mktemp(request.param), model)


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: Any) -> Path:
    """The folder of a small random GPT-2."""
    torch.manual_seed(1)
    return write(tmp_path_factory.mktemp("gpt2"), GPT2LMHeadModel(GPT2))


def said(model: Any, tokens: Sequence[int]) -> Any:
    """What the model says after each token, as transformers runs it."""
    with torch.inference_mode():
        return model(torch.tensor([list(tokens)])).logits[0].numpy()


def prompts(seed: int, *lengths: int) -> list[list[int]]:
    """Random prompts."""
    dice = random.Random(seed)
    return [[dice.randrange(3, WORDS) for _ in range(length)] for length in lengths]


def whole(engine: Any, prompt: Sequence[int]) -> Any:
    """The logits after a prompt that is read in one step."""
    slot, feed = engine.admit(prompt, len(prompt) + 1)
    logits = engine.step([Feed(slot, feed)])[0]
    engine.release(slot)
    return logits


@pytest.mark.parametrize("chunk", [1, 3, 7, 30])
def test_a_prompt_in_pieces_is_the_prompt(served: tuple[Any, Path], chunk: int) -> None:
    """Every logit of a sequence read in chunks of any size is that of the model itself."""
    model, folder = served
    engine = load(folder, reuse_prefixes=False).engine
    prompt = prompts(0, 30)[0]
    wanted = said(model, prompt)
    slot, feed = engine.admit(prompt, 30)
    for at in range(0, 30, chunk):
        found = engine.step([Feed(slot, feed[at : at + chunk])])
        np.testing.assert_allclose(found[0], wanted[min(at + chunk, 30) - 1], atol=TOLERANCE, rtol=1e-5)


def test_company_changes_nothing(served: tuple[Any, Path]) -> None:
    """Sequences that join and leave at every step, each read and written at its own pace, are as alone."""
    model, folder = served
    engine = load(folder).engine
    dice = random.Random(3)
    waiting = prompts(4, *[dice.randint(2, 40) for _ in range(14)])
    running: dict[int, tuple[list[int], list[int], int]] = {}
    compared = 0
    while waiting or running:
        if waiting and engine.has_room(60) and dice.random() < 0.7:
            tokens = waiting.pop()
            slot, feed = engine.admit(tokens, 60)
            running[slot] = (list(tokens), list(feed), dice.randint(1, 6))
        feeds = []
        for slot, (_, pending, _) in running.items():
            share = pending[: dice.randint(1, 9)]
            feeds.append(Feed(slot, share, wanted=len(share) == len(pending)))
        dice.shuffle(feeds)
        logits = iter(engine.step(feeds) if feeds else ())
        for feed in feeds:
            tokens, pending, left = running[feed.slot]
            del pending[: len(feed.tokens)]
            if not feed.wanted:
                continue
            row = next(logits)
            np.testing.assert_allclose(row, said(model, tokens)[-1], atol=TOLERANCE, rtol=1e-5)
            compared += 1
            tokens.append(int(row.argmax()))
            pending.append(tokens[-1])
            running[feed.slot] = (tokens, pending, left - 1)
            if left == 1:
                engine.release(feed.slot)
                del running[feed.slot]
    assert compared >= 14


def greedy(engine: Any, todo: Sequence[Sequence[int]], count: int) -> list[list[int]]:
    """The likeliest `count` tokens after each, all in one batch."""
    admitted = [engine.admit(prompt, len(prompt) + count) for prompt in todo]
    pending = [list(feed) for _, feed in admitted]
    answers: list[list[int]] = [[] for _ in todo]
    for _ in range(count):
        rows = engine.step([Feed(one.slot, feed) for one, feed in zip(admitted, pending, strict=True)])
        for at, row in enumerate(rows):
            answers[at].append(int(row.argmax()))
            pending[at] = [answers[at][-1]]
    for one in admitted:
        engine.release(one.slot)
    return answers


def test_greedy_answers_are_those_of_generate_alone_and_in_company(served: tuple[Any, Path]) -> None:
    """Sixteen of sixteen in float32."""
    model, folder = served
    todo = prompts(5, *range(3, 35, 2))
    engine = load(folder, slots=16).engine
    together = greedy(engine, todo, 12)
    assert together == [greedy(engine, [prompt], 12)[0] for prompt in todo]
    ids = torch.tensor([todo[3]])
    wanted = model.generate(ids, max_new_tokens=12, min_new_tokens=12, do_sample=False, eos_token_id=None)
    if model.config.model_type != "mistral":  # its own cache is one token short of the window
        assert together[3] == wanted[0, len(todo[3]) :].tolist()


def test_what_an_earlier_sequence_knew_is_not_read_again(served: tuple[Any, Path]) -> None:
    """A prompt that begins like one before is fed only its rest, and says the same."""
    model, folder = served
    engine = load(folder).engine
    first = prompts(6, 30)[0]
    slot, feed = engine.admit(first, 40)
    engine.step([Feed(slot, feed)])
    while_it_runs = engine.admit([*first[:20], 7, 8], 40)
    assert list(while_it_runs.feed) == [7, 8]
    engine.release(slot)
    again = engine.admit([*first, 9], 40)
    assert list(again.feed) == [9]
    rows = engine.step([Feed(again.slot, again.feed), Feed(while_it_runs.slot, while_it_runs.feed)])
    np.testing.assert_allclose(rows[0], said(model, [*first, 9])[-1], atol=TOLERANCE, rtol=1e-5)
    np.testing.assert_allclose(rows[1], said(model, [*first[:20], 7, 8])[-1], atol=TOLERANCE, rtol=1e-5)


def test_prefixes_are_kept_only_where_that_is_wanted(gpt2: Path) -> None:
    """With reuse_prefixes off every prompt is read whole."""
    engine = load(gpt2, reuse_prefixes=False).engine
    prompt = prompts(7, 20)[0]
    whole(engine, prompt)
    assert list(engine.admit(prompt, 30).feed) == prompt


def test_a_step_that_fails_moves_nobody_on(gpt2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same tokens can be fed again, and what was half written is written over."""
    model = load(gpt2)
    engine = model.engine
    prompt = prompts(8, 12)[0]
    wanted = whole(load(gpt2).engine, prompt)
    slot, feed = engine.admit(prompt, 20)
    engine.step([Feed(slot, feed[:5], wanted=False)])
    layer = engine._grounds.model.transformer.h[1].mlp
    monkeypatch.setattr(layer, "forward", lambda _: (_ for _ in ()).throw(ValueError("broken")))
    with pytest.raises(ValueError, match="broken"):
        engine.step([Feed(slot, [9, 9, 9])])
    monkeypatch.undo()
    np.testing.assert_allclose(engine.step([Feed(slot, feed[5:])])[0], wanted, atol=TOLERANCE, rtol=1e-5)


def test_a_step_out_of_memory_says_so_and_gives_up_what_is_kept(gpt2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is OutOfMemory, the slots are as before, and parked sequences are gone."""
    engine = load(gpt2).engine
    prompt = prompts(9, 12)[0]
    whole(engine, prompt)
    slot, feed = engine.admit([5, *prompt], 20)
    layer = engine._grounds.model.transformer.h[0].mlp
    text = "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"
    monkeypatch.setattr(layer, "forward", lambda _: (_ for _ in ()).throw(RuntimeError(text)))
    with pytest.raises(OutOfMemory, match="did not fit into memory"):
        engine.step([Feed(slot, feed)])
    monkeypatch.undo()
    assert engine.step([Feed(slot, feed)]).shape == (1, WORDS)
    assert list(engine.admit(prompt, 20).feed) == prompt


def test_nothing_leaks_in_a_thousand_sequences(gpt2: Path) -> None:
    """After any mix of admissions, steps and releases no slot and no memory is held beyond the budget."""
    engine = load(gpt2, cache_mb=1, slots=3).engine
    dice = random.Random(10)
    running: dict[int, list[int]] = {}
    admitted = 0
    while admitted < 1000:
        tokens = dice.randint(2, 64)
        if engine.has_room(tokens):
            prompt = [3 + dice.randrange(2) for _ in range(dice.randint(1, tokens - 1))]
            slot, feed = engine.admit(prompt, tokens)
            assert slot not in running
            running[slot] = list(feed)
            admitted += 1
        if dice.random() < 0.3:
            engine.step([Feed(slot, feed) for slot, feed in running.items() if feed])
            running = {slot: [] for slot in running}
        for slot in [slot for slot in running if not running[slot] or dice.random() < 0.2]:
            engine.release(slot)
            del running[slot]
        held = sum(memory.keys[0].shape[1] for memory in engine._memories.values())
        assert held == engine._table.reserved <= 1 * 2**20 // 512
    for slot in running:
        engine.release(slot)
    assert set(engine._memories) == set(engine._table.parked)


def test_what_it_holds_is_what_model_and_file_allow(served: tuple[Any, Path]) -> None:
    """Context, vocabulary and ends are the model's; a sequence that fits them fits the empty engine."""
    model, folder = served
    capacity = load(folder, slots=3).engine.capacity
    ends = model.config.eos_token_id
    assert (capacity.slots, capacity.context_tokens, capacity.vocabulary) == (3, 64, WORDS)
    assert capacity.ends == frozenset(ends if isinstance(ends, list) else [ends])
    assert load(folder, context_tokens=20).engine.capacity.context_tokens == 20


def test_memory_bounds_the_context_and_the_sequences(tmp_path: Path) -> None:
    """With little memory the longest sequence is as long as fits; another one then waits for its release."""
    config = {**ROTARY, "max_position_embeddings": 100_000, "num_hidden_layers": 8}
    engine = load(write(tmp_path, LlamaForCausalLM(LlamaConfig(**config))), cache_mb=1).engine
    longest = engine.capacity.context_tokens
    assert longest == 2**20 // (8 * 2 * 2 * 8 * 4)
    assert engine.has_room(longest)
    slot, _ = engine.admit([5], longest)
    assert not engine.has_room(1)
    engine.release(slot)
    assert engine.has_room(longest)


@pytest.mark.parametrize(
    ("placement", "why", "fix"),
    [
        ({"context_tokens": 65}, "context_tokens is 65, and the model reads 64", "context_tokens = 64, or leave"),
        ({"cache_mb": 0}, "cache_mb = 0 holds no sequence of 2 tokens", "cache_mb = 1 or more"),
    ],
)
def test_bounds_that_cannot_be_are_refused(gpt2: Path, placement: Any, why: str, fix: str) -> None:
    """The error names key, reason and a value that would do."""
    with pytest.raises(LoadError, match=why) as caught:
        load(gpt2, **placement)
    assert fix in caught.value.help
    assert "[models.m.generation]" in caught.value.help


def test_windows_of_attention_are_kept(tmp_path: Path) -> None:
    """A token out of a layer's window changes nothing, in a chunk and in a single step."""
    torch.manual_seed(2)
    config = MistralConfig(**{**ROTARY, "num_hidden_layers": 1}, sliding_window=6)
    engine = load(write(tmp_path, MistralForCausalLM(config)), reuse_prefixes=False).engine
    first = prompts(11, 20)[0]
    other = [*[token - 1 for token in first[:10]], *first[10:]]
    np.testing.assert_allclose(whole(engine, first), whole(engine, other), atol=TOLERANCE)
    for tokens in (first, other):
        slot, _ = engine.admit(tokens, 30)
        engine.step([Feed(slot, tokens[:19], wanted=False)])
        np.testing.assert_allclose(engine.step([Feed(slot, tokens[19:])])[0], whole(engine, first), atol=TOLERANCE)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: BloomForCausalLM(BloomConfig(vocab_size=WORDS, hidden_size=32, n_layer=2, n_head=4)), "position_ids"),
        (lambda: MambaForCausalLM(MambaConfig(vocab_size=WORDS, hidden_size=32, num_hidden_layers=1)), "position_ids"),
    ],
)
def test_what_cannot_be_kept_apart_is_refused(tmp_path: Path, make: Any, why: str) -> None:
    """An architecture that would answer wrongly does not load."""
    with pytest.raises(LoadError, match=f"does not generate in this runtime: .*{why}"):
        load(write(tmp_path, make()))


@pytest.mark.parametrize("fault", ["place", "neighbour", "window"])
def test_the_proof_finds_real_faults(gpt2: Path, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    """A place off by one, a neighbour's keys, or a forgotten token is no float noise: the load fails."""
    from modelapp_torch import decoderengine, slotattention

    if fault == "place":
        packed = decoderengine.packed
        monkeypatch.setattr(decoderengine, "packed", lambda *given: (packed(*given)[0], packed(*given)[1] + 1))
    elif fault == "neighbour":
        attend = slotattention.Pass._along

        def crossed(self: Any, query: Any, *rest: Any) -> Any:
            found = attend(self, query, *rest)
            return found[:1] + [found[0][:, :, :1].expand_as(one) for one in found[1:]]

        monkeypatch.setattr(slotattention.Pass, "_along", crossed)
    else:
        along = slotattention.Pass._along
        monkeypatch.setattr(slotattention.Pass, "_along", lambda self, *given: along(self, *given[:4], 3, given[5]))
    with pytest.raises(LoadError, match="its answers in company differ from those alone by"):
        load(gpt2)


@pytest.mark.parametrize(("dtype", "tolerance"), [("bfloat16", 0.08), ("float16", 0.02)])
def test_fewer_bits_stay_near(gpt2: Path, dtype: str, tolerance: float) -> None:
    """Logits in half the bits differ by no more than the stated part of their range."""
    prompt = prompts(12, 30)[0]
    exact, rough = whole(load(gpt2).engine, prompt), whole(load(gpt2, Options(dtype=dtype)).engine, prompt)
    assert rough.dtype == np.float32
    assert 0 < np.abs(exact - rough).max() < tolerance * np.ptp(exact)


def test_eight_bits_stay_near() -> None:
    """The trained model says nearly the same with weights of 8 bits, GPT-2's own kind of layer included."""
    prompt = load(TINY_GPT2).text.encode("> open the door\nThe door is locked")
    exact, small = load(TINY_GPT2), load(TINY_GPT2, Options(quantize="int8"))
    assert "Conv1D" not in str(small.engine._grounds.model)
    first, second = whole(exact.engine, prompt), whole(small.engine, prompt)
    assert 0 < np.abs(first - second).max() < 0.1 * np.ptp(first)


def test_a_real_model_answers_as_transformers_does() -> None:
    """Tokenizer, greedy answer and end of the trained GPT-2 are those of `generate`."""
    model = load(TINY_GPT2)
    plain = GPT2LMHeadModel.from_pretrained(TINY_GPT2, local_files_only=True)
    prompt = model.text.encode("> open the door\n")
    wanted = plain.generate(torch.tensor([prompt]), max_new_tokens=40, do_sample=False, pad_token_id=0)[0].tolist()
    assert greedy(model.engine, [prompt], len(wanted) - len(prompt))[0] == wanted[len(prompt) :]
    assert model.engine.capacity.ends == {0}
    assert (model.device, model.signature.kind) == ("cpu", "records")
    model.close()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_eight_bits_need_the_rest_in_full(gpt2: Path, dtype: Any) -> None:
    """A layer of 8 bits answers in float32; both keys and the fix are named before anything is loaded."""
    with pytest.raises(LoadError, match=rf'm\.torch\.quantize = "int8" .* m?\S*\.torch\.dtype = "{dtype}"') as refused:
        load(gpt2, Options(quantize="int8", dtype=dtype))
    assert 'dtype = "float32"' in refused.value.help


@pytest.mark.parametrize(
    ("part", "answer", "why"),
    [
        ("transformer.wte", lambda rows: rows.double(), "it raises"),
        ("lm_head", lambda rows: rows * torch.nan, "it answers with what is no number"),
    ],
    ids=["of another type", "not a number"],
)
def test_what_fails_after_quantising_is_never_ready(
    monkeypatch: pytest.MonkeyPatch, part: str, answer: Any, why: str
) -> None:
    """One made-up step is taken by the changed layers, and leaves nothing behind."""
    assert load(TINY_GPT2, Options(quantize="int8")).engine._memories == {}
    changed = generation.quantized

    def broken(module: Any, *given: Any) -> Any:
        changed(module, *given).get_submodule(part).register_forward_hook(lambda *seen: answer(seen[2]))

    monkeypatch.setattr(generation, "quantized", broken)
    with pytest.raises(LoadError, match=f'with models.m.torch.quantize = "int8" {why}'):
        load(TINY_GPT2, Options(quantize="int8"))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("compile", "default"),
        ("inputs", {"x": "float32[2]"}),
        ("outputs", {"x": "float32[2]"}),
        ("architecture", "transformers:GPT2LMHeadModel"),
        ("arguments", {"n_layer": 3}),
        ("batching", "never"),
    ],
)
def test_options_without_effect_are_refused(gpt2: Path, key: str, value: Any) -> None:
    """Rather than passed over; compiling would be done anew for every number of tokens."""
    with pytest.raises(LoadError, match=rf"models\.m\.torch\.{key} has no effect on a model that generates"):
        load(gpt2, Options(**{key: value}))


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    """The error says what to copy."""
    GPT2LMHeadModel(GPT2).save_pretrained(tmp_path)
    with pytest.raises(LoadError, match=r"holds no tokenizer \(tokenizer.json\)"):
        load(tmp_path)

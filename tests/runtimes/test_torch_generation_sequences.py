"""Encoder-decoder models of transformers as engines: sources of other lengths beside each other change no answer."""

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
    BartConfig,
    BartForConditionalGeneration,
    M2M100Config,
    M2M100ForConditionalGeneration,
    MarianConfig,
    MarianMTModel,
    T5Config,
    T5ForConditionalGeneration,
)

from modelapp.errors import LoadError
from modelapp.generating import Feed
from modelapp.runtime import Artefact, Placement
from modelapp_torch import Options
from modelapp_torch.generation import load_generating

WORDS = 96
TOLERANCE = 1e-4
"""Of float32 logits whose range is about 25."""
T5 = {"vocab_size": WORDS, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4,
      "initializer_factor": 3.0, "decoder_start_token_id": 0, "relative_attention_max_distance": 12,
      "relative_attention_num_buckets": 8}  # fmt: skip
BART = {"vocab_size": WORDS, "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
        "decoder_attention_heads": 4, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "max_position_embeddings": 64,
        "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "init_std": 0.3, "decoder_start_token_id": 2,
        "forced_eos_token_id": None}  # fmt: skip
MAKERS: dict[str, Callable[[], Any]] = {
    "t5": lambda: T5ForConditionalGeneration(T5Config(**T5)),
    "bart": lambda: BartForConditionalGeneration(BartConfig(**BART, forced_bos_token_id=5)),
    "marian": lambda: MarianMTModel(MarianConfig(**BART)),
}


def write(folder: Path, model: Any) -> Path:
    """The model's folder, with a tokenizer whose words are numbers."""
    model.save_pretrained(folder)
    Words(models.WordLevel({str(token): token for token in range(WORDS)}, unk_token="0")).save(
        str(folder / "tokenizer.json")
    )
    return folder


def load(folder: Path, options: Options = Options(), **placement: Any) -> Any:  # noqa: B008 (frozen)
    """The engine of the model."""
    artefact = Artefact("m", folder, task="text-to-text")
    return load_generating(artefact, options, Placement(**{"slots": 4} | placement)).engine


@pytest.fixture(scope="module", params=sorted(MAKERS))
def served(request: Any, tmp_path_factory: Any) -> tuple[Any, Path]:
    """A small random model as transformers has it, and its folder."""
    torch.manual_seed(1)
    model = MAKERS[request.param]().eval()
    if request.param == "marian":
        model.generation_config.bad_words_ids = [[0]]
    return model, write(tmp_path_factory.mktemp(request.param), model)


def sources(seed: int, *lengths: int) -> list[list[int]]:
    """Random texts to read."""
    dice = random.Random(seed)
    return [[dice.randrange(3, WORDS) for _ in range(length)] for length in lengths]


def generated(model: Any, source: Sequence[int], count: int) -> list[int]:
    """What transformers' own greedy search makes of a source, its start included."""
    found: list[int] = model.generate(torch.tensor([list(source)]), max_new_tokens=count, do_sample=False, num_beams=1)[
        0
    ].tolist()
    return found


def test_answers_are_those_of_generate_whoever_joins_and_leaves(served: tuple[Any, Path]) -> None:
    """Seven sources of mixed lengths, one more at each step while there is a slot, each until its end."""
    model, folder = served
    engine = load(folder)
    todo = sources(0, 5, 14, 2, 9, 21, 7, 1)
    count = 20
    wanted = [generated(model, source, count) for source in todo]
    answers: dict[int, list[int]] = {}
    running: dict[int, tuple[int, list[int], list[int]]] = {}
    at = 0
    while at < len(todo) or running:
        if at < len(todo) and engine.has_room(1 + count):
            slot, feed = engine.admit(todo[at], 1 + count)
            running[at] = (slot, list(feed), list(feed))
            at += 1
        members = list(running)
        rows = engine.step([Feed(running[one][0], running[one][1]) for one in members])
        for one, row in zip(members, rows, strict=True):
            slot, _, answer = running[one]
            answer.append(int(row.argmax()))
            running[one] = (slot, answer[-1:], answer)
            if answer[-1] in engine.capacity.ends or len(answer) == len(wanted[one]):
                answers[one] = answer
                engine.release(slot)
                del running[one]
    assert [answers[one] for one in range(len(todo))] == wanted
    assert len({tuple(one) for one in wanted}) > 1 or model.config.model_type == "marian"


def test_several_tokens_fed_at_once_are_as_one_by_one(served: tuple[Any, Path]) -> None:
    """An answer that is read again, as after a failure, stands where it stood."""
    model, folder = served
    engine = load(folder)
    source, answer = sources(1, 9, 12)
    with torch.inference_mode():
        wanted = model(torch.tensor([source]), decoder_input_ids=torch.tensor([answer])).logits[0].numpy()
    never = list(engine._sides.beginning.never)
    for sizes in ([12], [1] * 12, [5, 1, 6]):
        slot, _ = engine.admit(source, 12)
        at = 0
        for size in sizes:
            found = engine.step([Feed(slot, answer[at : at + size])])[0]
            at += size
            keep = [word for word in range(WORDS) if word not in never]
            np.testing.assert_allclose(found[keep], wanted[at - 1][keep], atol=TOLERANCE, rtol=1e-5)
            assert all(found[word] < -1e30 for word in never)
        engine.release(slot)


def test_bounds_are_of_source_and_answer(served: tuple[Any, Path]) -> None:
    """Both are the model's own, or what app.toml asks for where that is less."""
    model, folder = served
    bound = 1024 if model.config.model_type == "t5" else 64
    capacity = load(folder).capacity
    assert (capacity.context_tokens, capacity.source_tokens, capacity.vocabulary) == (bound, bound, WORDS)
    capacity = load(folder, context_tokens=16).capacity
    assert (capacity.context_tokens, capacity.source_tokens) == (16, 16)


def test_memory_holds_sources_too(served: tuple[Any, Path]) -> None:
    """Where it does not hold as many sequences as are asked for, there are fewer slots, and each of them is usable."""
    _, folder = served
    engine = load(folder, cache_mb=1, slots=100, context_tokens=50)
    slots = engine.capacity.slots
    assert 1 < slots < 100
    admitted = 0
    while engine.has_room(10):
        engine.admit([5] * 50, 10)
        admitted += 1
    assert 1 < admitted <= slots


def test_a_source_that_cannot_be_read_leaves_nothing(served: tuple[Any, Path]) -> None:
    """The encoder raises, and slot and memory are free again."""
    _, folder = served
    engine = load(folder, slots=1)
    with pytest.raises(IndexError):
        engine.admit([WORDS + 5], 10)
    assert engine.has_room(10)
    assert not engine._memories
    assert not engine._sources


def test_eight_bits_and_half_the_bits_answer(served: tuple[Any, Path]) -> None:
    """Both load and say nearly the same."""
    _, folder = served
    source = sources(2, 9)[0]
    rows = []
    for options in (Options(), Options(dtype="bfloat16"), Options(quantize="int8")):
        engine = load(folder, options)
        slot, feed = engine.admit(source, 10)
        rows.append(engine.step([Feed(slot, feed)])[0])
        rows[-1] = rows[-1][rows[-1] > -1e30]
    for rough in rows[1:]:
        assert np.abs(rows[0] - rough).max() < 0.25 * np.ptp(rows[0])


def test_what_counts_its_places_by_itself_is_refused(tmp_path: Path) -> None:
    """A decoder that cannot be told where its tokens are would answer wrongly in company, and does not load."""
    torch.manual_seed(0)
    with pytest.raises(LoadError, match="does not generate in this runtime: its answers in company differ"):
        load(write(tmp_path, M2M100ForConditionalGeneration(M2M100Config(**BART))))


def test_a_model_without_a_start_is_refused(tmp_path: Path) -> None:
    """The error names the key that is missing."""
    model = T5ForConditionalGeneration(T5Config(**{**T5, "decoder_start_token_id": None}))
    model.generation_config.decoder_start_token_id = None
    with pytest.raises(LoadError, match="names no decoder_start_token_id"):
        load(write(tmp_path, model))

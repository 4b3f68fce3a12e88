"""GGUF files kept unfolded: what was read slowly once is the same when it is read quickly."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelapp.generating import Feed
from modelapp.runtime import Artefact, Placement

gguf = pytest.importorskip("gguf")
pytest.importorskip("torch")

WIDTH, HEADS, LAYERS, HIDDEN = 32, 4, 2, 64
TINY = Path(__file__).parents[2] / "apps" / "dungeon" / "models" / "tiny_gpt2" / "tokenizer.json"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A Llama of two layers with random weights, as a GGUF file with the tokenizer of the tiny GPT-2."""
    path = tmp_path / "tiny.gguf"
    writer, dice = gguf.GGUFWriter(path, "llama"), np.random.default_rng(0)
    words = json.loads(TINY.read_text("utf-8"))["model"]
    tokens = sorted(words["vocab"], key=words["vocab"].__getitem__)
    writer.add_block_count(LAYERS)
    writer.add_context_length(64)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([1] * len(tokens))
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in words["merges"]])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    shapes = {"token_embd": (len(tokens), WIDTH), "output": (len(tokens), WIDTH), "output_norm": (WIDTH,)}
    for layer in range(LAYERS):
        name = f"blk.{layer}."
        shapes |= {f"{name}{what}": (WIDTH, WIDTH) for what in ("attn_q", "attn_k", "attn_v", "attn_output")}
        shapes |= {f"{name}{what}": (WIDTH,) for what in ("attn_norm", "ffn_norm")}
        shapes |= {
            f"{name}ffn_gate": (HIDDEN, WIDTH),
            f"{name}ffn_up": (HIDDEN, WIDTH),
            f"{name}ffn_down": (WIDTH, HIDDEN),
        }
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", dice.normal(0, 0.3, shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture
def load(file: Path, tmp_path: Path) -> Callable[..., Any]:
    """Loads it, with a cache unless it is told otherwise."""

    def do(cache_dir: Path | None = tmp_path / "cache", **options: Any) -> Any:
        from modelapp_torch import Options
        from modelapp_torch.generation import load_generating

        placement = Placement(slots=2, cache_dir=cache_dir)
        return load_generating(Artefact("m", file, task="text-generation"), Options(**options), placement)

    return do


def answer(model: Any) -> tuple[list[int], np.ndarray]:
    """A prompt's tokens, and the logits after it."""
    tokens = model.text.encode("You open the chest.")
    slot, feed = model.engine.admit(tokens, 40)
    return tokens, model.engine.step([Feed(slot, feed)])[0]


def kept(tmp_path: Path) -> list[Path]:
    """What lies in the cache."""
    return sorted((tmp_path / "cache" / "torch").iterdir())


def test_the_second_load_is_out_of_the_cache_and_the_same(load: Callable[..., Any], tmp_path: Path) -> None:
    """The first says where it is kept; the next one reads neither more nor other numbers, and says nothing."""
    first = load()
    assert any("Kept unfolded in" in note for note in first.signature.notes)
    (entry,) = kept(tmp_path)
    times = {path.name: path.stat().st_mtime_ns for path in entry.iterdir()}
    second = load()
    assert second.signature.notes == ()
    assert {path.name: path.stat().st_mtime_ns for path in entry.iterdir()} == times
    tokens, logits = answer(first)
    again, same = answer(second)
    assert tokens == again
    np.testing.assert_array_equal(logits, same)
    assert first.text.decode(tokens) == second.text.decode(tokens) == "You open the chest."
    assert first.engine.capacity == second.engine.capacity


def test_it_is_what_is_loaded_without_a_cache(load: Callable[..., Any]) -> None:
    """Where nothing can be kept the file is unfolded at each load, to the same numbers."""
    plain = load(cache_dir=None)
    load()
    np.testing.assert_array_equal(answer(plain)[1], answer(load())[1])


@pytest.mark.parametrize("harm", ["a flipped bit", "a cut file", "no manifest", "a manifest of another kind"])
def test_a_damaged_entry_is_made_anew(load: Callable[..., Any], tmp_path: Path, harm: str) -> None:
    """Whatever is wrong with it: it is never loaded, and the next start has a whole one."""
    wanted = answer(load())[1]
    (entry,) = kept(tmp_path)
    weights, manifest = entry / "model.safetensors", entry / "unfolded.json"
    if harm == "a flipped bit":
        content = bytearray(weights.read_bytes())
        content[-5] ^= 1
        weights.write_bytes(content)
    elif harm == "a cut file":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif harm == "no manifest":
        manifest.unlink()
    else:
        manifest.write_text("[1]")
    mended = load()
    np.testing.assert_array_equal(answer(mended)[1], wanted)
    assert any("Kept unfolded in" in note for note in mended.signature.notes)
    assert load().signature.notes == ()


def test_another_dtype_has_an_entry_of_its_own(load: Callable[..., Any], tmp_path: Path) -> None:
    """Since its numbers are others."""
    load()
    load(dtype="bfloat16")
    assert len(kept(tmp_path)) == 2


def test_where_nothing_can_be_written_the_model_is_loaded_all_the_same(
    load: Callable[..., Any], tmp_path: Path
) -> None:
    """And the start says that it will be as slow next time."""
    blocked = tmp_path / "cache"
    blocked.write_text("a file where the folder should be")
    model = load()
    assert any("could not be kept" in note for note in model.signature.notes)
    assert len(answer(model)[1]) == 2524

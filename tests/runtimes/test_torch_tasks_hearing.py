"""Speech to text by the torch runtime: Whisper and CTC, on folders made here."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelapp.errors import InvalidInput, LoadError
from modelapp.media import Audio
from modelapp.runtime import LoadedModel, Run

LoadTask = Callable[..., LoadedModel]
RATE_HZ = 16000
RANDOM = np.random.default_rng(8)


def sound(seconds: float, rate_hz: int = RATE_HZ, channels: int = 1) -> Audio:
    """Noise, which models made at random hear as well as anything."""
    return Audio(RANDOM.uniform(-1, 1, (int(seconds * rate_hz), channels)).astype(np.float32), rate_hz)


def _whisper(folder: Path, *, has_times: bool = True) -> Path:
    import torch
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import (
        GenerationConfig,
        PreTrainedTokenizerFast,
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
    )

    torch.manual_seed(0)
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())[:60]
    specials = ["<|end|>", "<|start|>", "<|en|>", "<|de|>", "<|transcribe|>", "<|notimestamps|>"]
    made = Tokenizer(models.BPE({letter: at for at, letter in enumerate(letters)}, []))
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(False), decoders.ByteLevel()
    made.add_special_tokens([AddedToken(token, special=True) for token in specials])
    PreTrainedTokenizerFast(
        tokenizer_object=made, eos_token=specials[0], pad_token=specials[0], additional_special_tokens=specials[1:]
    ).save_pretrained(folder)
    ids = {token: 60 + at for at, token in enumerate(specials)}
    # Two seconds a window, 50 tokens of time, 0.04 s each.
    config = WhisperConfig(
        vocab_size=60 + len(specials) + 101,
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        num_mel_bins=8,
        max_source_positions=100,
        max_target_positions=32,
        decoder_start_token_id=ids["<|start|>"],
        pad_token_id=ids["<|end|>"],
        bos_token_id=ids["<|end|>"],
        eos_token_id=ids["<|end|>"],
        suppress_tokens=None,
        begin_suppress_tokens=None,
        init_std=0.6,
    )
    model = WhisperForConditionalGeneration(config)
    times = {"no_timestamps_token_id": ids["<|notimestamps|>"]} if has_times else {}
    model.generation_config = GenerationConfig(
        decoder_start_token_id=ids["<|start|>"],
        pad_token_id=ids["<|end|>"],
        bos_token_id=ids["<|end|>"],
        eos_token_id=ids["<|end|>"],
        max_length=32,
        **{
            "is_multilingual": True,
            "lang_to_id": {token: ids[token] for token in ("<|en|>", "<|de|>")},
            "task_to_id": {"transcribe": ids["<|transcribe|>"]},
            **times,
        },
    )
    model.save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=8, chunk_length=2).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Whisper with windows of two seconds, of two languages."""
    return _whisper(tmp_path_factory.mktemp("whisper"))


def _ctc(folder: Path, norm: str) -> Path:
    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC

    torch.manual_seed(0)
    config = Wav2Vec2Config(
        vocab_size=12,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        conv_dim=[8, 8],
        conv_kernel=[10, 4],
        conv_stride=[5, 4],
        num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=2,
        feat_extract_norm=norm,
        do_stable_layer_norm=norm == "layer",
        initializer_range=0.5,
    )
    Wav2Vec2ForCTC(config).save_pretrained(folder)
    letters = ["<pad>", "<s>", "</s>", "<unk>", "|", *"abcdefg"]
    (folder / "vocab.json").write_text(json.dumps({letter: at for at, letter in enumerate(letters)}))
    Wav2Vec2CTCTokenizer(str(folder / "vocab.json")).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(return_attention_mask=norm == "layer").save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=["group", "layer"])
def ctc(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Wav2Vec2 of both forms: one that cannot be padded, one that can."""
    return _ctc(tmp_path_factory.mktemp(request.param), request.param)


def write(model: LoadedModel, *rows: dict[str, Any]) -> list[Any]:
    """The texts of these rows."""
    answers: Any = model.infer(list(rows), Run(len(rows)))
    return [each if isinstance(each, Exception) else each["text"] for each in answers]


def test_whisper_writes_what_transformers_does(whisper: Path, load_task: LoadTask) -> None:
    """Language and bound of each row are its own, in one run; sound of any rate and of two channels is heard."""
    from transformers import AutoTokenizer, WhisperFeatureExtractor, WhisperForConditionalGeneration

    model = load_task(whisper, "speech-to-text")
    net = WhisperForConditionalGeneration.from_pretrained(whisper).eval()
    extract, tokenizer = WhisperFeatureExtractor.from_pretrained(whisper), AutoTokenizer.from_pretrained(whisper)
    one, other = sound(1.5), sound(0.7)
    stereo = Audio(np.repeat(one.samples, 2, axis=1), RATE_HZ)

    def wanted(audio: Audio, **told: Any) -> str:
        features = extract(audio.samples[:, 0], sampling_rate=RATE_HZ, return_tensors="pt")["input_features"]
        tokens = net.generate(input_features=features, task="transcribe", **{"max_new_tokens": 24, **told})[0]
        return str(tokenizer.decode([token for token in tokens if token < 60])).strip()

    texts = write(
        model,
        {"audio": one},
        {"audio": other, "language": "de"},
        {"audio": one, "language": "German", "max_tokens": 5},
        {"audio": stereo},
    )

    assert texts == [
        wanted(one),
        wanted(other, language="de"),
        wanted(one, language="de", max_new_tokens=5),
        wanted(one),
    ]
    assert len(texts[2]) <= 5
    assert len(set(texts)) == 3


def test_whisper_hears_longer_sound_window_after_window(whisper: Path, load_task: LoadTask) -> None:
    """Five seconds on a model of two, beside a short one; alone and in company the same."""
    model = load_task(whisper, "speech-to-text")
    long, short = sound(5), sound(1)

    together = write(model, {"audio": short}, {"audio": long}, {"audio": short, "language": "en"})
    alone = [write(model, row)[0] for row in ({"audio": short}, {"audio": long}, {"audio": short, "language": "en"})]

    assert together == alone
    assert len(together[1]) > 0
    assert not any("|" in text for text in together)


def test_without_times_long_sound_is_refused(load_task: LoadTask, tmp_path: Path) -> None:
    """Its end would be cut off, and nobody told."""
    model = load_task(_whisper(tmp_path, has_times=False), "speech-to-text")

    odd, fine = write(model, {"audio": sound(2.5)}, {"audio": sound(1)})

    assert "2.5 s long, and this model hears 2 s at most" in str(odd)
    assert isinstance(fine, str)


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"language": "klingon"}, "'klingon'; this model knows de, en"),
        ({"max_tokens": 0}, "from 1 to 24"),
        ({"max_tokens": 25}, "from 1 to 24"),
        ({"audio": Audio(np.zeros((0, 1), np.float32), RATE_HZ)}, "no samples"),
        ({"audio": Audio(np.zeros((9, 1), np.float32), 5)}, "5 samples a second; the model hears 16000"),
        ({"audio": Audio(np.array([[np.nan]], np.float32), RATE_HZ)}, "NaN or infinite"),
        ({"audio": b"RIFF"}, "must be audio, got bytes"),
        ({"audio": None}, "is missing"),
    ],
)
def test_what_cannot_be_heard_fails_alone(whisper: Path, load_task: LoadTask, row: Any, told: str) -> None:
    """The row beside it is written down."""
    odd, fine = write(load_task(whisper, "speech-to-text"), {"audio": sound(1), **row}, {"audio": sound(1)})

    assert isinstance(odd, InvalidInput)
    with pytest.raises(InvalidInput, match=told):
        raise odd
    assert isinstance(fine, str)


def test_ctc_writes_what_transformers_does(ctc: Path, load_task: LoadTask) -> None:
    """Rows of several lengths in one run have the texts that transformers' own decoding has for each alone."""
    import torch
    from transformers import AutoModelForCTC, AutoProcessor

    model = load_task(ctc, "speech-to-text")
    net, processor = AutoModelForCTC.from_pretrained(ctc).eval(), AutoProcessor.from_pretrained(ctc)
    sounds = [sound(seconds) for seconds in (0.05, 0.11, 0.05, 0.3)]

    texts = write(model, *[{"audio": each} for each in sounds])

    for audio, text in zip(sounds, texts, strict=True):
        with torch.inference_mode():
            logits = net(**processor(audio.samples[:, 0], sampling_rate=RATE_HZ, return_tensors="pt")).logits
        assert text == processor.batch_decode(logits.argmax(2))[0]
    assert len({*texts}) > 1
    assert [write(model, {"audio": each})[0] for each in sounds] == texts


def test_ctc_keeps_to_its_bounds(ctc: Path, load_task: LoadTask) -> None:
    """Few tokens where few are asked for; no language, and no sound shorter than a moment."""
    whole, few, foreign, short = write(
        load_task(ctc, "speech-to-text"),
        {"audio": (heard := sound(0.3))},
        {"audio": heard, "max_tokens": 4},
        {"audio": heard, "language": "de"},
        {"audio": Audio(np.zeros((5, 1), np.float32), RATE_HZ)},
    )
    assert whole.startswith(few.strip())
    assert len(few) < len(whole)
    assert "cannot be told another" in str(foreign)
    assert "too short: 5 samples" in str(short)


@pytest.mark.parametrize("rate_hz", [8000, 22050, 44100, 48000])
def test_any_rate_is_heard(rate_hz: int) -> None:
    """A tone keeps its pitch, its length and its loudness; what lies over the new rate's half is gone."""
    from modelapp_torch.tasks.sound import heard

    times = np.arange(rate_hz) / rate_hz
    tone = np.sin(2 * np.pi * 440 * times) + (0.5 * np.sin(2 * np.pi * 15000 * times) if rate_hz > 40000 else 0)

    samples = heard(Audio(tone.astype(np.float32)[:, np.newaxis], rate_hz), RATE_HZ)

    assert samples.dtype == np.float32
    assert len(samples) == RATE_HZ
    wanted = np.sin(2 * np.pi * 440 * np.arange(RATE_HZ) / RATE_HZ)
    assert np.abs(samples - wanted)[200:-200].max() < 0.01


def test_a_rate_that_would_take_all_memory_is_refused() -> None:
    """Both a filter between odd rates and samples that multiply."""
    from modelapp_torch.tasks.sound import heard

    with pytest.raises(InvalidInput, match="4294967291 samples a second"):
        heard(Audio(np.zeros((4, 1), np.float32), 4294967291), RATE_HZ)
    with pytest.raises(InvalidInput, match="too long at 16000 Hz"):
        heard(Audio(np.zeros((5_000_000, 1), np.float32), 1000), RATE_HZ)


def test_a_feature_extractor_of_another_model_is_refused(whisper: Path, load_task: LoadTask, tmp_path: Path) -> None:
    """It would make more frames than the model hears."""
    from transformers import WhisperFeatureExtractor

    for file in whisper.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    WhisperFeatureExtractor(feature_size=8, chunk_length=3).save_pretrained(tmp_path)
    with pytest.raises(LoadError, match="makes 300 frames, and the model hears 200"):
        load_task(tmp_path, "speech-to-text")

"""Text to speech by the torch runtime, on folders made here."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelapp.errors import InvalidInput, LoadError
from modelapp.media import Audio, encode_wav
from modelapp.runtime import LoadedModel, Run

LoadTask = Callable[..., LoadedModel]


def _vits(folder: Path, speakers: int) -> Path:
    import torch
    from transformers import VitsConfig, VitsModel, VitsTokenizer

    torch.manual_seed(1)
    config = VitsConfig(
        vocab_size=30,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        ffn_dim=32,
        flow_size=16,
        spectrogram_bins=17,
        upsample_initial_channel=16,
        upsample_rates=[4, 4],
        upsample_kernel_sizes=[8, 8],
        resblock_kernel_sizes=[3],
        resblock_dilation_sizes=[[1, 3]],
        prior_encoder_num_flows=2,
        prior_encoder_num_wavenet_layers=1,
        posterior_encoder_num_wavenet_layers=1,
        num_speakers=speakers,
        speaker_embedding_size=8 if speakers > 1 else 0,
        sampling_rate=8000,
    )
    VitsModel(config).save_pretrained(folder)
    letters = ["<pad>", *"abcdefghijklmnopqrstuvwxyz '"]
    (folder / "vocab.json").write_text(json.dumps({letter: at for at, letter in enumerate(letters)}))
    VitsTokenizer(
        str(folder / "vocab.json"), pad_token="<pad>", unk_token="<pad>", phonemize=False, normalize=True
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def one_voice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny VITS."""
    return _vits(tmp_path_factory.mktemp("vits"), 1)


@pytest.fixture(scope="module")
def two_voices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with two speakers."""
    return _vits(tmp_path_factory.mktemp("voices"), 2)


@pytest.fixture(scope="module")
def speecht5(tmp_path_factory: pytest.TempPathFactory, words: Any) -> dict[str, Path]:
    """A tiny SpeechT5, its vocoder and two voices."""
    import torch
    from transformers import SpeechT5Config, SpeechT5ForTextToSpeech, SpeechT5HifiGan, SpeechT5HifiGanConfig

    torch.manual_seed(1)
    root = tmp_path_factory.mktemp("speecht5")
    config = SpeechT5Config(
        vocab_size=60,
        hidden_size=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        num_mel_bins=8,
        speech_decoder_prenet_units=16,
        speech_decoder_postnet_units=16,
        speaker_embedding_dim=6,
        max_text_positions=40,
    )
    SpeechT5ForTextToSpeech(config).save_pretrained(root / "model")
    words.save_pretrained(root / "model")
    vocoder = SpeechT5HifiGanConfig(
        model_in_dim=8,
        upsample_initial_channel=8,
        upsample_rates=[4],
        upsample_kernel_sizes=[8],
        resblock_kernel_sizes=[3],
        resblock_dilation_sizes=[[1, 3]],
    )
    SpeechT5HifiGan(vocoder).save_pretrained(root / "vocoder")
    for at, name in enumerate(("anna", "bob")):
        np.save(root / f"{name}.npy", np.random.default_rng(at).normal(size=6))
    return {name: root / name for name in ("model", "vocoder", "anna.npy", "bob.npy")}


def files(speecht5: dict[str, Path]) -> dict[str, Path]:
    """As app.toml's `files` has them."""
    return {"vocoder": speecht5["vocoder"], "anna": speecht5["anna.npy"], "bob": speecht5["bob.npy"]}


def speak(model: LoadedModel, *rows: dict[str, Any]) -> list[Any]:
    """The sounds of these rows."""
    answers: Any = model.infer(list(rows), Run(len(rows)))
    return [each if isinstance(each, Exception) else each["audio"] for each in answers]


def test_the_sound_is_that_of_transformers(one_voice: Path, load_task: LoadTask) -> None:
    """The same seed, and the model by hand: the same samples, at the rate of the config."""
    import torch
    from transformers import AutoTokenizer, VitsModel

    model = load_task(one_voice, "text-to-speech")
    net, tokenizer = VitsModel.from_pretrained(one_voice).eval(), AutoTokenizer.from_pretrained(one_voice)

    sound = speak(model, {"text": "hello there", "seed": 7})[0]

    torch.manual_seed(7)
    with torch.inference_mode():
        wanted = net(**tokenizer("hello there", return_tensors="pt")).waveform[0].numpy()
    assert isinstance(sound, Audio)
    assert sound.sample_rate_hz == 8000
    assert sound.samples.shape == (len(wanted), 1)
    np.testing.assert_allclose(sound.samples[:, 0], wanted, atol=1e-5)
    assert encode_wav(sound)[:4] == b"RIFF"
    assert not model.signature.batched
    assert "one request at a time" in model.signature.notes[-1]


def test_a_seed_decides_alone_and_in_company(one_voice: Path, load_task: LoadTask) -> None:
    """Another seed sounds otherwise, none is seed 0, and what is drawn elsewhere goes on as it would have."""
    import torch

    model = load_task(one_voice, "text-to-speech")
    torch.manual_seed(3)
    wanted = torch.rand(2)
    torch.manual_seed(3)
    drawn = [torch.rand(1)]

    unseeded, zero, one, longer = speak(
        model,
        {"text": "a cat"},
        {"text": "a cat", "seed": 0},
        {"text": "a cat", "seed": 1},
        {"text": "a cat and a dog", "seed": 1},
    )
    drawn.append(torch.rand(1))
    again = speak(model, {"text": "a cat", "seed": 1})[0]

    np.testing.assert_array_equal(unseeded.samples, zero.samples)
    np.testing.assert_array_equal(one.samples, again.samples)
    assert one.samples.shape != zero.samples.shape or not np.allclose(one.samples, zero.samples)
    assert len(longer.samples) > len(one.samples)
    assert torch.equal(torch.cat(drawn), wanted)


def test_speed(one_voice: Path, load_task: LoadTask) -> None:
    """Twice as fast takes about half the time, and the next row has its own speed again."""
    slow, fast, normal, wanted = speak(
        load_task(one_voice, "text-to-speech"),
        {"text": "the quick brown fox jumps", "speed": 0.25},
        {"text": "the quick brown fox jumps", "speed": 4},
        {"text": "the quick brown fox jumps"},
        {"text": "the quick brown fox jumps", "speed": 1.0},
    )
    assert slow.seconds > 2 * normal.seconds
    assert fast.seconds < normal.seconds
    np.testing.assert_array_equal(normal.samples, wanted.samples)


def test_voices(two_voices: Path, load_task: LoadTask) -> None:
    """Each speaker is a voice; the first one speaks where none is named."""
    model = load_task(two_voices, "text-to-speech")

    silent, first, second, odd = speak(
        model,
        {"text": "a cat"},
        {"text": "a cat", "voice": "0"},
        {"text": "a cat", "voice": "1"},
        {"text": "a cat", "voice": "anna"},
    )

    np.testing.assert_array_equal(silent.samples, first.samples)
    assert second.samples.shape != first.samples.shape or not np.allclose(second.samples, first.samples)
    assert str(odd) == "\"voice\" is 'anna'; there are 0, 1"


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"text": ""}, "nothing that this model can speak"),
        ({"text": "  "}, "nothing that this model can speak"),
        ({"text": "a", "speed": 0}, "from 0.1 to 10"),
        ({"text": "a", "speed": float("inf")}, "a number"),
        ({"text": "a", "seed": -1}, "from 0 to"),
        ({"text": "a", "seed": True}, "a whole number"),
        ({}, "is missing"),
    ],
)
def test_what_cannot_be_spoken_fails_alone(one_voice: Path, load_task: LoadTask, row: Any, told: str) -> None:
    """The row beside it is spoken."""
    odd, fine = speak(load_task(one_voice, "text-to-speech"), row, {"text": "a cat"})

    assert isinstance(odd, InvalidInput)
    with pytest.raises(InvalidInput, match=told):
        raise odd
    assert fine.seconds > 0


def test_a_text_of_letters_unknown_to_it_fails_alone(one_voice: Path, load_task: LoadTask, tmp_path: Path) -> None:
    """Its tokenizer leaves out what it does not know, here all of the text; the row beside it is spoken."""
    folder = shutil.copytree(one_voice, tmp_path / "bare")
    told = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(told | {"add_blank": False}))

    odd, fine = speak(load_task(folder, "text-to-speech"), {"text": "\u8a9e"}, {"text": "a cat"})

    assert isinstance(odd, InvalidInput)
    assert (odd.field, odd.message) == ("text", '"text" holds no token for this model')
    assert fine.seconds > 0


def test_speecht5_speaks_through_its_vocoder(speecht5: dict[str, Path], load_task: LoadTask) -> None:
    """In the voices of `files`, the same again by seed, and as transformers' own generate_speech."""
    import torch
    from transformers import AutoTokenizer, SpeechT5ForTextToSpeech, SpeechT5HifiGan

    model = load_task(speecht5["model"], "text-to-speech", files(speecht5))
    anna, again, bob, fast, odd = speak(
        model,
        {"text": "the cat ran", "seed": 5},
        {"text": "the cat ran", "seed": 5, "voice": "anna"},
        {"text": "the cat ran", "seed": 5, "voice": "bob"},
        {"text": "the cat ran", "speed": 2.0},
        {"text": "the cat " * 30},
    )

    torch.manual_seed(5)
    with torch.inference_mode():
        wanted = (
            SpeechT5ForTextToSpeech.from_pretrained(speecht5["model"])
            .eval()
            .generate_speech(
                AutoTokenizer.from_pretrained(speecht5["model"])("the cat ran", return_tensors="pt")["input_ids"],
                speaker_embeddings=torch.from_numpy(np.load(speecht5["anna.npy"]).astype(np.float32)).unsqueeze(0),
                vocoder=SpeechT5HifiGan.from_pretrained(speecht5["vocoder"]).eval(),
            )
        )
    np.testing.assert_allclose(anna.samples[:, 0], wanted.numpy(), atol=1e-5)
    np.testing.assert_array_equal(anna.samples, again.samples)
    assert anna.samples.shape != bob.samples.shape or not np.allclose(anna.samples, bob.samples)
    assert anna.sample_rate_hz == 16000
    assert "speaks at its own" in str(fast)
    assert "62 tokens, and the model reads 40 at most" in str(odd)


def test_a_vocoder_and_a_voice_are_needed(speecht5: dict[str, Path], load_task: LoadTask, tmp_path: Path) -> None:
    """What lacks is named, and what `files` must hold; a voice of another size is refused."""
    whole = files(speecht5)
    np.save(tmp_path / "other.npy", np.zeros(5))
    with pytest.raises(LoadError, match="names no vocoder"):
        load_task(speecht5["model"], "text-to-speech")
    with pytest.raises(LoadError, match="names no voice"):
        load_task(speecht5["model"], "text-to-speech", {"vocoder": whole["vocoder"]})
    with pytest.raises(LoadError, match="has 5 numbers, and the model takes 6"):
        load_task(speecht5["model"], "text-to-speech", {**whole, "anna": tmp_path / "other.npy"})


def test_another_family_is_refused(load_task: LoadTask, tmp_path: Path) -> None:
    """Models that speak by other means are named, and what is adapted."""
    from transformers import BarkConfig

    BarkConfig(architectures=["BarkModel"]).save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(LoadError, match="adapts VITS and SpeechT5, and this is BarkModel"):
        load_task(tmp_path, "text-to-speech")

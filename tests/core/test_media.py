"""Images, audio and base64 text."""

import base64
import contextlib
import io
import struct

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from modelapp import media
from modelapp.media import Audio
from modelapp.mismatch import Mismatch

RED_LEFT = np.zeros((4, 6, 3), np.uint8)
RED_LEFT[:, :3, 0] = 255


def file_of(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    """The image as a file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def wav(samples: np.ndarray, rate: int = 8000, **options: str) -> bytes:
    """The samples as a file, WAV unless told otherwise."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate, **{"format": "WAV", **options})
    return file.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "WEBP", "GIF", "JPEG"])
def test_images_of_the_known_formats_are_rgb_arrays(kind: str) -> None:
    """Height, width and three channels of bytes, whatever the file's kind."""
    options = {"lossless": True} if kind == "WEBP" else {}
    array = media.decode_image(file_of(Image.fromarray(RED_LEFT), kind, **options))
    assert array.shape == (4, 6, 3)
    assert array.dtype == np.uint8
    assert np.abs(array.astype(int)[:, 0] - [255, 0, 0]).max() <= (60 if kind == "JPEG" else 0)


def test_a_photo_is_turned_as_its_camera_says() -> None:
    """EXIF orientation 6 means: turn a quarter to the right."""
    exif = Image.Exif()
    exif[0x0112] = 6
    array = media.decode_image(file_of(Image.fromarray(RED_LEFT), exif=exif))
    assert array.shape == (6, 4, 3)
    assert (array[:3, :, 0] == 255).all()
    assert (array[3:, :, 0] == 0).all()


@pytest.mark.parametrize("mode", ["L", "1", "P", "LA", "RGBA", "CMYK"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    """White stays white in grey, palette, transparent and print images."""
    white = Image.new("RGB", (3, 2), "white").convert(mode)
    assert (media.decode_image(file_of(white, "TIFF" if mode == "CMYK" else "PNG")) == 255).all()


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    """Mid grey in 16 bits is mid grey in 8."""
    grey = np.array([[0, 0x8000, 0xFFFF]], dtype=np.uint16)
    assert media.decode_image(file_of(Image.fromarray(grey)))[0, :, 0].tolist() == [0, 0x80, 0xFF]


def test_an_image_of_floats_is_refused() -> None:
    """Nobody knows what its white is."""
    with pytest.raises(Mismatch, match="must have 8 or 16 bits a channel"):
        media.decode_image(file_of(Image.new("F", (2, 2)), "TIFF"))


def test_damaged_images_are_refused() -> None:
    """Cut anywhere, or never an image at all."""
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    for kind in ("PNG", "JPEG"):
        data = file_of(Image.fromarray(noise), kind)
        for length in (10, len(data) // 4, len(data) // 2, len(data) - 200):
            with pytest.raises(Mismatch, match=r"is a damaged image|is not an image of a known format"):
                media.decode_image(data[:length])
    with pytest.raises(Mismatch, match=r"is not an image of a known format \(JPEG, PNG, .*; got 8 bytes"):
        media.decode_image(b"nonsense")
    with pytest.raises(Mismatch, match="is not an image"):
        media.decode_image(b"")


def test_large_images_are_refused_before_they_are_decoded() -> None:
    """By the declared longest side, and by the number of pixels a small file may unfold into."""
    data = file_of(Image.new("RGB", (30, 20)))
    assert media.decode_image(data, max_side_px=30).shape == (20, 30, 3)
    with pytest.raises(Mismatch, match="must be at most 29 pixels on each side, got 30 x 20"):
        media.decode_image(data, max_side_px=29)
    for side in (8_000, 12_000, 60_000):
        with pytest.raises(Mismatch, match=f"must have at most {media.MAX_PIXELS} pixels"):
            media.decode_image(_png_head(side))


def _png_head(side: int) -> bytes:
    """A PNG that claims to be large and holds nothing."""
    import zlib

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


@given(
    st.binary(max_size=200),
    st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"RIFF", b"GIF89a", b"II*\0"]),
)
def test_no_bytes_make_a_decoder_raise_anything_else(tail: bytes, head: bytes) -> None:
    """Hostile bytes are a Mismatch or an image or sound."""
    for decode in (media.decode_image, media.decode_audio):
        with contextlib.suppress(Mismatch):
            decode(head + tail)


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3"])
def test_sound_is_float_frames_and_a_rate(kind: str) -> None:
    """Two channels side by side, and the rate of the file."""
    tone = np.sin(np.arange(4000) / 10)[:, np.newaxis] * [0.5, 0.25]
    audio = media.decode_audio(wav(tone, format=kind))
    assert audio.samples.dtype == np.float32
    assert audio.sample_rate_hz == 8000
    assert audio.samples.shape[1] == 2
    assert abs(audio.seconds - 0.5) < 0.2
    if kind in ("WAV", "FLAC"):
        assert np.abs(audio.samples - tone).max() < 1e-4


def test_damaged_sound_is_refused() -> None:
    """Cut, empty, or never sound at all."""
    tone = np.random.default_rng(0).uniform(-1, 1, 4000)
    for kind in ("WAV", "FLAC"):
        data = wav(tone, format=kind)
        for length in (20, len(data) // 2, len(data) - 100):
            with pytest.raises(Mismatch, match=r"is cut or empty audio|is not audio of a known format"):
                media.decode_audio(data[:length])
    with pytest.raises(Mismatch, match=r"is not audio of a known format \(WAV, FLAC, OGG, MP3\); got 8 bytes"):
        media.decode_audio(b"nonsense")
    with pytest.raises(Mismatch, match="cut or empty"):
        media.decode_audio(wav(np.zeros(0)))


def test_long_or_unfinite_sound_is_refused() -> None:
    """By the declared length, by what memory allows, and where a sample is no number."""
    data = wav(np.zeros(8000))
    assert media.decode_audio(data, max_seconds=1).seconds == 1
    with pytest.raises(Mismatch, match=r"must be at most 0\.5 seconds long, got 1\.00"):
        media.decode_audio(data, max_seconds=0.5)
    with pytest.raises(Mismatch, match="NaN or infinite"):
        media.decode_audio(wav(np.array([0, np.nan, 0]), subtype="FLOAT"))


def test_a_small_file_of_hours_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence packs well: the length in the head decides before anything is unpacked."""
    monkeypatch.setattr(media, "MAX_SAMPLES", 1000)
    with pytest.raises(Mismatch, match="must have at most 1000 samples, got 2002"):
        media.decode_audio(wav(np.zeros((1001, 2)), format="FLAC"))


@given(st.integers(1, 8), st.integers(1, 8), st.sampled_from([None, 1, 3, 4]), st.integers(0, 2**32 - 1))
def test_an_image_survives_its_png(height: int, width: int, channels: int | None, seed: int) -> None:
    """Pixels come back as they were."""
    shape = (height, width) if channels is None else (height, width, channels)
    array = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    with Image.open(io.BytesIO(media.encode_png(array))) as image:
        assert np.array_equal(np.asarray(image), array.reshape(height, width) if channels == 1 else array)


@pytest.mark.parametrize(
    "array", [np.zeros((2, 2, 3)), np.zeros((2, 2, 2), np.uint8), np.zeros(4, np.uint8), np.zeros((0, 2, 3), np.uint8)]
)
def test_what_is_no_image_is_not_written(array: np.ndarray) -> None:
    """Floats, two channels, one dimension, no pixels."""
    with pytest.raises(Mismatch, match="must be"):
        media.encode_png(array)


def test_sound_survives_its_wav_and_is_never_wrapped() -> None:
    """16 bits are exact enough, and what is too loud is clipped."""
    audio = media.decode_audio(media.encode_wav(Audio(np.array([[0.5], [-0.25], [1.5]], np.float32), 16000)))
    assert audio.sample_rate_hz == 16000
    assert np.abs(audio.samples[:, 0] - [0.5, -0.25, 1.0]).max() < 1e-4
    for bad in (np.array([np.inf], np.float32), np.zeros((1, 1, 1), np.float32)):
        with pytest.raises(Mismatch):
            media.encode_wav(Audio(bad, 16000))


@given(st.binary(max_size=64))
def test_bytes_survive_base64_and_data_urls(data: bytes) -> None:
    """Both spellings give the bytes."""
    text = media.to_base64(data)
    assert base64.b64decode(text) == data
    assert media.from_text(text) == data
    assert media.from_text(f"data:image/png;base64,{text}") == data


@pytest.mark.parametrize(
    "value", ["?", "YWJ", "YWJj\n", "data:image/png,abc", "data:;base64", "https://x/y.png", 7, None, "é"]
)
def test_other_texts_are_refused(value: object) -> None:
    """Broken base64, plain data URLs, addresses, and what is no text."""
    with pytest.raises(Mismatch, match="must be"):
        media.from_text(value)

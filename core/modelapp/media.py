"""Images and audio between bytes and arrays, and bytes inside JSON. Pillow and soundfile load when first needed."""

import base64
import binascii
import io
import struct
from typing import TYPE_CHECKING, Any

import attrs

from modelapp import bombs
from modelapp.fieldtype import is_url
from modelapp.mismatch import Mismatch, quoted, wrong_type

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

MAX_PIXELS = 50_000_000
"""An image of more pixels is refused before it is decoded: a small file may unfold into gigabytes."""
MAX_SAMPLES = 60_000_000
"""Audio of more samples (frames times channels) is refused: over 20 minutes of CD stereo."""
_STRIP_PIXELS = 1_000_000
_IMAGE_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
_UNKNOWN_SIZES = frozenset({0, 0xFFFFFFFF, 0x7FFFFFFF, 0xFFFFFFFE})


@attrs.frozen(eq=False)
class Audio:
    """Decoded sound: `samples` is float32 [frames, channels] between -1 and 1."""

    samples: "NDArray[np.float32]"
    sample_rate_hz: int

    @property
    def seconds(self) -> float:
        """Its length."""
        return len(self.samples) / self.sample_rate_hz


def decode_image(data: bytes, *, max_side_px: int | None = None) -> "NDArray[np.uint8]":
    """An image file as uint8 [height, width, 3] RGB, turned upright as its EXIF says.

    Raises Mismatch where it is no image, cut, larger than `max_side_px` on a side, or past MAX_PIXELS.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    bombs.refuse_bytes(data)
    try:
        with Image.open(io.BytesIO(data), formats=_IMAGE_FORMATS) as image:
            _check_size(image.size, max_side_px)
            bombs.refuse_header(image)
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
            return _to_rgb(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise Mismatch(f"must have at most {MAX_PIXELS} pixels") from None
    except Mismatch:
        raise
    except Exception as error:  # decoders meet hostile bytes with errors of every class
        known = isinstance(error, UnidentifiedImageError)
        what = f"is not an image of a known format ({', '.join(_IMAGE_FORMATS)})" if known else "is a damaged image"
        raise Mismatch(f"{what}; got {len(data)} bytes") from None


def _check_size(size: tuple[int, int], max_side_px: int | None) -> None:
    width, height = size
    if max_side_px is not None and max(size) > max_side_px:
        raise Mismatch(f"must be at most {max_side_px} pixels on each side, got {width} x {height}")
    if width * height > MAX_PIXELS:
        raise Mismatch(f"must have at most {MAX_PIXELS} pixels, got {width} x {height}")


def _to_rgb(image: "Image.Image") -> "NDArray[np.uint8]":
    """Strip by strip: the whole of it in each form on the way would take four times the memory."""
    import numpy as np

    width, height = image.size
    rgb: NDArray[np.uint8] = np.empty((height, width, 3), np.uint8)
    rows = max(1, _STRIP_PIXELS // width)
    for top in range(0, height, rows):
        strip = image if rows >= height else image.crop((0, top, width, min(top + rows, height)))
        rgb[top : top + rows] = _strip_to_rgb(strip)
    return rgb


def _strip_to_rgb(image: "Image.Image") -> "NDArray[Any]":
    import numpy as np

    if image.mode in ("I", "F"):
        raise Mismatch(f"must have 8 or 16 bits a channel, got an image of mode {image.mode}")
    if image.mode.startswith("I;16"):  # Pillow would clip instead of scale
        grey = (np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)
        return np.repeat(grey[:, :, np.newaxis], 3, axis=2)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def decode_audio(data: bytes, *, max_seconds: float | None = None) -> Audio:
    """A sound file (WAV, FLAC, OGG, MP3) as samples.

    Raises Mismatch where it is no sound, cut, longer than `max_seconds`, or holds NaN or infinity.
    """
    import numpy as np
    import soundfile  # type: ignore[import-untyped]  # it ships no types

    try:
        with soundfile.SoundFile(io.BytesIO(data)) as sound:
            frames, rate = int(sound.frames), int(sound.samplerate)
            _check_length(frames, rate, int(sound.channels), max_seconds)
            samples = np.asarray(sound.read(dtype="float32", always_2d=True), dtype=np.float32)
            cut = len(samples) < frames and sound.format != "MP3"  # an MP3's length is an estimate
    except (soundfile.LibsndfileError, RuntimeError, OSError, ValueError):
        raise Mismatch(f"is not audio of a known format (WAV, FLAC, OGG, MP3); got {len(data)} bytes") from None
    if cut or not len(samples) or _wav_is_cut(data):
        raise Mismatch(f"is cut or empty audio; got {len(data)} bytes")
    if not np.isfinite(samples).all():
        raise Mismatch("holds samples that are NaN or infinite")
    return Audio(samples, rate)


def _check_length(frames: int, rate: int, channels: int, max_seconds: float | None) -> None:
    if max_seconds is not None and frames > max_seconds * rate:
        raise Mismatch(f"must be at most {max_seconds:g} seconds long, got {frames / rate:.2f}")
    if frames * channels > MAX_SAMPLES:
        raise Mismatch(f"must have at most {MAX_SAMPLES} samples, got {frames * channels}")


def _wav_is_cut(data: bytes) -> bool:
    """libsndfile shortens a cut WAV silently; its header still tells the length it should have."""
    if len(data) < 12 or data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        return False
    declared = int(struct.unpack_from("<I", data, 4)[0])
    return declared not in _UNKNOWN_SIZES and declared + 8 > len(data) + 1  # the last pad byte is often left out


def encode_png(image: "NDArray[Any]") -> bytes:
    """uint8 [height, width], [height, width, 1], [.., 3] or [.., 4] as PNG. Raises Mismatch for anything else."""
    import numpy as np
    from PIL import Image

    array = image[:, :, 0] if image.ndim == 3 and image.shape[2] == 1 else image
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise wrong_type("image (uint8 [height, width, 3])", image)
    if not array.size:
        raise Mismatch("must be an image with pixels, got none")
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(array)).save(file, "PNG", compress_level=1)
    return file.getvalue()


def encode_wav(audio: Audio) -> bytes:
    """16-bit WAV. Raises Mismatch for samples that are not finite or not [frames] or [frames, channels]."""
    import numpy as np
    import soundfile

    samples = np.asarray(audio.samples, dtype=np.float32)
    if samples.ndim not in (1, 2):
        raise wrong_type("audio samples [frames, channels]", samples)
    if not np.isfinite(samples).all():
        raise Mismatch("holds samples that are NaN or infinite")
    file = io.BytesIO()
    soundfile.write(file, np.clip(samples, -1.0, 1.0), audio.sample_rate_hz, format="WAV", subtype="PCM_16")
    return file.getvalue()


def to_base64(data: bytes) -> str:
    """Base64 text."""
    return base64.b64encode(data).decode("ascii")


def from_text(value: Any) -> bytes:
    """Bytes out of base64 text or a base64 data URL. Raises Mismatch."""
    if not isinstance(value, str):
        raise wrong_type("base64 text or a data URL", value)
    text = value
    if is_url(value):
        raise Mismatch("must be base64 text or a data URL: a URL is fetched only from what its allow_hosts lists")
    if value.startswith("data:"):
        head, comma, text = value.partition(",")
        if not comma or not head.endswith(";base64"):
            raise Mismatch("must be a data URL with ;base64, before its data")
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except (binascii.Error, ValueError) as error:
        reason = str(error).lower()
        raise Mismatch("must be base64 text or a data URL", got=f", got {quoted(text)} ({reason})") from None

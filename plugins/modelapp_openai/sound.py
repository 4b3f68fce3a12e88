"""Sound as bytes, in the formats that are known by OpenAI's words."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from modelapp.errors import InvalidInput, ModelFailed
from modelapp.media import Audio, encode_wav

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_TYPES = {"mp3": "audio/mpeg", "opus": "audio/ogg", "flac": "audio/flac", "wav": "audio/wav", "pcm": "audio/pcm"}
_WRITTEN_AS = {"mp3": ("MP3", "MPEG_LAYER_III"), "opus": ("OGG", "OPUS"), "flac": ("FLAC", "PCM_16")}
_LOUDEST = 32767


def formats() -> Sequence[str]:
    """What can be written here: MP3 and Opus need a libsndfile that has them."""
    import soundfile  # type: ignore[import-untyped]  # it ships no types

    def is_there(name: str) -> bool:
        kind, subtype = _WRITTEN_AS[name]
        return kind in soundfile.available_formats() and subtype in soundfile.available_subtypes(kind)

    return [name for name in _TYPES if name not in _WRITTEN_AS or is_there(name)]


def check_format(name: str) -> None:
    """Raise InvalidInput where it cannot be written."""
    if name not in formats():
        told = f'response_format: sound is not written as "{name[:20]}" here; formats: {", ".join(formats())}'
        raise InvalidInput(told, field="response_format")


def write_sound(audio: object, name: str) -> tuple[bytes, str]:
    """The bytes of a model's Audio, and their content type; `pcm` is 16-bit little-endian at the model's own rate.

    Raises ModelFailed where it is no sound, InvalidInput where the format does not know its sample rate.
    """
    import numpy as np

    if not isinstance(audio, Audio):
        raise ModelFailed("the model's answer holds no audio (modelapp.media.Audio)")
    samples = np.asarray(audio.samples, np.float32)
    if samples.ndim not in (1, 2) or not samples.size or not np.isfinite(samples).all():
        raise ModelFailed("the model's audio is not samples [frames, channels] of finite numbers")
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    if name == "wav":
        return encode_wav(audio), _TYPES[name]
    clipped = np.clip(samples, -1.0, 1.0)
    if name == "pcm":
        body = (clipped * _LOUDEST).round().astype("<i2").tobytes()
        return body, f"audio/pcm;rate={audio.sample_rate_hz};channels={channels};bits=16"
    return _written(clipped, audio.sample_rate_hz, name), _TYPES[name]


def _written(samples: "NDArray[np.float32]", rate_hz: int, name: str) -> bytes:
    import soundfile

    file = io.BytesIO()
    kind, subtype = _WRITTEN_AS[name]
    try:
        soundfile.write(file, samples, rate_hz, format=kind, subtype=subtype)
    except (soundfile.LibsndfileError, RuntimeError, ValueError):
        told = f"response_format: {name} does not carry sound of {rate_hz} samples a second; wav, flac and pcm do"
        raise InvalidInput(told, field="response_format") from None
    return file.getvalue()

"""Sound of models as bytes: every format, any number of channels, and what is no sound."""

import io
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from modelapp.errors import InvalidInput, ModelFailed
from modelapp.media import Audio
from modelapp_openai.sound import check_format, formats, write_sound

SAMPLES = npst.arrays(
    np.float32,
    npst.array_shapes(min_dims=2, max_dims=2, max_side=2).map(lambda shape: (shape[0] * 200, shape[1])),
    elements=st.floats(-2, 2, width=32),
)


@given(SAMPLES, st.sampled_from(["wav", "flac", "pcm"]), st.sampled_from([8000, 16000, 44100]))
def test_what_is_written_is_what_was_said(samples: Any, name: str, rate_hz: int) -> None:
    """To the bit that 16 bits tell; what is too loud is cut off, and never turned around."""
    body, kind = write_sound(Audio(samples, rate_hz), name)
    if name == "pcm":
        assert kind == f"audio/pcm;rate={rate_hz};channels={samples.shape[1]};bits=16"
        heard = np.frombuffer(body, "<i2").reshape(samples.shape) / 32767
    else:
        heard, found_hz = soundfile.read(io.BytesIO(body), always_2d=True)
        assert found_hz == rate_hz
    np.testing.assert_allclose(heard, np.clip(samples, -1, 1), atol=1e-4)


@pytest.mark.parametrize("name", ["mp3", "opus", "flac", "wav", "pcm"])
def test_sound_without_an_axis_of_channels_is_mono(name: str) -> None:
    """As many models give it."""
    body, _ = write_sound(Audio(np.zeros(16000, np.float32), 16000), name)
    if name != "pcm":
        assert soundfile.info(io.BytesIO(body)).channels == 1


@pytest.mark.parametrize(
    "audio",
    [None, b"RIFF", Audio(np.full((4, 1), np.nan, np.float32), 8000), Audio(np.zeros((0, 1), np.float32), 8000)],
)
@pytest.mark.parametrize("name", ["mp3", "wav", "pcm"])
def test_what_is_no_sound_is_the_models_failure(audio: Any, name: str) -> None:
    """Nothing of it leaves as a success."""
    with pytest.raises(ModelFailed, match="audio"):
        write_sound(audio, name)


def test_a_format_that_is_not_there_is_refused_with_those_that_are() -> None:
    """AAC has no free encoder here; Opus knows five sample rates."""
    assert formats() == ["mp3", "opus", "flac", "wav", "pcm"]
    with pytest.raises(InvalidInput, match="formats: mp3, opus, flac, wav, pcm"):
        check_format("aac")
    with pytest.raises(InvalidInput, match="22050 samples a second; wav, flac and pcm do"):
        write_sound(Audio(np.zeros((100, 1), np.float32), 22050), "opus")

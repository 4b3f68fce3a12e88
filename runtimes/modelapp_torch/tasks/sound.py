"""Sound as a model hears it: one channel, at its rate."""

from math import gcd

import numpy as np
from numpy.typing import NDArray
from scipy import signal  # type: ignore[import-untyped]  # it ships no types

from modelapp.errors import InvalidInput
from modelapp.media import MAX_SAMPLES, Audio

_RATES_HZ = (1_000, 384_000)
"""Below and above nothing is recorded, and a filter between odd rates would take all the memory."""


def heard(audio: Audio, rate_hz: int) -> NDArray[np.float32]:
    """One channel, the mean of all, at `rate_hz`, brought there by a polyphase filter. Raises InvalidInput."""
    samples = audio.samples.mean(1) if audio.samples.ndim == 2 else audio.samples
    given_hz = audio.sample_rate_hz
    if given_hz == rate_hz:
        return np.ascontiguousarray(samples, np.float32)
    if not _RATES_HZ[0] <= given_hz <= _RATES_HZ[1]:
        raise InvalidInput(
            f'"audio" has {given_hz} samples a second; the model hears {rate_hz},'
            f" and other rates are brought there from {_RATES_HZ[0]} to {_RATES_HZ[1]}",
            field="audio",
        )
    if len(samples) * rate_hz > MAX_SAMPLES * given_hz:
        raise InvalidInput(f'"audio" is {audio.seconds:.0f} s long: too long at {rate_hz} Hz', field="audio")
    shared = gcd(given_hz, rate_hz)
    return np.asarray(signal.resample_poly(samples, rate_hz // shared, given_hz // shared), np.float32)

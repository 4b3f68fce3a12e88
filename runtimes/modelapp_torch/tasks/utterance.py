"""One text to speak: with which voice, how fast, and by which seed; and the sound that comes of it."""

from collections.abc import Collection

import attrs
import numpy as np
from torch import Tensor

from modelapp.errors import InvalidInput
from modelapp.media import Audio
from modelapp_torch.tasks.adapter import Row
from modelapp_torch.tasks.fields import number_of, optional_text, text_of, whole_of
from modelapp_torch.tasks.texts import Encoded, Texts

MOST_SPEED = 10.0
ALONE = "speech is made for one request at a time: what is padded to a longer text's length would sound at its end"


@attrs.frozen
class Utterance:
    """`speed`: 1 is the model's own."""

    text: Encoded
    voice: str
    speed: float
    seed: int


def utterance_of(row: Row, texts: Texts, voices: Collection[str], *, has_speed: bool) -> Utterance:
    """The row, read. The first of `voices` speaks where none is asked for. Raises InvalidInput."""
    text = text_of(row)
    if not text.strip():
        raise InvalidInput('"text" holds nothing that this model can speak', field="text")
    encoded = texts.encode(text)
    voice = optional_text(row, "voice") or next(iter(voices))
    if voice not in voices:
        raise InvalidInput(f'"voice" is {voice!r}; there are {", ".join(voices)}', field="voice")
    speed = number_of(row, "speed", 1.0, low=1 / MOST_SPEED, high=MOST_SPEED)
    if speed != 1 and not has_speed:
        raise InvalidInput('"speed" must be 1: this model speaks at its own', field="speed")
    return Utterance(encoded, voice, speed, whole_of(row, "seed", 0, low=0, high=2**63 - 1))


def spoken(samples: Tensor, rate_hz: int) -> Row:
    """The answer of a row out of samples [length]."""
    return {"audio": Audio(samples.float().cpu().numpy().reshape(-1, 1).astype(np.float32, copy=False), rate_hz)}

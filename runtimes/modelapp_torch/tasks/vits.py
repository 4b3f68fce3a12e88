"""Text to speech by VITS: from characters to sound in one model."""

import contextlib
from collections.abc import Sequence
from typing import Any

import torch

from modelapp.errors import InvalidInput
from modelapp.runtime import Placement
from modelapp_torch import Options
from modelapp_torch.modelfolder import ModelFolder
from modelapp_torch.pretrained import load_pretrained
from modelapp_torch.tasks.adapter import Row
from modelapp_torch.tasks.dice import seeded
from modelapp_torch.tasks.texts import Texts
from modelapp_torch.tasks.utterance import ALONE, Utterance, spoken, utterance_of


class Vits:
    """Its voices are "0" and on; it draws how it stresses a text, and the seed decides that."""

    alone = ALONE
    notes = ()

    def __init__(self, folder: ModelFolder, kind: Any, options: Options, placement: Placement) -> None:
        self.net = load_pretrained(folder, kind, options, placement)
        self._texts = Texts(folder, self.net)
        self._rate_hz = int(self.net.model.config.sampling_rate)
        self._own_speed = float(self.net.model.config.speaking_rate)
        self._voices = tuple(str(voice) for voice in range(max(1, self.net.model.config.num_speakers)))
        try:
            with contextlib.suppress(InvalidInput):  # not every language writes this letter
                self._texts.encode("a")
        except ImportError as error:  # some turn text into sounds by a program of its own
            raise folder.failure(f"its tokenizer cannot work here: {error}", help="install what it names") from error

    def example(self) -> Row:
        """A short text."""
        return {"text": "a text"}

    def prepare(self, row: Row) -> Utterance:
        """The text, its voice, speed and seed. Raises InvalidInput."""
        return utterance_of(row, self._texts, self._voices, has_speed=True)

    def answer(self, prepared: Sequence[Utterance]) -> list[Row]:
        """The sound of each text, one after the other."""
        return [self._speak(utterance) for utterance in prepared]

    def _speak(self, utterance: Utterance) -> Row:
        model, device = self.net.model, self.net.device
        several = len(self._voices) > 1
        speaker = torch.tensor([int(utterance.voice)], device=device) if several else None
        with seeded(utterance.seed, device):
            output = model(
                **self._texts.batch([utterance.text]),
                speaker_id=speaker,
                speaking_rate=self._own_speed * utterance.speed,
            )
        return spoken(output.waveform[0, : int(output.sequence_lengths[0])], self._rate_hz)

"""Text to speech by SpeechT5: a spectrogram step by step, and a vocoder that makes sound of it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch
from torch import Tensor
from transformers import SpeechT5HifiGan

from modelapp.runtime import Placement
from modelapp_torch import Options
from modelapp_torch.modelfolder import ModelFolder, opened
from modelapp_torch.pretrained import load_pretrained
from modelapp_torch.tasks.adapter import Row
from modelapp_torch.tasks.dice import seeded
from modelapp_torch.tasks.texts import Texts
from modelapp_torch.tasks.utterance import ALONE, Utterance, spoken, utterance_of

_VOCODER = "vocoder"


class SpeechT5:
    """`files` of the model names its vocoder's folder, and for each voice a file of numbers (.npy)."""

    alone = ALONE
    notes = ()

    def __init__(self, folder: ModelFolder, kind: Any, options: Options, placement: Placement) -> None:
        files = folder.artefact.files
        voices = {name: path for name, path in files.items() if name != _VOCODER}
        if _VOCODER not in files or not voices:
            raise folder.failure(
                f"{kind.__name__} speaks through a vocoder, in the voice of a vector, and `files` names no"
                f" {'voice' if _VOCODER in files else _VOCODER}",
                help='files = { vocoder = "FOLDER", anna = "anna.npy" }: each name beside the vocoder is a voice',
            )
        self.net = load_pretrained(folder, kind, options, placement)
        vocoder = opened(attrs.evolve(folder.artefact, source=files[_VOCODER]))
        whole = attrs.evolve(options, quantize="off")  # a vocoder is convolutions, which are not quantised
        self._vocoder = load_pretrained(vocoder, SpeechT5HifiGan, whole, placement).model
        self._rate_hz = int(self._vocoder.config.sampling_rate)
        self._voices: Mapping[str, Tensor] = {name: self._voice(folder, path) for name, path in voices.items()}
        self._texts = Texts(folder, self.net)

    def example(self) -> Row:
        """A short text."""
        return {"text": "a text"}

    def prepare(self, row: Row) -> Utterance:
        """The text, its voice and seed. Raises InvalidInput."""
        return utterance_of(row, self._texts, self._voices, has_speed=False)

    def answer(self, prepared: Sequence[Utterance]) -> list[Row]:
        """The sound of each text, one after the other."""
        return [self._speak(utterance) for utterance in prepared]

    def _speak(self, utterance: Utterance) -> Row:
        with seeded(utterance.seed, self.net.device):
            samples = self.net.model.generate_speech(
                **self._texts.batch([utterance.text]),
                speaker_embeddings=self._voices[utterance.voice],
                vocoder=self._vocoder,
            )
        return spoken(samples.reshape(-1), self._rate_hz)

    def _voice(self, folder: ModelFolder, path: Path) -> Tensor:
        size = int(self.net.model.config.speaker_embedding_dim)
        try:
            vector = np.load(path, allow_pickle=False).astype(np.float32).reshape(1, -1)
        except (OSError, ValueError) as error:
            raise folder.failure(f"the voice {path} cannot be read: {error}", help="write it by numpy.save") from None
        if vector.shape[1] != size:
            raise folder.failure(f"the voice {path} has {vector.shape[1]} numbers, and the model takes {size}")
        return torch.from_numpy(vector).to(self.net.device, self.net.model.dtype)

"""Speech to text by CTC: the model names a letter or none for every moment, and the likeliest are read off."""

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
import torch
from torch import Tensor
from transformers import AutoFeatureExtractor, AutoTokenizer

from modelapp.errors import InvalidInput
from modelapp.media import Audio
from modelapp.runtime import Placement
from modelapp_torch import Options
from modelapp_torch.modelfolder import ModelFolder
from modelapp_torch.pretrained import load_part, load_pretrained
from modelapp_torch.tasks.adapter import Row
from modelapp_torch.tasks.fields import audio_of, optional_text, whole_of
from modelapp_torch.tasks.sound import heard

MOST_TOKENS = 1_000_000


@attrs.frozen
class Heard:
    """What the model is fed for one row: [length] or [length, features]."""

    values: Tensor
    max_tokens: int


class Ctc:
    """A model for CTC without a language model behind it."""

    alone = ""
    notes = ()

    def __init__(self, folder: ModelFolder, kind: Any, options: Options, placement: Placement) -> None:
        self.net = load_pretrained(folder, kind, options, placement, unused=_training(kind))
        self._extractor: Any = load_part(folder, AutoFeatureExtractor, "feature extractor")
        self._tokenizer: Any = load_part(folder, AutoTokenizer, "tokenizer")
        config = self.net.model.config
        self._input: str = self.net.model.main_input_name
        self._blank = int(config.pad_token_id)
        # Where the first layer normalises over time, and where a layer reads padding, rows of one length share a run.
        self._pads = config.model_type == "wav2vec2" and config.feat_extract_norm == "layer"

    def example(self) -> Row:
        """A second of silence."""
        rate_hz = self._extractor.sampling_rate
        return {"audio": Audio(np.zeros((rate_hz, 1), np.float32), rate_hz)}

    def prepare(self, row: Row) -> Heard:
        """Features of the sound. Raises InvalidInput."""
        if optional_text(row, "language"):
            raise InvalidInput("this model has one language, and cannot be told another", field="language")
        rate_hz = self._extractor.sampling_rate
        sound = heard(audio_of(row), rate_hz)
        made = self._extractor(sound, sampling_rate=rate_hz, return_tensors="pt")
        values = made[self._input][0].to(self.net.model.dtype)
        if self._moments(len(values)) < 1:
            raise InvalidInput(f'"audio" is too short: {len(sound)} samples at {rate_hz} Hz', field="audio")
        return Heard(values, whole_of(row, "max_tokens", MOST_TOKENS, low=1, high=MOST_TOKENS))

    def answer(self, prepared: Sequence[Heard]) -> list[Row]:
        """The text of each row."""
        groups: dict[Any, list[int]] = {}
        for at, row in enumerate(prepared):
            groups.setdefault(None if self._pads else row.values.shape, []).append(at)
        texts: dict[int, str] = {}
        for places in groups.values():
            texts |= zip(places, self._together([prepared[at] for at in places]), strict=True)
        return [{"text": texts[at]} for at in range(len(prepared))]

    def _together(self, rows: Sequence[Heard]) -> list[str]:
        lengths = torch.tensor([len(row.values) for row in rows])
        fed = {self._input: torch.nn.utils.rnn.pad_sequence([row.values for row in rows], batch_first=True)}
        if self._pads:
            fed["attention_mask"] = (torch.arange(int(lengths.max())) < lengths[:, None]).long()
        logits = self.net.model(**{name: tensor.to(self.net.device) for name, tensor in fed.items()}).logits
        best = logits.argmax(2).cpu()
        return [
            self._read(letters[: self._moments(len(row.values))] if self._pads else letters, row.max_tokens)
            for letters, row in zip(best, rows, strict=True)
        ]

    def _read(self, letters: Tensor, most: int) -> str:
        """A letter said for several moments is one, unless a blank stands between them."""
        single = torch.unique_consecutive(letters)
        tokens = single[single != self._blank][:most].tolist()
        return str(self._tokenizer.decode(tokens, group_tokens=False)) if tokens else ""

    def _moments(self, length: int) -> int:
        """How many letters the model says for an input of this length."""
        counts = getattr(self.net.model, "_get_feat_extract_output_lengths", None)
        return length if counts is None or self._input != "input_values" else int(counts(torch.tensor(length)))


def _training(kind: Any) -> tuple[str, ...]:
    """The vector that hides moments while a model is trained, which many folders lack."""
    return (f"{kind.base_model_prefix}.masked_spec_embed",)

"""Speech to text by Whisper: the model listens to half a minute at a time and writes token by token."""

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
import torch
from torch import Tensor
from transformers import AutoFeatureExtractor, AutoTokenizer
from transformers.models.whisper.tokenization_whisper import TO_LANGUAGE_CODE

from modelapp.errors import InvalidInput
from modelapp.media import Audio
from modelapp.runtime import Placement
from modelapp_torch import Options
from modelapp_torch.modelfolder import ModelFolder
from modelapp_torch.pretrained import load_part, load_pretrained
from modelapp_torch.tasks.adapter import Row
from modelapp_torch.tasks.fields import audio_of, optional_text, whole_of
from modelapp_torch.tasks.sound import heard

_BEGINNING = 8
"""Tokens kept free for what stands before the text: start, language, task, timestamps."""


@attrs.frozen
class Heard:
    """What the model is fed for one row: `features` [1, mel, frames], and their mask where they are long ones."""

    features: Tensor
    mask: Tensor | None
    language: str
    max_tokens: int


class Whisper:
    """Rows of up to half a minute share a run; a longer one is heard by itself, window after window."""

    alone = ""
    notes = ()

    def __init__(self, folder: ModelFolder, kind: Any, options: Options, placement: Placement) -> None:
        self.net = load_pretrained(folder, kind, options, placement)
        self._extractor: Any = load_part(folder, AutoFeatureExtractor, "feature extractor")
        self._tokenizer: Any = load_part(folder, AutoTokenizer, "tokenizer")
        self._config: Any = self.net.model.generation_config
        self._special = frozenset(self._tokenizer.all_special_ids)
        self._first_time = getattr(self._config, "no_timestamps_token_id", None)
        self._most = self.net.model.config.max_target_positions - _BEGINNING
        if self._extractor.nb_max_frames != 2 * self.net.model.config.max_source_positions:
            raise folder.failure(
                f"its feature extractor makes {self._extractor.nb_max_frames} frames, and the model hears"
                f" {2 * self.net.model.config.max_source_positions}",
                help="preprocessor_config.json and config.json are of two models: copy both anew from one",
            )

    def example(self) -> Row:
        """A second of silence."""
        rate_hz = self._extractor.sampling_rate
        return {"audio": Audio(np.zeros((rate_hz, 1), np.float32), rate_hz)}

    def prepare(self, row: Row) -> Heard:
        """The spectrogram of the sound. Raises InvalidInput."""
        audio = audio_of(row)
        rate_hz = self._extractor.sampling_rate
        language = self._language(optional_text(row, "language"))
        max_tokens = whole_of(row, "max_tokens", self._most, low=1, high=self._most)
        sound = heard(audio, rate_hz)
        is_long = len(sound) > self._extractor.n_samples
        if is_long and self._first_time is None:
            raise InvalidInput(
                f'"audio" is {audio.seconds:.1f} s long, and this model hears {self._extractor.chunk_length} s at most:'
                " its generation_config.json has no timestamps",
                field="audio",
            )
        longer = {"truncation": False, "padding": "longest", "return_attention_mask": True} if is_long else {}
        made = self._extractor(sound, sampling_rate=rate_hz, return_tensors="pt", **longer)
        features = made["input_features"].to(self.net.model.dtype)
        return Heard(features, made["attention_mask"] if is_long else None, language, max_tokens)

    def answer(self, prepared: Sequence[Heard]) -> list[Row]:
        """The text of each row."""
        groups: dict[tuple[str, int, int], list[int]] = {}
        for at, row in enumerate(prepared):
            groups.setdefault((row.language, row.max_tokens, 0 if row.mask is None else at + 1), []).append(at)
        texts: dict[int, str] = {}
        for places in groups.values():
            texts |= zip(places, self._together([prepared[at] for at in places]), strict=True)
        return [{"text": texts[at]} for at in range(len(prepared))]

    def _together(self, rows: Sequence[Heard]) -> list[str]:
        """The texts of rows with one language and bound, or of one long row."""
        first = rows[0]
        device = self.net.device
        told: dict[str, Any] = {"max_new_tokens": first.max_tokens}
        if first.mask is not None:
            told |= {"attention_mask": first.mask.to(device), "return_timestamps": True}
        if getattr(self._config, "is_multilingual", False):
            told |= {"task": "transcribe", "language": first.language or None}
        features = torch.cat([row.features for row in rows]).to(device)
        written = self.net.model.generate(input_features=features, **told).cpu()
        return [self._read(tokens.tolist(), first.max_tokens) for tokens in written]

    def _read(self, tokens: Sequence[int], most: int) -> str:
        """The text without what is said about it: special tokens, and the times behind the last of them."""
        last = len(self._tokenizer) if self._first_time is None else self._first_time
        said = [token for token in tokens if token not in self._special and token < last]
        return str(self._tokenizer.decode(said[:most])).strip()

    def _language(self, asked: str) -> str:
        """Its code, "" for whatever is heard. Raises InvalidInput naming those that there are."""
        if not asked:
            return ""
        code = TO_LANGUAGE_CODE.get(asked.lower(), asked.lower())
        if not getattr(self._config, "is_multilingual", False):
            known = ["en"]
        else:
            known = sorted(token.strip("<|>") for token in getattr(self._config, "lang_to_id", {}))
        if code not in known:
            raise InvalidInput(f'"language" is {asked!r}; this model knows {", ".join(known)}', field="language")
        return code

"""Texts as a model reads them: tokens, never cut, padded at the right to one length."""

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoTokenizer

from modelapp.errors import InvalidInput
from modelapp_torch.modelfolder import ModelFolder
from modelapp_torch.pretrained import Pretrained, load_part

_UNBOUNDED = 10**9
"""A tokenizer without a bound says a number far over this one."""


@attrs.frozen
class Encoded:
    """One text. `words` and `spans` are empty without `places`: each token's word, and its characters from, to."""

    tokens: Sequence[int]
    text: str = ""
    words: Sequence[int | None] = ()
    spans: Sequence[tuple[int, int]] = ()


class Texts:
    """A model's tokenizer, with the bounds that its model sets."""

    def __init__(self, folder: ModelFolder, net: Pretrained, *, prefix: str = "", lower: bool = False) -> None:
        self._tokenizer: Any = load_part(folder, AutoTokenizer, "tokenizer")
        self._prefix, self._lower = prefix, lower
        self._device = net.device
        self._vocabulary = int(net.model.config.get_text_config().vocab_size)
        self.positions = _positions(folder, net.model, self._tokenizer)
        self._padding = self._tokenizer.pad_token_id or 0
        if len(self._tokenizer) > self._vocabulary:
            raise folder.failure(
                f"its tokenizer has {len(self._tokenizer)} tokens, and the model {self._vocabulary}",
                help="tokenizer and model are of two models: copy both anew from one",
            )

    @property
    def has_places(self) -> bool:
        """Whether it can tell where in the text a token stands."""
        return bool(self._tokenizer.is_fast)

    def encode(self, text: str, *, places: bool = False) -> Encoded:
        """The tokens of a text, special ones around it. Raises InvalidInput where they are none or too many."""
        made = self._tokenizer(
            self._prefix + (text.lower() if self._lower else text),
            return_offsets_mapping=places,
            return_attention_mask=False,
            verbose=False,
        )
        tokens = made["input_ids"]
        self._check_length(tokens)
        return Encoded(tokens, text, made.word_ids(), made["offset_mapping"]) if places else Encoded(tokens, text)

    def given(self, tokens: Any) -> Encoded:
        """Token ids as a client sends them, special ones and all. Raises InvalidInput."""
        if isinstance(tokens, np.ndarray):
            tokens = tokens.tolist()
        if not isinstance(tokens, list | tuple) or not all(type(token) is int for token in tokens):
            raise InvalidInput('"text" must be a str or a list of token ids', field="text")
        if odd := [token for token in tokens if not 0 <= token < self._vocabulary]:
            raise InvalidInput(f'"text" holds the token {odd[0]}; they are 0 to {self._vocabulary - 1}', field="text")
        self._check_length(tokens)
        return Encoded(tokens)

    def batch(self, texts: Sequence[Encoded]) -> dict[str, Tensor]:
        """input_ids and attention_mask, [texts, the longest one]."""
        longest = max(len(text.tokens) for text in texts)
        ids = torch.full((len(texts), longest), self._padding, dtype=torch.int64)
        mask = torch.zeros_like(ids)
        for row, text in enumerate(texts):
            ids[row, : len(text.tokens)] = torch.tensor(text.tokens)
            mask[row, : len(text.tokens)] = 1
        return {"input_ids": ids.to(self._device), "attention_mask": mask.to(self._device)}

    def _check_length(self, tokens: Sequence[int]) -> None:
        if not tokens:
            raise InvalidInput('"text" holds no token for this model', field="text")
        if len(tokens) > self.positions:
            raise InvalidInput(
                f'"text" has {len(tokens)} tokens, and the model reads {self.positions} at most', field="text"
            )


def _positions(folder: ModelFolder, model: Any, tokenizer: Any) -> int:
    """The most tokens of a text: what the positions, the tokenizer and the sentence encoder's own bound leave."""
    said = [
        getattr(model.config.get_text_config(), "max_position_embeddings", None),
        getattr(model.config, "max_text_positions", None),
        tokenizer.model_max_length,
        (folder.read_json("sentence_bert_config.json") or {}).get("max_seq_length"),
    ]
    bounds = [int(bound) for bound in said if bound and 0 < bound < _UNBOUNDED]
    for name, part in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(part, nn.Embedding):
            # A table with a place for padding counts from the place behind that.
            bounds.append(part.num_embeddings - (0 if part.padding_idx is None else part.padding_idx + 1))
    return min(bounds, default=_UNBOUNDED)

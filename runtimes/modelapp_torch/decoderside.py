"""What the decoder of an encoder-decoder model must be told when many of its answers run in one pass."""

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import attrs
import torch
from transformers import DynamicCache, EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput

from modelapp_torch.modelfolder import ModelFolder
from modelapp_torch.slotattention import LayerShape, Plain, Probe, during


@attrs.frozen
class Beginning:
    """The tokens that every answer begins with, and those that never come in one."""

    tokens: tuple[int, ...]
    never: tuple[int, ...]


def beginning_of(folder: ModelFolder, model: Any) -> Beginning:
    """As the model's generation settings have it. Raises LoadError where no start is named."""
    settings = (model.generation_config, model.config)

    def setting(name: str) -> Any:
        return next((found for one in settings if (found := getattr(one, name, None)) is not None), None)

    start = setting("decoder_start_token_id")
    start = setting("bos_token_id") if start is None else start
    if not isinstance(start, int):
        raise folder.failure(
            "its config names no decoder_start_token_id, by which an answer begins",
            help="write it into generation_config.json, as the model's own documentation says",
        )
    forced = setting("forced_bos_token_id")
    alone = [words[0] for words in setting("bad_words_ids") or () if len(words) == 1]
    return Beginning(
        (start,) if forced is None else (start, forced),
        tuple(dict.fromkeys([*(setting("suppress_tokens") or ()), *alone])),
    )


class _Passing(DynamicCache):
    """Keeps nothing: attention itself does."""

    def update(self, key_states: Any, value_states: Any, *_: Any, **__: Any) -> tuple[Any, Any]:
        """What was handed in."""
        return key_states, value_states


class KnownSource:
    """Makes a decoder believe that keys and values of the source are there, so that none are made; attention has them.

    `given` are arguments of a model's forward.
    """

    def __init__(self, model: Any, shapes: list[LayerShape], device: torch.device) -> None:
        crossed = DynamicCache()
        for layer, shape in enumerate(shape for shape in shapes if shape.crossed):
            keys = torch.zeros(1, shape.heads, 1, shape.key_width, dtype=model.dtype, device=device)
            values = torch.zeros(1, shape.heads, 1, shape.value_width, dtype=model.dtype, device=device)
            crossed.update(keys, values, layer)
        width = model.get_input_embeddings().weight.shape[1]
        hidden = torch.zeros(1, 1, width, dtype=model.dtype, device=device)
        cache = EncoderDecoderCache(_Passing(), crossed)
        self.given: Mapping[str, Any] = {
            "encoder_outputs": BaseModelOutput(last_hidden_state=hidden),
            "cache": cache,
            "use_cache": True,
        }


def read_source(model: Any, ids: torch.Tensor, starts: torch.Tensor, probe: Probe) -> None:
    """Run the encoder over a source [1, tokens], and the decoder over `starts`, whose attention `probe` looks at."""
    with during(Plain()):
        read = model.get_encoder()(ids)
    with during(probe):
        model(encoder_outputs=read, decoder_input_ids=starts, use_cache=False)


class Places:
    """Tells a decoder that counts its tokens itself where each of them is; without effect on one that does not."""

    def __init__(self, decoder: Any) -> None:
        self._now: torch.Tensor | None = None
        counting = getattr(decoder, "embed_positions", None)
        if counting is not None and "position_ids" in inspect.signature(counting.forward).parameters:
            counting.register_forward_pre_hook(self._tell, with_kwargs=True)

    def _tell(self, _module: Any, given: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, Any] | None:
        return None if self._now is None else (given, named | {"position_ids": self._now})

    @contextmanager
    def being(self, places: torch.Tensor) -> Iterator[None]:
        """Within, the tokens are at these places, [tokens]."""
        self._now = places
        try:
            yield
        finally:
            self._now = None

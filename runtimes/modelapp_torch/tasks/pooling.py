"""How the vectors of a text's tokens become one, as the files of sentence-transformers in a folder say."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import torch
from torch import Tensor

from modelapp_torch.modelfolder import ModelFolder

Pool = Callable[[Tensor, Tensor], Tensor]


def _first(states: Tensor, mask: Tensor) -> Tensor:
    return states[:, 0]


def _last(states: Tensor, mask: Tensor) -> Tensor:
    ends = mask.sum(1) - 1
    return states[torch.arange(len(states), device=states.device), ends]


def _greatest(states: Tensor, mask: Tensor) -> Tensor:
    return states.masked_fill(mask.unsqueeze(2) == 0, float("-inf")).amax(1)


def _sum(states: Tensor, mask: Tensor) -> Tensor:
    return (states * mask.unsqueeze(2)).sum(1)


def _mean(states: Tensor, mask: Tensor) -> Tensor:
    return _sum(states, mask) / mask.sum(1, keepdim=True)


def _mean_root(states: Tensor, mask: Tensor) -> Tensor:
    return _sum(states, mask) / mask.sum(1, keepdim=True).sqrt()


def _weighted_mean(states: Tensor, mask: Tensor) -> Tensor:
    weights = mask * torch.arange(1, mask.shape[1] + 1, device=mask.device)
    return _sum(states, weights) / weights.sum(1, keepdim=True)


_WAYS: Mapping[str, Pool] = {
    "cls_token": _first,
    "max_tokens": _greatest,
    "mean_tokens": _mean,
    "mean_sqrt_len_tokens": _mean_root,
    "weightedmean_tokens": _weighted_mean,
    "lasttoken": _last,
}
"""In the order in which sentence-transformers puts several of them behind one another."""
_SHORT = {"cls": "cls_token", "max": "max_tokens", "mean": "mean_tokens", "weightedmean": "weightedmean_tokens"}
_IGNORED = ("Transformer", "Pooling", "Normalize")


@attrs.frozen(kw_only=True)
class Pooling:
    """From states [rows, tokens, size] and a mask [rows, tokens] to vectors [rows, size], float32."""

    ways: tuple[str, ...] = ("mean_tokens",)
    normalize: bool = True
    prefix: str = ""
    """What stands before every text."""
    lower: bool = False
    notes: tuple[str, ...] = ()

    def __call__(self, states: Tensor, mask: Tensor) -> Tensor:
        """One vector a row."""
        states = states.float()
        vectors = torch.cat([_WAYS[way](states, mask) for way in self.ways], 1)
        return torch.nn.functional.normalize(vectors, dim=1) if self.normalize else vectors


def pooling_of(folder: ModelFolder) -> Pooling:
    """What the folder's modules.json says; the normalised mean where it has none.

    Raises LoadError where it names a step that is not known here.
    """
    modules = folder.read_json("modules.json")
    if modules is None:
        note = "no modules.json in the folder: an embedding is the mean over the tokens, of length 1"
        return Pooling(notes=(note,))
    kinds = {str(module["type"]).rpartition(".")[2]: str(module["path"]) for module in modules}
    if odd := sorted(set(kinds) - set(_IGNORED)):
        raise folder.failure(
            f"modules.json has the step {odd[0]}, and this task knows {', '.join(_IGNORED)}",
            help="serve the model by a class of your own",
        )
    told = folder.read_json("config_sentence_transformers.json") or {}
    return Pooling(
        ways=_ways(folder, kinds.get("Pooling")),
        normalize="Normalize" in kinds,
        prefix=(told.get("prompts") or {}).get(told.get("default_prompt_name"), ""),
        lower=bool((folder.read_json("sentence_bert_config.json") or {}).get("do_lower_case")),
    )


def _ways(folder: ModelFolder, path: str | None) -> tuple[str, ...]:
    if path is None:
        raise folder.failure("modules.json has no step Pooling, so that a text has no one vector")
    config: Mapping[str, Any] = folder.read_json(f"{path}/config.json") or {}
    said = config.get("pooling_mode")
    names: Sequence[str] = [said] if isinstance(said, str) else said or ()
    ways = {_SHORT.get(name, name) for name in names} | {
        key.removeprefix("pooling_mode_") for key, on in config.items() if on is True and "pooling_mode_" in key
    }
    if not ways or ways - set(_WAYS):
        raise folder.failure(
            f"{path}/config.json asks for the pooling {', '.join(sorted(ways - set(_WAYS))) or 'of nothing'}",
            help=f"known are {', '.join(_WAYS)}",
        )
    return tuple(way for way in _WAYS if way in ways)

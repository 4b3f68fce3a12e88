"""Writes a decoder of transformers as an ONNX graph that reads and writes many sequences in one run.

All linear layers work on flat tokens. Attention works in groups, each on a part of a cache that it updates in place:
`rows`, one new token for each row of a range of the cache, and CHUNKS groups of one row with any number of new tokens.
An index says which tokens a group takes, another which of the groups' answers belongs to which token; so a group that
has nothing to do repeats any token and is read by nobody.
"""

import json
from collections.abc import Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import attrs
import torch
from transformers import AttentionInterface, AttentionMaskInterface

from modelapp.errors import LoadError
from modelapp_torch.failures import reason
from modelapp_torch.quiet import quietly

CHUNKS = 4
"""Sequences that may be fed more than one token in one run: further ones take another run."""
METADATA = "modelapp.generation"
"""The key of the ONNX file under which it describes itself to whoever generates with it."""
_NAME = "modelapp_grouped"
_INLINE_BYTES = 1_500_000_000
"""Larger weights lie beside the file: a protobuf message holds 2 GB at most."""
_TOLERANCE = 1e-3
"""How far logits may differ, in parts of their range: the same sums in another order."""
_OTHERWISE = "serve it with the torch runtime"
_PLAIN = frozenset({"dropout", "scaling", "sliding_window", "softcap", "is_causal", "position_ids", "use_cache"})


@attrs.frozen
class _Layer:
    """What the attention of one layer is called with."""

    heads: int
    kv_heads: int
    head_size: int


@attrs.frozen
class _Group:
    """Tokens `index` of the run, the row lengths before them less one plus theirs, the longest, and the caches."""

    index: Any
    lengths: Any
    total: Any
    caches: Sequence[tuple[Any, Any]]
    """Of each layer, keys and values [rows, kv_heads, capacity, head_size]."""


class _Trial:
    """Attention by its definition over sequences that lie one behind the other, while its shapes are noted."""

    def __init__(self, lengths: Sequence[int]) -> None:
        self.layers: dict[int, _Layer] = {}
        owner = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
        self._seen = (owner.unsqueeze(0) == owner.unsqueeze(1)).tril()

    def __call__(self, layer: int, query: Any, key: Any, value: Any, attributes: dict[str, Any]) -> Any:
        self.layers[layer] = _Layer(query.shape[1], key.shape[1], query.shape[3])
        if value.shape[3] != key.shape[3]:
            raise LoadError("its attention has values of another size than its keys, which the ONNX graph cannot hold")
        shared = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(shared, 1), value.repeat_interleave(shared, 1)
        scores = query @ key.transpose(2, 3) * attributes["scale"]
        if cap := attributes.get("softcap"):
            scores = cap * torch.tanh(scores / cap)
        seen = self._seen & ~self._seen.tril(-attributes.get("local_window_size", len(self._seen)))
        return (scores.masked_fill(~seen, -torch.inf).softmax(-1) @ value).transpose(1, 2)


class _Grouped:
    """Attention as nodes of the graph, group by group."""

    def __init__(self, groups: Sequence[_Group], order: Any) -> None:
        self._groups = groups
        self._order = order
        self.presents: dict[int, list[Any]] = {}

    def __call__(self, layer: int, query: Any, key: Any, value: Any, attributes: dict[str, Any]) -> Any:
        heads, tokens, size = query.shape[1:]
        flat = [part.transpose(1, 2).reshape(tokens, -1) for part in (query, key, value)]
        packed = torch.cat(flat, -1)
        answers, self.presents[layer] = [], []
        for number, group in enumerate(self._groups):
            taken = packed.index_select(0, group.index)
            taken = taken.unsqueeze(0) if number else taken.unsqueeze(1)
            keys, values = group.caches[layer]
            answer, *present = torch.onnx.ops.symbolic_multi_out(
                "com.microsoft::GroupQueryAttention",
                [taken, None, None, keys, values, group.lengths, group.total],
                attributes | {"num_heads": heads, "kv_num_heads": key.shape[1]},
                dtypes=(taken.dtype,) * 3,
                shapes=((taken.shape[0], taken.shape[1], heads * size), keys.shape, values.shape),
                version=1,
            )
            answers.append(answer.reshape(-1, heads * size))
            self.presents[layer] += present
        return torch.cat(answers, 0).index_select(0, self._order).reshape(1, tokens, heads, size)


_attention: ContextVar[_Trial | _Grouped] = ContextVar("attention of the model that is being written")


def _attend(module: Any, query: Any, key: Any, value: Any, attention_mask: Any, **given: Any) -> tuple[Any, None]:
    """Implements the attention function of transformers: query [1, heads, tokens, head_size] and so on."""
    odd = sorted(name for name, what in given.items() if name not in _PLAIN and what is not None and what is not False)
    if attention_mask is not None or odd:
        what = f"`{odd[0]}`" if odd else "a mask of its own"
        raise LoadError(f"its attention takes {what}, which the ONNX graph has no place for")
    scale = given.get("scaling")
    attributes: dict[str, Any] = {"scale": float(query.shape[-1] ** -0.5 if scale is None else scale)}
    if window := given.get("sliding_window"):
        attributes["local_window_size"] = int(window)
    if cap := given.get("softcap"):
        attributes["softcap"] = float(cap)
    return _attention.get()(module.layer_idx, query, key, value, attributes), None


def _no_mask(*_: Any, **__: Any) -> None:
    """Implements the mask function of transformers: causality is the attention's own."""


AttentionInterface.register(_NAME, _attend)
AttentionMaskInterface.register(_NAME, _no_mask)


class _Graph(torch.nn.Module):
    """The model as its graph is: flat tokens and their positions in, logits of the `wanted` ones out."""

    def __init__(self, model: Any, layers: int) -> None:
        super().__init__()
        self.model = model
        self._layers = layers

    def forward(
        self,
        tokens: torch.Tensor,
        positions: torch.Tensor,
        wanted: torch.Tensor,
        order: torch.Tensor,
        groups: Any,
        caches: Any,
    ) -> tuple[torch.Tensor, list[list[torch.Tensor]]]:
        """`groups`: index, lengths and total of each; `caches`: of each layer, keys and values of each group."""
        made = [
            _Group(index, lengths, total, [layer[at] for layer in caches])
            for at, (index, lengths, total) in enumerate(groups)
        ]
        grouped = _Grouped(made, order)
        reset = _attention.set(grouped)
        try:
            answer = self.model(
                input_ids=tokens.unsqueeze(0),
                position_ids=positions.unsqueeze(0),
                use_cache=False,
                logits_to_keep=wanted,
            )
        finally:
            _attention.reset(reset)
        return answer.logits.squeeze(0), [grouped.presents[layer] for layer in range(self._layers)]


def export_generating(model: Any, folder: Path) -> Sequence[str]:
    """Write `model`, a decoder of transformers with float32 weights, as model.onnx into `folder`; notes.

    Its attention is exchanged for good. Raises LoadError, without the model's name, where it cannot be written so.
    """
    model.eval()
    kinds = {str(weight.dtype).removeprefix("torch.") for weight in model.parameters()}
    if kinds != {"float32"}:
        raise LoadError(f"its weights are {', '.join(sorted(kinds))}", help='load it with dtype = "float32"')
    layers, vocabulary = _tried(model)
    program = _exported(model, layers)
    program.model.metadata_props[METADATA] = json.dumps(_facts(model, layers, vocabulary))
    large = sum(weight.nbytes for weight in model.parameters()) > _INLINE_BYTES
    folder.mkdir(parents=True, exist_ok=True)
    program.save(str(folder / "model.onnx"), external_data=large)
    return ("weights beside model.onnx, in model.onnx.data: keep the two together",) if large else ()


def _tried(model: Any) -> tuple[Sequence[_Layer], int]:
    """Exchange the attention; the layers that have it, and the vocabulary.

    Two sequences in one run must be answered as each alone by the model as it was: so nothing but the attention looks
    at other tokens, and it is the one that the graph computes. Raises LoadError.
    """
    pair = [torch.arange(9) % model.config.get_text_config().vocab_size, torch.arange(5) + 1]
    trial = _Trial([len(one) for one in pair])
    with torch.inference_mode():
        wanted = torch.cat([model(input_ids=one.unsqueeze(0), use_cache=False).logits[0] for one in pair])
        model.set_attn_implementation(_NAME)
        positions = torch.cat([torch.arange(len(one)) for one in pair])
        reset = _attention.set(trial)
        try:
            flat = torch.cat(pair).unsqueeze(0)
            found = model(input_ids=flat, position_ids=positions.unsqueeze(0), use_cache=False).logits[0]
        except LoadError:
            raise
        except Exception as error:  # of code that nobody here has seen
            why = f"{type(model).__name__} raises with its attention exchanged: {reason(error)}"
            raise LoadError(why, help=_OTHERWISE) from error
        finally:
            _attention.reset(reset)
    layers = [trial.layers[at] for at in sorted(trial.layers)]
    if not layers:
        raise LoadError(
            f"the attention of {type(model).__name__} is code of its own, which cannot be exchanged for the graph's",
            help=_OTHERWISE,
        )
    if sorted(trial.layers) != list(range(len(layers))) or len(set(layers)) > 1:
        raise LoadError(f"the layers of {type(model).__name__} differ, which the graph cannot hold", help=_OTHERWISE)
    off = float((found - wanted).abs().max() / (wanted.max() - wanted.min()))
    if not off < _TOLERANCE:
        raise LoadError(
            f"{type(model).__name__} answers otherwise with its attention exchanged: logits differ by {off:.1%} of "
            "their range, so something else in it looks at other tokens",
            help=_OTHERWISE,
        )
    return layers, wanted.shape[-1]


def _facts(model: Any, layers: Sequence[_Layer], vocabulary: int) -> dict[str, Any]:
    config = model.config.get_text_config()
    ends = getattr(model.generation_config, "eos_token_id", None)
    ends = config.eos_token_id if ends is None else ends
    ends = [] if ends is None else [ends] if isinstance(ends, int) else list(ends)
    return {
        "version": 1,
        "architecture": type(model).__name__,
        "precision": "float32",
        "layers": len(layers),
        "kv_heads": layers[0].kv_heads,
        "head_size": layers[0].head_size,
        "vocabulary": vocabulary,
        "context_tokens": int(getattr(config, "max_position_embeddings", 0) or 0),
        "ends": [end for end in ends if 0 <= end < vocabulary],
        "chunks": CHUNKS,
    }


def _exported(model: Any, layers: Sequence[_Layer]) -> Any:
    """The graph, made by a trace over an example in which no two sizes are alike."""
    dim = torch.export.Dim
    rows, capacity = 3, 32
    lengths = [5 + at for at in range(CHUNKS)]
    tokens = rows + sum(lengths)
    names = ["rows", *(f"chunk{at}" for at in range(CHUNKS))]
    groups = [_example(rows, rows, capacity), *(_example(length, 1, capacity) for length in lengths)]
    group_dims: list[Any] = [({0: dim("rows")}, {0: dim("rows")}, {})]
    group_dims += [({0: dim(f"{name}_tokens")}, {}, {}) for name in names[1:]]
    size = (layers[0].kv_heads, capacity, layers[0].head_size)
    caches = [[tuple(torch.zeros(count, *size) for _ in "kv") for count in (rows, *[1] * CHUNKS)] for _ in layers]
    held = [{0: dim("rows"), 2: dim("capacity")}, *({2: dim("capacity")} for _ in lengths)]
    cache_dims = [[(one, one) for one in held] for _ in layers]
    # Each input a tensor of its own: the exporter takes one that is given twice for one input.
    flat_inputs = [torch.arange(tokens) % 4, torch.arange(tokens), torch.arange(2), torch.arange(tokens)]
    flat = {0: dim("tokens")}
    inputs = ["tokens", "positions", "wanted", "order"]
    inputs += [f"{name}{what}" for name in names for what in ("", "_lengths", "_total")]
    kept = [f"{name}_{what}_{at}" for at in range(len(layers)) for name in names for what in ("keys", "values")]
    with torch.inference_mode(), quietly():
        try:
            return torch.onnx.export(
                _Graph(model, len(layers)).eval(),
                (*flat_inputs, groups, caches),
                dynamo=True,
                dynamic_shapes=(flat, flat, {0: dim("wanted")}, flat, group_dims, cache_dims),
                input_names=inputs + kept,
                output_names=["logits", *(f"{name}_out" for name in kept)],
                opset_version=20,
                verbose=False,
                external_data=False,
            )
        except torch.onnx.OnnxExporterError as error:
            reason = " ".join(str(error.__cause__ or error).split())
            raise LoadError(f"torch.onnx cannot write it: {reason}", help=_OTHERWISE) from error


def _example(tokens: int, rows: int, capacity: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    lengths = torch.full((rows,), capacity // 2, dtype=torch.int32)
    return torch.arange(tokens), lengths, torch.tensor(capacity // 2 + 1, dtype=torch.int32)

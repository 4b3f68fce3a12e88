"""What a network answers, as named arrays: tensors alone, in tuples, tables, or classes with fields."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from modelapp.errors import LoadError, ModelFailed
from modelapp.signature import Dim, Signature, TensorSpec, numpy_dtype
from modelapp.trialrows import Answers, Infer, Trial, made_up, trials
from modelapp_torch.failures import reason


def named(answer: Any, names: Sequence[str]) -> dict[str, torch.Tensor]:
    """The tensors of an answer. `names` are those declared: for answers without names in their order, else a choice.

    Raises ModelFailed where the answer holds no tensors, or not as many as are declared.
    """
    if isinstance(answer, torch.Tensor):
        answer = (answer,)
    elif dataclasses.is_dataclass(answer) and not isinstance(answer, Mapping):
        answer = {field.name: getattr(answer, field.name) for field in dataclasses.fields(answer)}
    elif isinstance(answer, tuple) and (fields := getattr(answer, "_fields", ())):
        answer = dict(zip(fields, answer, strict=True))
    if isinstance(answer, Mapping):
        return _tensors({name: value for name, value in answer.items() if not names or name in names})
    if not isinstance(answer, (tuple, list)):
        raise ModelFailed(f"the model should answer tensors, not {type(answer).__name__}")
    if not names:
        names = ["output"] if len(answer) == 1 else [f"output_{place}" for place in range(len(answer))]
    if len(names) != len(answer):
        raise ModelFailed(f"the model answered {len(answer)} tensors, and {len(names)} are declared")
    return _tensors(dict(zip(names, answer, strict=True)))


def _tensors(answer: dict[str, Any]) -> dict[str, torch.Tensor]:
    found = {name: value for name, value in answer.items() if value is not None}
    for name, value in found.items():
        if not isinstance(value, torch.Tensor):
            raise ModelFailed(f'the model answered {type(value).__name__} in "{name}", not a tensor')
    return found


def to_array(tensor: torch.Tensor) -> NDArray[Any]:
    """The tensor's own memory as an array, where it lies on the CPU."""
    tensor = tensor.detach().cpu()
    if tensor.dtype == torch.bfloat16:  # which numpy lacks
        return tensor.contiguous().view(torch.int16).numpy().view(numpy_dtype("bfloat16"))
    array: NDArray[Any] = tensor.numpy()
    return array


def found(signature: Signature, infer: Infer, where: str, model: str) -> tuple[TensorSpec, ...]:
    """The outputs, told by trial runs in two sizes of whatever is open. Raises LoadError where no made-up rows run."""
    opened = any(not isinstance(dim, int) for spec in signature.inputs for dim in spec.shape[int(signature.batched) :])
    seen: list[tuple[Trial, Answers]] = []
    last: Exception | None = None
    for trial in trials(signature):
        if seen and any(size == seen[0][0].sizes.get(key) for key, size in trial.sizes.items()):
            continue
        try:
            seen.append((trial, _run(signature, infer, trial)))
        except Exception as error:
            last = error
        if len(seen) > opened:
            break
    if not seen:
        raise LoadError(
            f"{where} runs over no made-up input: {'' if last is None else reason(last)}",
            model=model,
            help=f'declare what it answers in [models.{model}.torch]: outputs = {{ y = "float32[batch, 10]" }}',
        ) from last
    rows: Dim = signature.inputs[0].shape[0] if signature.batched else None
    return tuple(_spec(name, seen, rows, opened=opened) for name in seen[0][1])


def _run(signature: Signature, infer: Infer, trial: Trial) -> Answers:
    """Over one row, or else over two."""
    one = made_up(signature, trial)
    try:
        return infer(one)
    except Exception:
        if not signature.batched:
            raise
        two = {name: np.concatenate([array, array]) for name, array in one.items()}
        try:
            return infer(two)
        except Exception:  # noqa: S110 - the failure over one row tells more
            pass
        raise


def _spec(name: str, seen: Sequence[tuple[Trial, Answers]], rows: Dim, *, opened: bool) -> TensorSpec:
    shapes = [answers[name].shape for _, answers in seen if name in answers]
    dims: list[Dim] = []
    for axis, size in enumerate(shapes[0]):
        sizes = [shape[axis] if axis < len(shape) else -1 for shape in shapes]
        if not axis and rows is not None:
            dims.append(rows)
        elif len(set(sizes)) == 1 and (len(sizes) > 1 or not opened):
            dims.append(size)
        else:
            symbols = [
                key
                for key in seen[0][0].sizes
                if isinstance(key, str)
                and all(trial.sizes[key] == size for (trial, _), size in zip(seen, sizes, strict=False))
            ]
            dims.append(symbols[0] if len(symbols) == 1 and len(sizes) > 1 else None)
    return TensorSpec(name, seen[0][1][name].dtype.name, tuple(dims))

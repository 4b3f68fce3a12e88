"""Finds out by trial runs whether axis 0 really counts rows: files that declare it do not always keep it."""

import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import attrs
import numpy as np
from numpy.typing import NDArray

from modelapp.errors import LoadError
from modelapp.runtime import Arrays, Artefact
from modelapp.signature import Signature, TensorSpec
from modelapp_onnx.failures import reason

Answers: TypeAlias = Mapping[str, NDArray[Any]]
Infer: TypeAlias = Callable[[Arrays], Answers]
"""Runs the model once; raises the library's exceptions."""

_SIZES = (8, 1, 32, 64, 224, 2, 16)
"""Sizes tried for all open dimensions at once, before they are tried against each other."""
_MIXED = (3, 8, 32, 224, 1)
_MOST_OPEN = 3
_BUDGET_S = 5.0
"""Trial inputs are given up after this long: an app must start."""
_MIXING = 0.1
"""Rows differ when their relative distance is above this. Rounding (also of dynamic int8: 3e-2) is far below it,
rows that really read each other are far above."""


@attrs.frozen
class _Trial:
    """One way to fill the inputs: a size for each open dimension, and the kind of numbers."""

    sizes: Mapping[Any, int]
    varied: bool


def verified(signature: Signature, infer: Infer, artefact: Artefact) -> Signature:
    """`signature`, corrected by runs over one and two rows of made-up data. `infer` runs the model once.

    Two rows that fail: axis 0 is 1 from here on. Another count of answers, or rows that change each other: requests
    run one at a time. Raises LoadError where two rows run and one does not.
    """
    if not signature.batched:
        return signature
    trial, two_only = _first_that_runs(signature, infer)
    if trial is None and two_only:
        raise LoadError(
            f"{artefact.source} runs over two rows, but not over one",
            model=artefact.name,
            help="export it with an example batch of 2 and a dynamic batch axis, and without squeezing that axis",
        )
    if trial is None:
        return _noted(signature, "No made-up input runs, so its batch axis is taken as the file declares it.")
    first, second = _made_up(signature, trial, 0), _made_up(signature, trial, 1)
    try:
        alone = [infer(first), infer(second)]
        together = infer({name: np.concatenate([first[name], second[name]]) for name in first})
    except Exception as error:
        return _one_row(signature, reason(error.__cause__ or error))
    if odd := _miscounted(alone, together):
        return _uncounted(signature, odd)
    if _mixes(alone, together) and not _mixes([infer(first), infer(second)], alone):
        note = "A row's answer depends on the other rows of its run, so requests run one at a time."
        return _noted(attrs.evolve(signature, batched=False), note)
    axis = signature.inputs[0].shape[0]
    outputs = [attrs.evolve(spec, shape=(axis, *spec.shape[1:])) if spec.shape else spec for spec in signature.outputs]
    return attrs.evolve(signature, outputs=tuple(outputs))


def _miscounted(alone: Sequence[Answers], together: Answers) -> dict[str, list[int | str]]:
    """The outputs that do not have one row for each row in, with how many they have for one row, one and two."""
    counts = {name: [_rows(answers[name]) for answers in (*alone, together)] for name in together}
    return {name: found for name, found in counts.items() if found != [1, 1, 2]}


def _uncounted(signature: Signature, odd: Mapping[str, Sequence[int | str]]) -> Signature:
    """The signature of a model that is not batched, since axis 0 of the `odd` outputs counts something else."""
    name, counts = next(iter(odd.items()))
    note = f'Output "{name}" has {counts[0]} rows for 1 row and {counts[2]} for 2, so requests run one at a time.'
    outputs = [
        attrs.evolve(spec, shape=(None, *spec.shape[1:])) if spec.name in odd and spec.shape else spec
        for spec in signature.outputs
    ]
    return _noted(attrs.evolve(signature, outputs=tuple(outputs), batched=False), note)


def _mixes(alone: Sequence[Answers], company: Answers | Sequence[Answers]) -> bool:
    """Whether any row's answer alone differs from the same row's in company, or from another run alone."""
    rows = (
        company if not isinstance(company, Mapping) else [{k: v[i : i + 1] for k, v in company.items()} for i in (0, 1)]
    )
    pairs = zip(alone, rows, strict=True)
    return any(_differ(one[name], other[name]) for one, other in pairs for name in one)


def _rows(array: Any) -> int | str:
    return len(array) if array.ndim else "no"


def _differ(alone: Any, company: Any) -> bool:
    """Whether one row's answer is another one in company. Whole numbers and text may tip at a tie: not judged."""
    if alone.dtype.kind != "f":
        return False
    if alone.shape != company.shape:
        return True
    with np.errstate(all="ignore"):
        a, b = np.nan_to_num(alone.astype(np.float64)), np.nan_to_num(company.astype(np.float64))
        return bool(np.linalg.norm(a - b) > _MIXING * max(float(np.linalg.norm(a)), 1e-6))


def _first_that_runs(signature: Signature, infer: Infer) -> tuple[_Trial | None, bool]:
    """The first trial that the model runs over one row, or None; and whether any ran over two rows only."""
    until = time.monotonic() + _BUDGET_S
    two_only = False
    for trial in _trials(signature):
        one = _made_up(signature, trial, 0)
        if _runs(infer, one):
            return trial, two_only
        two_only = two_only or _runs(infer, {name: np.concatenate([array, array]) for name, array in one.items()})
        if time.monotonic() > until:
            break
    return None, two_only


def _runs(infer: Infer, arrays: Arrays) -> bool:
    try:
        infer(arrays)
    except Exception:  # whatever it is, another trial follows
        return False
    return True


def _trials(signature: Signature) -> Iterator[_Trial]:
    """Ways to fill the inputs: all open dimensions alike first, then each on its own where there are few."""
    opened = list(dict.fromkeys(key for spec in signature.inputs for _, key in _open_dims(spec)))
    alike = [dict.fromkeys(opened, size) for size in _SIZES]
    mixed: list[dict[Any, int]] = []
    if 1 < len(opened) <= _MOST_OPEN:
        mixed = [dict(zip(opened, sizes, strict=True)) for sizes in itertools.product(_MIXED, repeat=len(opened))]
    for sizes in [*(alike if opened else [{}]), *mixed]:
        yield _Trial(sizes, varied=True)
        yield _Trial(sizes, varied=False)


def _open_dims(spec: TensorSpec) -> Iterator[tuple[int, Any]]:
    """The axes after the first that have no size, each with what names it: its symbol, or its place."""
    for axis, dim in enumerate(spec.shape):
        if axis and not isinstance(dim, int):
            yield axis, dim if dim is not None else (spec.name, axis)


def _made_up(signature: Signature, trial: _Trial, row: int) -> dict[str, NDArray[Any]]:
    """One row for every input. Whole numbers are 0 and 1 only, so that they are in any vocabulary."""
    arrays = {}
    for number, spec in enumerate(signature.inputs):
        opened = dict(_open_dims(spec))
        shape = [1] + [trial.sizes[opened[a]] if a in opened else int(str(d)) for a, d in enumerate(spec.shape) if a]
        arrays[spec.name] = _filled(spec, shape, trial, seed=2 * number + row)
    return arrays


def _filled(spec: TensorSpec, shape: Sequence[int], trial: _Trial, *, seed: int) -> NDArray[Any]:
    kind = spec.numpy_dtype.kind
    if kind == "O":
        return np.full(shape, "a" if spec.dtype == "string" else b"a", dtype=object)
    if not trial.varied:
        return np.ones(shape, spec.numpy_dtype)
    numbers = np.random.default_rng(seed)
    if kind == "f":
        return numbers.uniform(0.0, 1.0, shape).astype(spec.numpy_dtype)
    array = numbers.integers(0, 2, shape).astype(spec.numpy_dtype)
    array[..., :1] = 1  # a mask with nothing in it makes many models divide by zero
    return array


def _one_row(signature: Signature, why: str) -> Signature:
    """The signature of a model that declares many rows and runs over one only."""
    fixed = [
        tuple(attrs.evolve(spec, shape=(1, *spec.shape[1:])) if spec.shape else spec for spec in specs)
        for specs in (signature.inputs, signature.outputs)
    ]
    note = f"It declares a batch axis but fails on two rows ({why}), so requests run one row at a time."
    return _noted(attrs.evolve(signature, inputs=fixed[0], outputs=fixed[1], batched=False), note)


def _noted(signature: Signature, note: str) -> Signature:
    return attrs.evolve(signature, notes=(*signature.notes, note))

"""Whether axis 0 of a model's inputs counts rows: as declared, then by trial runs, since not every model keeps it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import attrs
import numpy as np

from modelapp.errors import LoadError
from modelapp.runtime import Artefact
from modelapp.signature import Signature, TensorSpec, is_floating
from modelapp.trialrows import Answers, Infer, Trial, made_up, trials

Batching: TypeAlias = Literal["auto", "always", "never"]
"""The option of that name: found by trial runs, taken as declared, or never."""

_MIXING = 0.1
"""Rows differ when their relative distance is above this. Rounding (also of dynamic int8: 3e-2) is far below it,
rows that really read each other are far above."""


def why_fixed(inputs: Sequence[TensorSpec]) -> str:
    """Why axis 0 cannot count rows of several requests, as a note; "" where it may."""
    if not inputs:
        return "The model has no input, so requests run one at a time."
    rows = {spec.shape[0] for spec in inputs if spec.shape and isinstance(spec.shape[0], str)}
    for spec in inputs:
        if spec.optional:
            return f'Input "{spec.name}" is one value for a whole run, so requests run one at a time.'
        if not spec.shape:
            return f'Input "{spec.name}" has no axis that could count rows, so requests run one at a time.'
        if isinstance(spec.shape[0], int):
            return f'Input "{spec.name}" is fixed to {spec.shape[0]} on axis 0, so requests run one at a time.'
        shared = next((dim for dim in spec.shape[1:] if isinstance(dim, str) and dim in rows), None)
        if shared:
            return f'Input "{spec.name}" has "{shared}" on a further axis too, so requests run one at a time.'
    return ""


def settled(
    signature: Signature,
    infer: Infer,
    artefact: Artefact,
    batching: Batching,
    *,
    table: str,
    reason: Callable[[BaseException], str] = str,
) -> Signature:
    """`signature`, its batch axis decided as the option `batching` of [models.NAME.TABLE] says.

    `reason` tells an exception of the library in one line. Raises LoadError.
    """
    if batching == "never":
        return attrs.evolve(signature, batched=False)
    if batching == "auto":
        return verified(signature, infer, artefact, reason)
    if not signature.batched:
        raise LoadError(
            f'models.{artefact.name}.{table}.batching is "always", but the model cannot: {signature.notes[-1]}',
            model=artefact.name,
            help='export or declare the model with an open batch axis, or batching = "auto"',
        )
    return signature


def verified(
    signature: Signature, infer: Infer, artefact: Artefact, reason: Callable[[BaseException], str] = str
) -> Signature:
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
        return _noted(signature, "No made-up input runs, so its batch axis is taken as declared.")
    first, second = made_up(signature, trial, 0), made_up(signature, trial, 1)
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
    if not is_floating(alone.dtype):
        return False
    if alone.shape != company.shape:
        return True
    with np.errstate(all="ignore"):
        a, b = np.nan_to_num(alone.astype(np.float64)), np.nan_to_num(company.astype(np.float64))
        return bool(np.linalg.norm(a - b) > _MIXING * max(float(np.linalg.norm(a)), 1e-6))


def _first_that_runs(signature: Signature, infer: Infer) -> tuple[Trial | None, bool]:
    """The first trial that the model runs over one row, or None; and whether any ran over two rows only."""
    two_only = False
    for trial in trials(signature):
        one = made_up(signature, trial)
        if _runs(infer, one):
            return trial, two_only
        two_only = two_only or _runs(infer, {name: np.concatenate([array, array]) for name, array in one.items()})
    return None, two_only


def _runs(infer: Infer, arrays: Mapping[str, Any]) -> bool:
    try:
        infer(arrays)
    except Exception:  # whatever it is, another trial follows
        return False
    return True


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

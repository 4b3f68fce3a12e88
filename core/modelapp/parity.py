"""Whether a model written in another format still answers the same: both are run over the same rows, and compared."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import attrs
import numpy as np
from numpy.typing import NDArray

from modelapp.app import Model
from modelapp.errors import ModelAppError, RequestError
from modelapp.execution import Execution
from modelapp.runtime import Arrays, LoadedModel, Rows, Run
from modelapp.signature import Signature, TensorSpec, is_floating
from modelapp.tensors import describe_shape

TOLERANCES: Mapping[str, float] = {"float64": 1e-4, "float32": 1e-4, "float16": 1e-2, "bfloat16": 1e-2}
"""By the type that the original computes in: the largest difference allowed, as a share of the output's largest
value. Whole numbers, truth values and texts must be equal."""
_SIZES = (8, 3, 17, 32, 64, 224, 16, 1, 5)
"""Sizes tried for dimensions that the signature leaves open."""
_SIZINGS = 3
"""So many ways to fill them are compared."""


@attrs.frozen(kw_only=True)
class Comparison:
    """One output over one kind of input. `shape` is the original's, `place` where the two differ most.

    `largest` is the largest value of the original. `fault` is what no number tells, "" where there is none.
    """

    given: str
    output: str
    shape: tuple[int, ...] = ()
    max_abs: float = 0.0
    largest: float = 0.0
    place: tuple[int, ...] = ()
    tolerance: float = 0.0
    fault: str = ""
    runs: int = 1

    @property
    def max_rel(self) -> float:
        """The largest difference as a share of the largest value; infinite where that is 0 and the other is not."""
        if not self.max_abs:
            return 0.0
        return self.max_abs / self.largest if self.largest else float("inf")

    @property
    def ok(self) -> bool:
        """Whether both answered the same, within the tolerance."""
        return not self.fault and self.max_rel <= self.tolerance

    def told(self) -> str:
        """What differs where, in one line."""
        where = f'{self.given}: output "{self.output}"'
        if self.fault:
            return f"{where} {self.fault}"
        at = f" at {list(self.place)}" if self.place else ""
        return (
            f"{where} differs by {self.max_abs:.3g}{at}, {self.max_rel:.3g} of its largest value {self.largest:.3g};"
            f" {self.tolerance:g} is allowed"
        )


def tolerance_of(model: Model) -> float:
    """The share of the largest value that is allowed, by the type that the options of the original name."""
    return TOLERANCES.get(getattr(model.options, "dtype", "float32"), TOLERANCES["float32"])


def compare(given: str, output: str, original: NDArray[Any], other: NDArray[Any] | None, allowed: float) -> Comparison:
    """One output of both models. `allowed` is the tolerance where the output's own type asks for no larger one."""
    allowed = max(allowed, TOLERANCES.get(original.dtype.name, 0.0))
    begun = Comparison(given=given, output=output, shape=original.shape, tolerance=allowed)
    if other is None:
        return attrs.evolve(begun, fault="is missing from the exported model")
    if other.shape != original.shape:
        told = f"has shape {describe_shape(other.shape)}, the original {describe_shape(original.shape)}"
        return attrs.evolve(begun, fault=told)
    if other.dtype != original.dtype:
        return attrs.evolve(begun, fault=f"is {other.dtype}, in the original {original.dtype}")
    if not original.size:
        return begun
    if not is_floating(original.dtype):
        return _exactly(begun, original, other)
    a, b = original.astype(np.float64), other.astype(np.float64)
    odd = ~(np.isfinite(a) & np.isfinite(b))
    if (wrong := odd & ~((a == b) | (np.isnan(a) & np.isnan(b)))).any():
        place = _first(wrong)
        return attrs.evolve(begun, fault=f"is {b[place]} at {list(place)}, in the original {a[place]}", place=place)
    apart = np.abs(np.where(odd, 0.0, a) - np.where(odd, 0.0, b))
    place = tuple(int(at) for at in np.unravel_index(int(apart.argmax()), apart.shape))
    largest = float(np.abs(np.where(odd, 0.0, a)).max())
    return attrs.evolve(begun, max_abs=float(apart[place]), largest=largest, place=place)


def _exactly(begun: Comparison, original: NDArray[Any], other: NDArray[Any]) -> Comparison:
    different = np.asarray(original != other)
    if not different.any():
        return begun
    place, count = _first(different), int(different.sum())
    told = f"is {other[place]} at {list(place)}, in the original {original[place]}; {count} of {original.size} differ"
    return attrs.evolve(begun, fault=told, place=place)


def _first(mask: NDArray[Any]) -> tuple[int, ...]:
    return tuple(int(at) for at in np.unravel_index(int(mask.argmax()), mask.shape))


class Ledger:
    """What was compared: of each kind of input and output the worst."""

    def __init__(self, tolerance: float) -> None:
        self.tolerance = tolerance
        self.given = ""
        """What the next comparisons are about."""
        self._worst: dict[tuple[str, str], Comparison] = {}

    def begin(self, given: str) -> None:
        """Say what comes next."""
        self.given = given

    def add(self, found: Comparison) -> None:
        """Count one comparison."""
        key = (found.given, found.output)
        before = self._worst.get(key)
        if before is None:
            self._worst[key] = found
            return
        worse = found if _badness(found) > _badness(before) else before
        self._worst[key] = attrs.evolve(worse, runs=before.runs + 1)

    @property
    def comparisons(self) -> list[Comparison]:
        """All, in the order in which they began."""
        return list(self._worst.values())

    @property
    def worst(self) -> Comparison | None:
        """The one that is furthest from the same, None where nothing was compared."""
        return max(self._worst.values(), key=_badness, default=None)


def _badness(found: Comparison) -> tuple[bool, float]:
    return bool(found.fault), found.max_rel / (found.tolerance or 1.0)


class Twins:
    """A loaded model and what it was exported to: every run is made by both and compared. Answers are the original's.

    `model` is the table of app.toml, by whose bounds both are checked.
    """

    def __init__(self, original: LoadedModel, exported: LoadedModel, model: Model, ledger: Ledger) -> None:
        self.signature = original.signature
        self.device = original.device
        self._original = original
        self._both = Execution(original, model), Execution(exported, attrs.evolve(model, pad={}, buckets=()))
        self._ledger = ledger

    def infer(self, rows: Rows, run: Run) -> Rows:
        """The original's answer, once the other's is compared with it."""
        answer = self._original.infer(rows, run)
        self._compare(rows, cast("Arrays", answer))
        return answer

    def trial(self, rows: Arrays) -> None:
        """One run of both over drawn rows, checked as a request is. Raises RequestError where the original refuses."""
        self._compare(rows, _run(self._both[0], rows))

    def _compare(self, rows: Rows, answer: Arrays) -> None:
        ledger = self._ledger
        try:
            other = _run(self._both[1], rows)
        except ModelAppError as error:
            ledger.add(Comparison(given=ledger.given, output=next(iter(answer)), fault=f"is none: {error.message}"))
            return
        for name, array in answer.items():
            ledger.add(compare(ledger.given, name, np.asarray(array), other.get(name), ledger.tolerance))

    def close(self) -> None:
        """Both are closed by whoever loaded them."""


def _run(execution: Execution, rows: Rows) -> Arrays:
    """The answer by the way of every request: checked, run, checked again. Raises RequestError."""
    part = execution.check(rows)
    (answer,) = execution.run([part], Run(part.rows))
    if isinstance(answer, Exception):
        raise answer
    return cast("Arrays", answer)


def compare_drawn(twins: Twins, ledger: Ledger, *, most_rows: int) -> list[str]:
    """Run both over numbers drawn from the signature: 1, 2 and `most_rows` rows, open dimensions at three sizes.

    Notes for whoever asked: what the original itself refuses cannot be compared.
    """
    signature = twins.signature
    counts = sorted({1, 2, max(1, most_rows)}) if signature.batched else [1]
    done, refusal = 0, ""
    for sizes in _sizings(signature):
        if done == _SIZINGS:
            break
        try:
            for rows in counts:
                ledger.given = _named(rows if signature.batched else None, sizes)
                twins.trial(drawn(signature, sizes, rows, seed=rows))
            done += 1
        except RequestError as error:
            refusal = error.message
    if done:
        return []
    return [f"no drawn input was compared: the model itself refuses them ({refusal})"]


def _named(rows: int | None, sizes: Mapping[str, int]) -> str:
    words = [] if rows is None else [f"{rows} row{'s' * (rows != 1)}"]
    return ", ".join(["random", *words, *(f"{name} {size}" for name, size in sizes.items())])


def _sizings(signature: Signature) -> Iterator[Mapping[str, int]]:
    """Ways to fill what is open: each dimension another size, then all the same."""
    opened = list(dict.fromkeys(name for spec in signature.inputs for name in _open(spec, signature)))
    if not opened:
        yield {}
        return
    for first, _ in enumerate(_SIZES):
        yield {name: _SIZES[(first + at) % len(_SIZES)] for at, name in enumerate(opened)}
    if len(opened) > 1:
        yield from (dict.fromkeys(opened, size) for size in _SIZES)


def _open(spec: TensorSpec, signature: Signature) -> list[str]:
    """The open dimensions of an input: by their symbol, else by their place."""
    first = int(signature.batched)
    return [_key(spec, axis) for axis, dim in enumerate(spec.shape) if axis >= first and not isinstance(dim, int)]


def _key(spec: TensorSpec, axis: int) -> str:
    dim = spec.shape[axis]
    return dim if isinstance(dim, str) else f"{spec.name}[{axis}]"


def drawn(signature: Signature, sizes: Mapping[str, int], rows: int, *, seed: int) -> dict[str, NDArray[Any]]:
    """Every input that must be given. Floats are normally distributed; whole numbers are 0 and 1 only, so that they
    are in any vocabulary."""
    numbers = np.random.default_rng(seed)
    arrays = {}
    for spec in signature.inputs:
        if spec.optional:
            continue
        shape = [
            rows if signature.batched and not axis else dim if isinstance(dim, int) else sizes[_key(spec, axis)]
            for axis, dim in enumerate(spec.shape)
        ]
        arrays[spec.name] = _filled(spec, shape, numbers)
    return arrays


def _filled(spec: TensorSpec, shape: Sequence[int], numbers: np.random.Generator) -> NDArray[Any]:
    dtype = spec.numpy_dtype
    if dtype.kind == "O":
        return np.full(shape, "a" if spec.dtype == "string" else b"a", dtype=object)
    if is_floating(dtype):
        return numbers.standard_normal(shape).astype(dtype)
    array = numbers.integers(0, 2, shape).astype(dtype)
    array[..., :1] = 1  # a mask with nothing in it makes many models divide by zero
    return array

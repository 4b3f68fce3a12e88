"""Scores for tests over many cases: a closed list, and functions of handlers.py.

A score that is not defined (no cases, a division by zero, values of the wrong kind) is none at all: it never passes.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from modelapp.matchers import MISSING, is_number, show


class Undefined(Exception):
    """There is no score; the text says why."""


Metric = Callable[[Sequence[Any], Sequence[Any]], float]
"""Expected values and answered ones, in the same order -> the score. Raises Undefined."""


def score(metric: Metric, expected: Sequence[Any], got: Sequence[Any]) -> float:
    """Apply `metric` to pairs of values; what it gives is a finite number. Raises Undefined."""
    if not expected:
        raise Undefined("there are no cases")
    absent = next((index for index, value in enumerate([*expected, *got]) if value is MISSING), None)
    if absent is not None:
        side = "the cases file" if absent < len(expected) else "the answer"
        raise Undefined(f"case {absent % len(expected) + 1}: {side} lacks the field")
    value = metric(expected, got)
    if not is_number(value) or not math.isfinite(value):
        raise Undefined(f"the metric gave {value!r}, which is no finite number")
    return float(value)


def accuracy(expected: Sequence[Any], got: Sequence[Any]) -> float:
    """The share of cases whose value is the expected one; true is not 1."""
    return _share(_is(left, right) for left, right in zip(expected, got, strict=True))


def exact_match(expected: Sequence[Any], got: Sequence[Any]) -> float:
    """The share of texts that are the expected one, runs of white space counting as one space."""
    for value in (*expected, *got):
        if not isinstance(value, str):
            raise Undefined(f"exact_match compares texts, not {show(value)}")
    return _share(_spaced(left) == _spaced(right) for left, right in zip(expected, got, strict=True))


def precision(expected: Sequence[Any], got: Sequence[Any]) -> float:
    """Of what was answered, the share that was expected: TP / (TP + FP)."""
    hits, extra, _ = _counts(expected, got)
    return _ratio(hits, hits + extra, "nothing was answered as positive")


def recall(expected: Sequence[Any], got: Sequence[Any]) -> float:
    """Of what was expected, the share that was answered: TP / (TP + FN)."""
    hits, _, lost = _counts(expected, got)
    return _ratio(hits, hits + lost, "no case is positive")


def f1(expected: Sequence[Any], got: Sequence[Any]) -> float:
    """The harmonic mean of precision and recall: 2 TP / (2 TP + FP + FN)."""
    hits, extra, lost = _counts(expected, got)
    return _ratio(2 * hits, 2 * hits + extra + lost, "nothing is positive, expected or answered")


def mae(expected: Sequence[Any], got: Sequence[Any]) -> float:
    """The mean absolute error of numbers, or of all numbers in equally long lists."""
    errors = [abs(difference) for difference in _errors(expected, got)]
    return _ratio(math.fsum(errors), len(errors), "the lists are empty")


def rmse(expected: Sequence[Any], got: Sequence[Any]) -> float:
    """The root of the mean squared error of numbers, or of all numbers in equally long lists."""
    errors = [difference * difference for difference in _errors(expected, got)]
    return math.sqrt(_ratio(math.fsum(errors), len(errors), "the lists are empty"))


METRICS: Mapping[str, Metric] = {
    "accuracy": accuracy,
    "exact_match": exact_match,
    "precision": precision,
    "recall": recall,
    "f1": f1,
    "mae": mae,
    "rmse": rmse,
}


def _is(left: Any, right: Any) -> bool:
    if is_number(left) and is_number(right):
        return bool(left == right)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_is, left, right))
    return type(left) is type(right) and bool(left == right)


def _spaced(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def _share(holds: Iterable[bool]) -> float:
    found = list(holds)
    return sum(found) / len(found)


def _ratio(part: float, whole: float, otherwise: str) -> float:
    if not whole:
        raise Undefined(f"it is not defined: {otherwise}")
    return part / whole


def _counts(expected: Sequence[Any], got: Sequence[Any]) -> tuple[int, int, int]:
    """True positives, false positives and false negatives of booleans, or of the items of lists."""
    hits = extra = lost = 0
    for left, right in zip(expected, got, strict=True):
        wanted, found = _positives(left), _positives(right)
        hits += len(wanted & found)
        extra += len(found - wanted)
        lost += len(wanted - found)
    return hits, extra, lost


def _positives(value: Any) -> frozenset[Any]:
    if isinstance(value, bool):
        return frozenset({True}) if value else frozenset()
    if isinstance(value, list) and all(isinstance(item, str) or is_number(item) for item in value):
        return frozenset(value)
    raise Undefined(f"it needs true and false, or lists of texts or numbers, not {show(value)}")


def _errors(expected: Sequence[Any], got: Sequence[Any]) -> list[float]:
    pairs = zip(expected, got, strict=True)
    return [difference for left, right in pairs for difference in _differences(left, right)]


def _differences(left: Any, right: Any) -> list[float]:
    if isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        return [item for pair in zip(left, right, strict=True) for item in _differences(*pair)]
    if not is_number(left) or not is_number(right):
        raise Undefined(f"it needs numbers, or lists of equal length, not {show(left)} and {show(right)}")
    return [float(right) - float(left)]

"""The cases of a test that were answered with an error, or with another value than is known to be right."""

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from modelapp.app import App, AppTest
from modelapp.cases import read_cases
from modelapp.client import Client
from modelapp.matchers import MISSING, Mismatch, resolve
from modelapp.metrics import accuracy, exact_match
from modelapp.testrun import seen

_BY_EQUALITY = {"accuracy": accuracy, "exact_match": exact_match}
"""Metrics that say of each case alone whether it is right."""


@attrs.frozen
class FailedCase:
    """One case; `line` is its place in the file, `got` MISSING where it was answered with an error."""

    line: int
    input: Mapping[str, Any]
    expected: Any
    got: Any


def failed_cases(app: App, client: Client, test: AppTest) -> Iterator[FailedCase]:
    """Send every case of a test and give those that failed. Raises AppFileError for a file that cannot be read."""
    for case in read_cases(app.root / test.cases):
        body = seen(app, client, test, case.input)
        got = MISSING if isinstance(body, Mismatch) else resolve(body, test.metric_field)
        expected = resolve(case.expect, test.metric_field)
        if expected is not MISSING and not _is_right(test.metric, expected, got, isinstance(body, Mismatch)):
            yield FailedCase(case.line, case.input, expected, got)


def _is_right(metric: str, expected: Any, got: Any, is_error: bool) -> bool:
    if is_error or metric not in _BY_EQUALITY:
        return not is_error
    texts = isinstance(expected, str) and isinstance(got, str)
    return got is not MISSING and (_BY_EQUALITY[metric] if texts else accuracy)([expected], [got]) == 1

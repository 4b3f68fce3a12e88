"""Runs the `[[tests]]` of an app against a replica. A test that decides nothing is inconclusive, never passed."""

import statistics
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from modelapp import matchers
from modelapp.app import App, AppTest, Endpoint
from modelapp.cases import Case, read_cases
from modelapp.client import Answer, Client, ConnectionLost
from modelapp.errors import HandlerError
from modelapp.expectedfiles import expect_file
from modelapp.matchers import MISSING, Mismatch, Tolerance, resolve, show
from modelapp.metrics import METRICS, Metric, Undefined, score
from modelapp.verdicts import Outcome, Verdict


def run_tests(app: App, client: Client, tests: Iterable[AppTest]) -> Iterator[Outcome]:
    """Run `tests` one after another; each outcome comes when its test has ended.

    Raises AppFileError for a cases file that cannot be read and HandlerError for a metric that does not import.
    """
    for test in tests:
        yield run_test(app, client, test)


def run_test(app: App, client: Client, test: AppTest) -> Outcome:
    """Run one test."""
    endpoint = endpoint_of(app, test)
    started = time.perf_counter()
    if not checks_something(test):
        return Outcome(
            test=test, verdict="inconclusive", endpoint=endpoint.name, seconds=0.0, reason="it checks nothing"
        )
    outcome = _run_cases(app, client, test, endpoint) if test.cases else _run_repeats(app, client, test, endpoint)
    return _timed(outcome, time.perf_counter() - started)


def _timed(outcome: Outcome, seconds: float) -> Outcome:
    return attrs.evolve(outcome, seconds=seconds)


def endpoint_of(app: App, test: AppTest) -> Endpoint:
    """The endpoint a test calls: the one it names, else the app's only one."""
    return app.endpoints[test.endpoint] if test.endpoint else next(iter(app.endpoints.values()))


def checks_something(test: AppTest) -> bool:
    """Whether any answer could fail it."""
    if test.cases:
        return bool(test.metric) and (test.metric_min is not None or test.metric_max is not None)
    named = (test.expect, test.expect_min, test.expect_max, test.expect_contains, test.expect_match)
    return any(named) or test.expect_error is not None or bool(test.expect_file)


def _run_repeats(app: App, client: Client, test: AppTest, endpoint: Endpoint) -> Outcome:
    needed = test.repeat if test.pass_min is None else test.pass_min
    passed = 0
    first_failure: list[Mismatch] = []
    times_ms: list[float] = []
    measured: dict[str, float] = {}
    for _ in range(test.repeat):
        mismatches, answer = _try(app, client, test, endpoint)
        if answer is not None:
            times_ms.append(answer.ms)
            measured |= _numbers(test, _looked_at(test, answer))
        passed += not mismatches
        first_failure = first_failure or mismatches
    if times_ms:
        measured["ms"] = statistics.median(times_ms)
    verdict: Verdict = "pass" if passed >= needed else "fail"
    return Outcome(
        test=test,
        verdict=verdict,
        endpoint=endpoint.name,
        seconds=0.0,
        mismatches=tuple(first_failure) if verdict == "fail" else (),
        passed=passed,
        tried=test.repeat,
        needed=needed,
        measured=measured,
        values=test.input,
    )


def _try(app: App, client: Client, test: AppTest, endpoint: Endpoint) -> tuple[list[Mismatch], Answer | None]:
    """One request: what is wrong with its answer, and the answer where there was one."""
    try:
        answer = client.call(endpoint, test.input, probe=test.probe or None, arm=test.arm or None)
    except ConnectionLost as error:
        return [Mismatch("", "an answer", error.message)], None
    except OSError as error:
        return [Mismatch("", "an input file", f"{error.filename}: {error.strerror}")], None
    return list(check(app, test, answer)), answer


def check(app: App, test: AppTest, answer: Answer) -> Iterator[Mismatch]:
    """Every place where `answer` is not as `test` expects."""
    if test.expect_error is not None:
        wanted = test.expect_error
        yield from matchers.expect_error(wanted.status, wanted.contains, answer.status, answer.body)
        return
    if not answer.ok:
        yield Mismatch("", "an answer", f"{answer.status} {show(answer.body)}")
        return
    body = _looked_at(test, answer)
    if body is MISSING:
        yield Mismatch("", f'the result of step "{test.probe}"', show(answer.body))
        return
    tolerance = Tolerance(test.abs_tol, test.rel_tol)
    yield from matchers.expect(test.expect, body, tolerance)
    yield from matchers.expect_min(test.expect_min, body)
    yield from matchers.expect_max(test.expect_max, body)
    yield from matchers.expect_contains(test.expect_contains, body, tolerance)
    yield from matchers.expect_match(test.expect_match, body)
    if test.expect_file:
        yield from expect_file(app.root / test.expect_file, body, tolerance)


def _looked_at(test: AppTest, answer: Answer) -> Any:
    """What the matchers see: the answer, or a probed step's result, under the step's name where it has no fields."""
    if not test.probe:
        return answer.body
    found = resolve(answer.body, "probe")
    return found if isinstance(found, Mapping) or found is MISSING else {test.probe: found}


def _numbers(test: AppTest, body: Any) -> dict[str, float]:
    found = {path: resolve(body, path) for path in (*test.expect_min, *test.expect_max)}
    return {path: float(value) for path, value in found.items() if matchers.is_number(value)}


def _run_cases(app: App, client: Client, test: AppTest, endpoint: Endpoint) -> Outcome:
    metric = load_metric(app, test.metric)
    cases = read_cases(app.root / test.cases)
    expected, got = [], []
    for case in cases:
        mismatches, answer = _try_case(client, test, endpoint, case)
        if answer is None:
            return _ended(test, endpoint, "fail", mismatches, cases, case)
        expected.append(resolve(case.expect, test.metric_field))
        got.append(resolve(_looked_at(test, answer), test.metric_field))
    result = score(metric, expected, got)
    if result.value is None:
        return _ended(test, endpoint, "inconclusive", [], cases, reason=f"{test.metric}: {result.reason}")
    mismatches = list(_bounds(test, result.value))
    measured = {test.metric: result.value, "cases": float(len(cases))}
    return _ended(test, endpoint, "fail" if mismatches else "pass", mismatches, cases, measured=measured)


def _try_case(client: Client, test: AppTest, endpoint: Endpoint, case: Case) -> tuple[list[Mismatch], Answer | None]:
    """One case's answer. A case without one fails its test: leaving it out would flatter the score."""
    place = f"{test.cases}:{case.line}"
    try:
        answer = client.call(endpoint, case.input, probe=test.probe or None, arm=test.arm or None)
    except ConnectionLost as error:
        return [Mismatch(place, "an answer", error.message)], None
    except OSError as error:
        return [Mismatch(place, "an input file", f"{error.filename}: {error.strerror}")], None
    if not answer.ok:
        return [Mismatch(place, "an answer", f"{answer.status} {show(answer.body)}")], None
    return [], answer


def _bounds(test: AppTest, value: float) -> Iterator[Mismatch]:
    if test.metric_min is not None and not value >= test.metric_min:
        yield Mismatch(test.metric, f"at least {test.metric_min:g}", f"{value:.6g}")
    if test.metric_max is not None and not value <= test.metric_max:
        yield Mismatch(test.metric, f"at most {test.metric_max:g}", f"{value:.6g}")


def _ended(
    test: AppTest,
    endpoint: Endpoint,
    verdict: Verdict,
    mismatches: Sequence[Mismatch],
    cases: Sequence[Case],
    case: Case | None = None,
    *,
    reason: str = "",
    measured: Mapping[str, float] | None = None,
) -> Outcome:
    shown = case or next(iter(cases), None)
    return Outcome(
        test=test,
        verdict=verdict,
        endpoint=endpoint.name,
        seconds=0.0,
        mismatches=tuple(mismatches),
        reason=reason,
        passed=int(verdict == "pass"),
        measured=measured or {},
        values=shown.input if shown else {},
    )


def load_metric(app: App, name: str) -> Metric:
    """A metric by its name, or `handlers.py:function`. Raises HandlerError."""
    if name in METRICS:
        return METRICS[name]
    from modelapp.handlers import load

    function = load(app.root, name)

    def apply(expected: Sequence[Any], got: Sequence[Any]) -> float:
        try:
            return function(list(expected), list(got))  # type: ignore[no-any-return] # its result is checked by score
        except HandlerError:
            raise
        except Exception as error:
            raise Undefined(f"it raised {type(error).__name__}: {error}") from error

    return apply

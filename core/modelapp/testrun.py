"""Runs the `[[tests]]` of an app against a replica. A test that decides nothing is inconclusive, never passed."""

import statistics
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from modelapp import matchers
from modelapp.app import App, AppTest, Endpoint
from modelapp.cases import read_cases
from modelapp.client import Answer, Client, ConnectionLost
from modelapp.errors import HandlerError
from modelapp.expectedfiles import expect_file
from modelapp.masking import Curtain, is_private, masked
from modelapp.matchers import MISSING, Mismatch, Tolerance, resolve, show
from modelapp.metrics import METRICS, Metric, Undefined, score
from modelapp.verdicts import Outcome


def run_tests(app: App, client: Client, tests: Iterable[AppTest]) -> Iterator[Outcome]:
    """Run `tests` one after another; each outcome comes when its test has ended.

    Raises AppFileError for a cases file that cannot be read and HandlerError for a metric that does not import.
    """
    for test in tests:
        yield run_test(app, client, test)


def run_test(app: App, client: Client, test: AppTest) -> Outcome:
    """Run one test."""
    started = time.perf_counter()
    endpoint = app.endpoint_of(test)
    values = masked(endpoint.input, test.input)
    begun = Outcome(test=test, endpoint=endpoint.name, verdict="inconclusive", values=values)
    if not checks_something(test):
        return attrs.evolve(begun, reason="it checks nothing")
    outcome = _run_cases(app, client, begun) if test.cases else _run_repeats(app, client, begun)
    return attrs.evolve(outcome, seconds=time.perf_counter() - started)


def checks_something(test: AppTest) -> bool:
    """Whether any answer could fail it."""
    if test.cases:
        return bool(test.metric) and (test.metric_min is not None or test.metric_max is not None)
    named = (test.expect, test.expect_min, test.expect_max, test.expect_contains, test.expect_match)
    return any(named) or test.expect_error is not None or bool(test.expect_file)


def _run_repeats(app: App, client: Client, begun: Outcome) -> Outcome:
    test, endpoint = begun.test, app.endpoints[begun.endpoint]
    needed = test.repeat if test.pass_min is None else test.pass_min
    passed = 0
    first_failure: list[Mismatch] = []
    times_ms: list[float] = []
    measured: dict[str, float] = {}
    for attempt in range(test.repeat):
        answer = _ask(client, test, endpoint, test.input, seed_of(app, test) + attempt)
        if isinstance(answer, Mismatch):
            first_failure = first_failure or [answer]
            continue
        mismatches = list(check(app, test, answer))
        times_ms.append(answer.ms)
        measured |= _numbers(test, endpoint, _looked_at(test, answer))
        passed += not mismatches
        first_failure = first_failure or mismatches
    if times_ms:
        measured["ms"] = statistics.median(times_ms)
    told = attrs.evolve(begun, passed=passed, tried=test.repeat, needed=needed, measured=measured)
    if passed >= needed:
        return attrs.evolve(told, verdict="pass")
    return attrs.evolve(told, verdict="fail", mismatches=tuple(first_failure))


def seed_of(app: App, test: AppTest) -> int:
    """What stands for chance in a test; each repeat adds one."""
    return app.app.seed if test.seed is None else test.seed


def _ask(client: Client, test: AppTest, endpoint: Endpoint, values: Mapping[str, Any], seed: int) -> Answer | Mismatch:
    """One request: its answer, or why there is none."""
    try:
        return client.call(endpoint, values, probe=test.probe or None, arm=test.arm or None, seed=seed)
    except ConnectionLost as error:
        return Mismatch("", "an answer", error.message)
    except OSError as error:
        return Mismatch("", "an input file", f"{error.filename}: {error.strerror}")


def seen(app: App, client: Client, test: AppTest, values: Mapping[str, Any]) -> Any:
    """What a test's matchers see of the answer to `values`, or a Mismatch where there is no answer to look at."""
    answer = _ask(client, test, app.endpoint_of(test), values, seed_of(app, test))
    if isinstance(answer, Mismatch):
        return answer
    if not answer.ok:
        return Mismatch("", "an answer", f"{answer.status} {show(answer.body)}")
    return _looked_at(test, answer)


def check(app: App, test: AppTest, answer: Answer) -> Iterator[Mismatch]:
    """Every place where `answer` is not as `test` expects; of a sensitive one no value is shown."""
    curtain = Curtain(app.endpoint_of(test), probe=bool(test.probe))
    if test.expect_error is not None:
        wanted = test.expect_error
        body = curtain.before(answer.body) if answer.ok else answer.body
        yield from matchers.expect_error(wanted.status, wanted.contains, answer.status, body)
    elif not answer.ok:
        yield Mismatch("", "an answer", f"{answer.status} {show(answer.body)}")
    else:
        yield from map(curtain.mismatch, _compare(app, test, answer))


def _compare(app: App, test: AppTest, answer: Answer) -> Iterator[Mismatch]:
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


def _numbers(test: AppTest, endpoint: Endpoint, body: Any) -> dict[str, float]:
    curtain = Curtain(endpoint, probe=bool(test.probe))
    shown = [path for path in (*test.expect_min, *test.expect_max) if not curtain.hides(path)]
    found = {path: resolve(body, path) for path in shown}
    return {path: float(value) for path, value in found.items() if matchers.is_number(value)}


def _run_cases(app: App, client: Client, begun: Outcome) -> Outcome:
    test, endpoint = begun.test, app.endpoints[begun.endpoint]
    metric = load_metric(app, test.metric)
    cases = read_cases(app.root / test.cases)
    expected, got = [], []
    for case in cases:
        body = seen(app, client, test, case.input)
        if isinstance(body, Mismatch):
            # Leaving out a case without an answer would flatter the score.
            found = attrs.evolve(body, path=f"{test.cases}:{case.line}")
            return attrs.evolve(begun, verdict="fail", mismatches=(found,), values=masked(endpoint.input, case.input))
        expected.append(resolve(case.expect, test.metric_field))
        got.append(resolve(body, test.metric_field))
    begun = attrs.evolve(begun, values=masked(endpoint.input, cases[0].input) if cases else {})
    try:
        value = score(metric, expected, got)
    except Undefined as error:
        why = "it is not defined here; what it says is withheld, since a field is sensitive"
        return attrs.evolve(begun, reason=f"{test.metric}: {why if is_private(endpoint) else error}")
    told = attrs.evolve(begun, measured={test.metric: value, "cases": float(len(cases))})
    if mismatches := tuple(_bounds(test, value)):
        return attrs.evolve(told, verdict="fail", mismatches=mismatches)
    return attrs.evolve(told, verdict="pass", passed=1)


def _bounds(test: AppTest, value: float) -> Iterator[Mismatch]:
    if test.metric_min is not None and not value >= test.metric_min:
        yield Mismatch(test.metric, f"at least {test.metric_min:g}", f"{value:.6g}")
    if test.metric_max is not None and not value <= test.metric_max:
        yield Mismatch(test.metric, f"at most {test.metric_max:g}", f"{value:.6g}")


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

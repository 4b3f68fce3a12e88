"""[[tests]]: whether each has a name of its own, checks something, and names only what there is."""

import re
import shlex
from collections.abc import Collection
from typing import Any

from modelapp import fieldchecks
from modelapp.app import AppTest, Endpoint, Field
from modelapp.cases import read_cases
from modelapp.document import At
from modelapp.errors import AppFileError
from modelapp.examination import Examination
from modelapp.fieldtype import MEDIA, is_url
from modelapp.metrics import METRICS
from modelapp.spans import KeyPath
from modelapp.suggestions import closest

_MATCHERS = ("expect", "expect_min", "expect_max", "expect_contains", "expect_match")
UNPROVEN = ("MA051",)
"""The codes of problems that leave an app able to serve, and to record what it answers."""
_CHECKS = (*_MATCHERS, "expect_error", "expect_file", "metric_min", "metric_max")


def check(exam: Examination) -> None:
    """All tests, one by one and against each other."""
    seen: dict[str, KeyPath] = {}
    taken = {test.name for test in exam.app.tests}
    raw = exam.data.get("tests", [])
    # Broken tests are missing from the app, so the rest are found again by the line of their header.
    lines = {exam.sources.base.line(("tests", number)): number for number in range(len(raw))}
    for test in exam.app.tests:
        path = ("tests", lines[test.line])
        _name(exam, test, path, seen, taken)
        if exam.is_sound(path):
            _content(exam, test, raw[path[1]], path)
        endpoint = _endpoint(exam, test, path)
        if endpoint is not None:
            _fields(exam, test, endpoint, path)


def _name(exam: Examination, test: AppTest, path: KeyPath, seen: dict[str, KeyPath], taken: Collection[str]) -> None:
    if test.name in seen:
        fresh = next(f"{test.name}-{count}" for count in range(2, 9999) if f"{test.name}-{count}" not in taken)
        related = exam.sources.related(seen[test.name], "the first", "value")
        message = f'two tests are called "{test.name}"'
        exam.replace("MA050", message, (*path, "name"), "again here", fresh, related=related)
    seen.setdefault(test.name, (*path, "name"))


def _content(exam: Examination, test: AppTest, raw: dict[str, Any], path: KeyPath) -> None:
    if not any(key in raw and raw[key] != {} for key in _CHECKS):
        label = "no expect..., no metric_min" if not test.cases else "no metric_min, no metric_max"
        advice = (
            "add metric_min = 0.9, or what it must reach"
            if test.cases
            else "add what must come out, e.g. expect = { ... }, or record what comes out now"
        )
        command = "" if test.cases else _record(test)
        exam.add("MA051", f'test "{test.name}" checks nothing', path, label, advice, at="header", command=command)
    if "cases" in raw and "input" in raw:
        message, related = (
            f'test "{test.name}" has both input and cases',
            exam.sources.related((*path, "input"), "one", "key"),
        )
        edit = exam.sources.remove((*path, "input"))
        advice = "cases hold their own inputs: remove input"
        exam.add("MA054", message, (*path, "cases"), "another", advice, at="key", related=related, edit=edit)
    _metric(exam, test, path)
    if test.pass_min is not None and test.pass_min > test.repeat:
        message, label = '"pass_min" is more than "repeat"', f"it is sent {test.repeat} time{'s' * (test.repeat > 1)}"
        exam.replace("MA058", message, (*path, "pass_min"), label, test.repeat)
    if None not in (test.metric_min, test.metric_max) and test.metric_min > test.metric_max:  # type: ignore[operator] # not None
        message = '"metric_max" is below "metric_min"'
        exam.replace("MA027", message, (*path, "metric_max"), "no score fits between them", test.metric_min)
    if test.cases and exam.is_file(test.cases, (*path, "cases")):
        try:
            read_cases(exam.root / test.cases)
        except AppFileError as error:
            exam.problems += error.problems
    if test.expect_file:
        exam.is_file(test.expect_file, (*path, "expect_file"), "MA051", command=_record(test))
    for name, pattern in test.expect_match.items():
        fieldchecks.compiles(exam, pattern, (*path, "expect_match", name))


def _record(test: AppTest) -> str:
    return f"modelapp test {shlex.quote(test.name)} --record"


def _metric(exam: Examination, test: AppTest, path: KeyPath) -> None:
    if test.cases and not test.metric:
        edit = exam.sources.insert(path, 'metric = "accuracy"')
        message, notes = (
            f'test "{test.name}" does not say how its cases are scored',
            (f"metrics: {', '.join(METRICS)}",),
        )
        exam.add(
            "MA054", message, path, "metric is missing", 'add metric = "accuracy"', at="header", notes=notes, edit=edit
        )
    for key in ("metric", "metric_field", "metric_min", "metric_max"):
        if not test.cases and getattr(test, key) not in ("", None):
            message, label = f'"{key}" scores cases, and test "{test.name}" has none', "nothing to score"
            edit = exam.sources.remove((*path, key))
            exam.add("MA054", message, (*path, key), label, "add cases, or remove it", at="key", edit=edit)
            return
    if ":" in test.metric:
        exam.handler(test.metric, (*path, "metric"), count=2, what="the expected values, the answered values")
    elif test.metric and test.metric not in METRICS:
        notes = (f'metrics: {", ".join(METRICS)}, or "handlers.py:function"',)
        message = f'no metric is called "{test.metric}"'
        exam.unknown("MA054", message, (*path, "metric"), "unknown metric", test.metric, METRICS, notes=notes)


def _endpoint(exam: Examination, test: AppTest, path: KeyPath) -> Endpoint | None:
    names = list(exam.names("endpoints"))
    if test.endpoint and test.endpoint not in names:
        message = f'no endpoint is called "{test.endpoint}"'
        notes = (f"endpoints: {', '.join(names) or 'none'}",)
        exam.unknown("MA052", message, (*path, "endpoint"), "not defined", test.endpoint, names, notes=notes)
        return None
    if not test.endpoint and len(names) != 1 and exam.is_sound((*path, "endpoint")):
        message = f'test "{test.name}" does not say which endpoint it calls'
        line = f'endpoint = "{names[0] if names else "..."}"'
        edit = exam.sources.insert(path, line) if names else None
        notes = (f"endpoints: {', '.join(names) or 'none'}",)
        exam.add("MA052", message, path, "endpoint is missing", f"add {line}", at="header", notes=notes, edit=edit)
        return None
    name = test.endpoint or names[0]
    return exam.app.endpoints.get(name)


def _fields(exam: Examination, test: AppTest, endpoint: Endpoint, path: KeyPath) -> None:
    home = ("endpoints", endpoint.name)
    # What is wrong with the endpoint is told there; here it must not be told again as something unknown.
    certain = endpoint.name not in exam.doubtful and all(exam.is_sound((*home, key)) for key in ("steps", "split"))
    if certain:
        _probe(exam, test, endpoint, path)
    if certain and test.arm:
        _arm(exam, test.arm, endpoint, (*path, "arm"))
    # A test of an error may send anything; what it sends is its point.
    sends = test.expect_error is None and not test.cases and endpoint.input
    if sends and exam.is_sound((*path, "input")) and exam.is_sound((*home, "input")):
        _input(exam, test, endpoint, path)
    if test.probe or not endpoint.output or not exam.is_sound((*home, "output")):
        return
    for matcher in _MATCHERS:
        for name in getattr(test, matcher):
            _output(exam, name, endpoint, (*path, matcher, name))
    if test.metric_field:
        _output(exam, test.metric_field, endpoint, (*path, "metric_field"), "value")


def _probe(exam: Examination, test: AppTest, endpoint: Endpoint, path: KeyPath) -> None:
    steps = [step.name for step in endpoint.steps]
    if not test.probe or test.probe in steps:
        return
    message = f'endpoint "{endpoint.name}" has no step "{test.probe}"'
    notes = (f"its steps: {', '.join(steps) or 'none'}",)
    exam.unknown("MA055", message, (*path, "probe"), "no step to look at", test.probe, steps, notes=notes)


def _arm(exam: Examination, arm: str, endpoint: Endpoint, path: KeyPath) -> None:
    arms: Collection[str] = list(endpoint.split.arms) if endpoint.split else []
    if arm not in arms:
        message, notes = f'endpoint "{endpoint.name}" has no arm "{arm}"', (f"its arms: {', '.join(arms) or 'none'}",)
        exam.unknown("MA056", message, path, "no such arm", arm, arms, notes=notes)


def _input(exam: Examination, test: AppTest, endpoint: Endpoint, path: KeyPath) -> None:
    strangers = [name for name in test.input if name not in endpoint.input]
    for name, value in test.input.items():
        place = (*path, "input", name)
        if name not in endpoint.input:
            message = f'endpoint "{endpoint.name}" has no input "{name}"'
            notes = (f"its inputs: {', '.join(endpoint.input)}",)
            exam.unknown("MA053", message, place, "not declared", name, endpoint.input, at="key", notes=notes)
        elif text := fieldchecks.mismatch(endpoint.input[name], value):
            advice = "give a value that fits, or expect the error: expect_error = { status = 422 }"
            exam.add("MA053", f'"{name}" {text}', place, "the endpoint would refuse it", advice)
        else:
            _media(exam, endpoint.input[name], value, place)
    for name, field in endpoint.input.items():
        if field.required and name not in test.input and not any(closest(one, [name]) for one in strangers):
            message, place = f'test "{test.name}" leaves out the input "{name}"', (*path, "input")
            exam.add("MA053", message, place, f"{name} is required", f"add {name} to its input", at="value")


def _media(exam: Examination, field: Field, value: Any, path: KeyPath) -> None:
    if field.type.innermost in MEDIA and isinstance(value, str):
        if not (field.allow_hosts and is_url(value)):
            exam.is_file(value, path)
    elif field.type.innermost in MEDIA and isinstance(value, list):
        for number, one in enumerate(value):
            _media(exam, field, one, (*path, number))


def _output(exam: Examination, name: str, endpoint: Endpoint, path: KeyPath, at: At = "key") -> None:
    """`name` may go deeper: "boxes[0].label" is in the field "boxes"."""
    first = re.split(r"[.\[]", name, maxsplit=1)[0]
    if name in endpoint.output or first in endpoint.output:
        return
    message = f'endpoint "{endpoint.name}" has no output "{first}"'
    notes = (f"its outputs: {', '.join(endpoint.output)}",)
    rest = name[len(first) :]
    exam.unknown("MA053", message, path, "not declared", first, endpoint.output, at=at, rest=rest, notes=notes)

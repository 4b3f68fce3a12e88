"""Files of test cases: one JSON object a line, `{"input": {...}, "expect": {...}}`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from modelapp.errors import AppFileError
from modelapp.problems import Problem


@attrs.frozen
class Case:
    """One request and what is known of its answer; `line` is its place in the file."""

    line: int
    input: Mapping[str, Any]
    expect: Mapping[str, Any]


def read_cases(path: Path) -> list[Case]:
    """The cases of a .jsonl file; blank lines are skipped. Raises AppFileError with every line that is no case."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise AppFileError([_problem(path, 0, f"the cases file cannot be read: {reason}", "")]) from None
    cases: list[Case] = []
    problems: list[Problem] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        case = _parse(number, line)
        if isinstance(case, Case):
            cases.append(case)
        else:
            problems.append(_problem(path, number, case, line))
    if problems:
        raise AppFileError(problems)
    return cases


def _parse(number: int, line: str) -> Case | str:
    try:
        found = json.loads(line)
    except ValueError as error:
        return f"this line is no JSON: {error}"
    if not isinstance(found, dict):
        return "a case is a JSON object"
    if unknown := sorted(set(found) - {"input", "expect"}):
        return f'a case has no key "{unknown[0]}"'
    if not isinstance(found.get("input"), dict) or not isinstance(found.get("expect"), dict):
        return 'a case has an object "input" and an object "expect"'
    return Case(number, found["input"], found["expect"])


def _problem(path: Path, line: int, message: str, source: str) -> Problem:
    return Problem(
        code="MA059",
        message=message,
        file=path,
        line=line,
        column=1,
        length=max(1, len(source)),
        source=source,
        help='write {"input": {...}, "expect": {...}} on one line',
    )

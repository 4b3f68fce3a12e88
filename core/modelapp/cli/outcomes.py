"""How outcomes of tests are shown: as lines, as JSON, and as annotations in GitHub's logs."""

import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs

from modelapp.cli.console import Console
from modelapp.cli.opening import Opened
from modelapp.loader import Reading
from modelapp.payload import curl
from modelapp.problems import github_error, shown
from modelapp.verdicts import Outcome, count, overall, summary

_MOST_MISMATCHES = 5
_MOST_CELL_CHARS = 100


class Reporter:
    """Shows the outcomes of one run of tests. `url` is the address for commands that people repeat."""

    def __init__(self, opened: Opened, url: str, console: Console, width: int) -> None:
        self._app = opened.app
        self._loosened = opened.reading.loosened
        self._prefix = opened.prefix
        self._url = url
        self._console = console
        self._width = width

    def show(self, outcome: Outcome) -> None:
        """Print one outcome, with what was expected, what came and how to do it again."""
        word = outcome.verdict.upper()
        name = outcome.test.name.ljust(self._width)
        if outcome.verdict == "pass":
            line = "   ".join([name, *_measured(outcome), f"{outcome.seconds:.1f} s"])
            self._console.result(f"{self._console.word(word, sys.stdout)}  {line}")
            return
        self._console.result(f"{self._console.word(word, sys.stdout)}  {name}   {self._place(outcome)}")
        for label, text in self._explain(outcome):
            self._console.result(f"      {label:<8}  {text}")

    def _place(self, outcome: Outcome) -> str:
        return f"{shown(self._app.path)}:{outcome.line}"

    def _explain(self, outcome: Outcome) -> Iterator[tuple[str, str]]:
        if outcome.reason:
            yield "reason", outcome.reason
        if outcome.tried > 1:
            yield "passed", f"{outcome.passed}/{outcome.tried} (needs {outcome.needed})"
        for mismatch in outcome.mismatches[:_MOST_MISMATCHES]:
            yield "expected", f"{mismatch.path} {mismatch.expected}".strip()
            yield "got", mismatch.got
        if len(outcome.mismatches) > _MOST_MISMATCHES:
            yield "", f"and {len(outcome.mismatches) - _MOST_MISMATCHES} more differences"
        yield "again", self.again(outcome)
        if outcome.values:
            yield "", self.curl(outcome)

    def again(self, outcome: Outcome) -> str:
        """The command that runs this test alone."""
        return f"{self._prefix} test {shlex.quote(outcome.test.name)}"

    def curl(self, outcome: Outcome) -> str:
        """The request of this test, for a shell."""
        return curl(self._url, self._app.endpoints[outcome.endpoint], outcome.values, self._app.root, self._app.server)

    def document(self, outcomes: Sequence[Outcome], release: str) -> dict[str, Any]:
        """All outcomes as JSON values."""
        return {
            "app": self._app.name,
            "release": release,
            "verdict": overall(outcomes),
            "counts": count(outcomes),
            "loosened": [attrs.asdict(one) for one in self._loosened],
            "seconds": round(sum(outcome.seconds for outcome in outcomes), 3),
            "tests": [self._test(outcome) for outcome in outcomes],
        }

    def _test(self, outcome: Outcome) -> dict[str, Any]:
        return {
            "name": outcome.test.name,
            "verdict": outcome.verdict,
            "endpoint": outcome.endpoint,
            "file": shown(self._app.path),
            "line": outcome.line,
            "seconds": round(outcome.seconds, 3),
            "passed": outcome.passed,
            "tried": outcome.tried,
            "needed": outcome.needed,
            "measured": dict(outcome.measured),
            "reason": outcome.reason,
            "mismatches": [attrs.asdict(mismatch) for mismatch in outcome.mismatches],
            "again": self.again(outcome),
            "curl": self.curl(outcome) if outcome.values else "",
        }


def _measured(outcome: Outcome) -> Iterator[str]:
    test = outcome.test
    if outcome.tried > 1:
        yield f"{outcome.passed}/{outcome.tried} (needs {outcome.needed})"
    if test.metric and test.metric in outcome.measured:
        yield f"{test.metric} {outcome.measured[test.metric]:.4g} over {outcome.measured['cases']:.0f} cases"


def annotate(reading: Reading, outcomes: Sequence[Outcome], console: Console) -> None:
    """Under GitHub Actions: mark the failed tests in app.toml and add a table to the job's summary."""
    if os.environ.get("GITHUB_ACTIONS") != "true":
        return
    for outcome in outcomes:
        if outcome.verdict != "pass":
            title = f"{outcome.verdict.upper()} {outcome.test.name}"
            place = {"file": shown(reading.app.path), "line": outcome.line, "title": title}
            console.error(github_error(explanation(outcome), **place))
    if summary_file := os.environ.get("GITHUB_STEP_SUMMARY"):
        try:
            with Path(summary_file).open("a", encoding="utf-8") as file:
                file.write(_markdown(reading, outcomes))
        except OSError as error:
            console.note(f"note: the job's summary cannot be written: {error.strerror}")


def explanation(outcome: Outcome) -> str:
    """Why a test did not pass, in one paragraph."""
    return "\n".join(map(str, outcome.mismatches[:_MOST_MISMATCHES])) or outcome.reason


def _markdown(reading: Reading, outcomes: Sequence[Outcome]) -> str:
    lines = [f"### {reading.app.name}: {summary(outcomes)}", ""]
    lines += [f"loosened: {_cell(str(one))}\n" for one in reading.loosened]
    lines += ["| verdict | test | seconds | why |", "|---|---|---|---|"]
    for outcome in outcomes:
        why = "" if outcome.verdict == "pass" else _cell(explanation(outcome))
        lines.append(f"| {outcome.verdict.upper()} | {_cell(outcome.test.name)} | {outcome.seconds:.1f} | {why} |")
    return "\n".join(lines) + "\n\n"


def _cell(text: str) -> str:
    text = " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
    return text if len(text) <= _MOST_CELL_CHARS else text[:_MOST_CELL_CHARS] + "..."

"""What `modelapp test` and `predict` write into app.toml, and how they show it."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import attrs

from modelapp.app import AppTest
from modelapp.cli.console import Console
from modelapp.cli.locked import in_ci, keep
from modelapp.cli.opening import Opened
from modelapp.client import Client
from modelapp.errors import UsageError
from modelapp.loader import read_app
from modelapp.locking import made_with
from modelapp.recorder import Recorder
from modelapp.recording import Unrecordable, Written
from modelapp.testchecks import UNPROVEN
from modelapp.testrun import checks_something, run_test
from modelapp.verdicts import Outcome
from modelapp.writeback import Draft

_OPTIONS = ("record", "accept", "accept_all", "save_failures")


@attrs.define
class Report:
    """What was written, and what could not be, by the test's name."""

    written: list[Written] = attrs.Factory(list)
    refused: dict[str, str] = attrs.Factory(dict)
    diff: str = ""

    def judged(self, outcome: Outcome) -> Outcome:
        """The outcome with the reason why nothing could be recorded for it."""
        reason = self.refused.get(outcome.test.name, "")
        return attrs.evolve(outcome, reason=reason) if reason and outcome.verdict != "pass" else outcome

    def document(self) -> dict[str, Any]:
        """The same as JSON values."""
        refused = [{"test": name, "reason": reason} for name, reason in self.refused.items()]
        return {"written": [attrs.asdict(one) for one in self.written], "not_written": refused, "diff": self.diff}


def refuse_in_ci(option: str) -> None:
    """Raise UsageError where CI is set: what a machine wrote there nobody would have looked at."""
    if in_ci():
        raise UsageError(
            f"{option} changes app.toml, which is not done where CI is set",
            help="run it on your own machine, look at the diff, and commit it",
        )


def asked(options: argparse.Namespace) -> str:
    """The first of the options that write, "" for none. Raises UsageError where CI is set."""
    option = next((f"--{name.replace('_', '-')}" for name in _OPTIONS if getattr(options, name)), "")
    if option:
        refuse_in_ci(option)
    return option


def recorder(opened: Opened, client: Client) -> Recorder:
    """A recorder for the app as it was read."""
    app = opened.app
    return Recorder(
        app,
        Draft(opened.reading.sources.base),
        client,
        made_with=lambda test: made_with(app, opened.plugins, test),
        keep=lambda one: keep(opened, one),
    )


def write_down(
    opened: Opened, client: Client, tests: Sequence[AppTest], options: argparse.Namespace, console: Console
) -> Report:
    """Write what the options ask for, and show it. Raises SurroundingsError where app.toml has changed meanwhile."""
    report, writer = Report(), recorder(opened, client)
    for test in tests:
        for found in _work(opened, client, writer, test, options):
            if isinstance(found, Written):
                report.written.append(found)
            else:
                report.refused[found[0]] = str(found[1])
    finish(writer, report, console)
    return report


def _work(
    opened: Opened, client: Client, writer: Recorder, test: AppTest, options: argparse.Namespace
) -> Iterator[Written | tuple[str, Unrecordable]]:
    """All that is to be written about one test."""
    try:
        if options.record and not is_recorded(opened, test):
            yield writer.record(test)
        elif (options.accept_all or test.name in options.accept) and _fails(opened, client, test):
            yield writer.accept(test)
    except Unrecordable as error:
        yield test.name, error
    if options.save_failures and test.cases:
        yield from writer.save_failures(test)


def _fails(opened: Opened, client: Client, test: AppTest) -> bool:
    return run_test(opened.app, client, test).verdict == "fail"


def is_recorded(opened: Opened, test: AppTest) -> bool:
    """Whether a test has an expectation: one that is written down, and whose file is there."""
    return checks_something(test) and not (test.expect_file and not (opened.app.root / test.expect_file).exists())


def finish(writer: Recorder, report: Report, console: Console) -> None:
    """Write, then show the diff, the files and the names."""
    report.diff = writer.diff()
    if report.written:
        writer.write()
    if report.diff:
        console.note(report.diff)
    for file, content in writer.files.items():
        console.note(f"wrote {file}, {len(content):,} bytes")
    for one in report.written:
        if one.varied:
            console.note(f"note: {one.test}: left out, not the same each time: {', '.join(one.varied)}")
        if one.hidden:
            console.note(f"note: {one.test}: left out, sensitive: {', '.join(one.hidden)}")
        keys = ", ".join(f"{key} {one.file}" if key == "expect_file" else key for key in one.keys)
        console.result(f"{one.how:<8}  {one.test}   {keys}".rstrip())
    for name, reason in report.refused.items():
        console.error(f"{console.word('INCONCLUSIVE', sys.stderr)}  {name}: nothing was written: {reason}")


def reread(opened: Opened) -> Opened:
    """The app as it is after writing; tests that still check nothing are told by their outcome."""
    app, reading = opened.app, opened.reading
    found = read_app(app.path, opened.plugins, profile=reading.profile, overrides=opened.overrides, spare=UNPROVEN)
    return attrs.evolve(opened, reading=found)

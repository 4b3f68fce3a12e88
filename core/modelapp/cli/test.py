"""`modelapp test`: run the `[[tests]]` of app.toml."""

import argparse
from pathlib import Path

from modelapp import tls
from modelapp.app import AppTest
from modelapp.cli.answering import replica
from modelapp.cli.console import Console
from modelapp.cli.locked import verify
from modelapp.cli.opening import Opened, open_app, tell_warnings
from modelapp.cli.outcomes import Reporter, annotate
from modelapp.cli.recording import Report, asked, reread, write_down
from modelapp.cli.selection import select
from modelapp.client import Client
from modelapp.errors import SurroundingsError, UsageError
from modelapp.junit import write_junit
from modelapp.lockfile import Lock, read_lock
from modelapp.locking import made_with
from modelapp.problems import shown
from modelapp.provenance import changed_files, with_origin
from modelapp.testchecks import UNPROVEN
from modelapp.testrun import run_tests
from modelapp.verdicts import EXIT_STATUS, Outcome, overall, summary


def run(options: argparse.Namespace, console: Console) -> int:
    """Run the selected tests; the verdict over all of them is the exit status."""
    if options.junit is not None:
        _forget(options.junit)
    writes = asked(options)
    opened = open_app(options, console, spare=UNPROVEN if options.record else ())
    tell_warnings(opened.reading, console)
    names = [*options.names, *options.accept]
    verify(opened, options, console, tell=not writes)
    tests = select(opened.app, names, options.tag)
    report = Report()
    outcomes: list[Outcome] = []
    with (
        replica(opened, console, same_release=True) as found,
        Client(found.url, found.token, root=opened.app.root, certificate=tls.certificate(opened.app)) as client,
    ):
        if writes:
            report = write_down(opened, client, tests, options, console)
            opened = reread(opened) if report.written else opened
            tests = select(opened.app, names, options.tag)
        origin = Origin(opened, tests, console)
        reporter = Reporter(opened, found.shown_url, console, max(len(test.name) for test in tests))
        for outcome in map(report.judged, map(origin.told, run_tests(opened.app, client, tests))):
            outcomes.append(outcome)
            reporter.show(outcome)
    _conclude(opened, found.release, outcomes, options, console)
    if console.json:
        more = {"recording": report.document()} if writes else {}
        console.document({**reporter.document(outcomes, found.release), **more})
    for one in opened.reading.loosened:
        console.result(f"loosened: {one}")
    console.result(f"{summary(outcomes)}   {sum(outcome.seconds for outcome in outcomes):.1f} s")
    verdict = overall(outcomes)
    return EXIT_STATUS["inconclusive" if report.refused and verdict == "pass" else verdict]


class Origin:
    """What app.lock knows of the expected files of tests, told where it explains something."""

    def __init__(self, opened: Opened, tests: list[AppTest], console: Console) -> None:
        self._opened = opened
        self._lock = (read_lock(opened.app.root) if any(test.expect_file for test in tests) else None) or Lock()
        for sentence in changed_files(opened.app, self._lock, tests):
            console.note(f"note: {sentence}")

    def told(self, outcome: Outcome) -> Outcome:
        """The outcome with what its expected file was made with, where that is something else now."""
        return with_origin(outcome, self._lock, lambda test: made_with(self._opened.app, self._opened.plugins, test))


def _conclude(
    opened: Opened, release: str, outcomes: list[Outcome], options: argparse.Namespace, console: Console
) -> None:
    annotate(opened.reading, outcomes, console)
    if options.junit is None:
        return
    try:
        properties = {"release": release}
        properties |= {f"loosened {one.key}": one.change for one in opened.reading.loosened}
        write_junit(options.junit, opened.app.name, properties, shown(opened.app.path), outcomes)
    except OSError as error:
        raise SurroundingsError(f"{options.junit} cannot be written: {error.strerror}") from None


def _forget(junit: Path) -> None:
    """Remove the report of an earlier run, which would be read as this one's if this one ends early."""
    try:
        junit.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(f"--junit {junit} cannot be written: {error.strerror}") from None

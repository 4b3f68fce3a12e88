"""`modelapp test`: run the `[[tests]]` of app.toml."""

import argparse
from pathlib import Path

from modelapp.cli.answering import replica
from modelapp.cli.console import Console
from modelapp.cli.opening import Opened, open_app, tell_warnings
from modelapp.cli.outcomes import Reporter, annotate
from modelapp.cli.selection import select
from modelapp.client import Client
from modelapp.errors import SurroundingsError, UsageError
from modelapp.junit import write_junit
from modelapp.problems import shown
from modelapp.testrun import run_tests
from modelapp.verdicts import EXIT_STATUS, Outcome, overall, summary


def run(options: argparse.Namespace, console: Console) -> int:
    """Run the selected tests; the verdict over all of them is the exit status."""
    if options.junit is not None:
        _forget(options.junit)
    opened = open_app(options, console)
    tell_warnings(opened.reading, console)
    tests = select(opened.app, options.names, options.tag)
    outcomes: list[Outcome] = []
    with replica(opened, console, same_release=True) as found:
        reporter = Reporter(opened, found.shown_url, console, max(len(test.name) for test in tests))
        with Client(found.url, found.token, root=opened.app.root) as client:
            for outcome in run_tests(opened.app, client, tests):
                outcomes.append(outcome)
                reporter.show(outcome)
    _conclude(opened, found.release, outcomes, options, console)
    if console.json:
        console.document(reporter.document(outcomes, found.release))
    for one in opened.reading.loosened:
        console.result(f"loosened: {one}")
    console.result(f"{summary(outcomes)}   {sum(outcome.seconds for outcome in outcomes):.1f} s")
    return EXIT_STATUS[overall(outcomes)]


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

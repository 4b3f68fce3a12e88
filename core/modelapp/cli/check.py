"""`modelapp check`: what is wrong with app.toml."""

import argparse
from collections.abc import Callable, Iterable

import attrs

from modelapp.app import App
from modelapp.cli.console import Console
from modelapp.cli.failure import exit_status
from modelapp.cli.opening import FILE
from modelapp.errors import AppFileError
from modelapp.loader import Reading, check_app
from modelapp.plugins import Plugins
from modelapp.problems import Problem


def run(options: argparse.Namespace, console: Console) -> int:
    """Print every problem, or that there is none."""
    plugins = Plugins.load(warn=console.verbosity >= 0)
    try:
        reading = check_app(options.directory / FILE, plugins, profile=options.profile, overrides=options.overrides)
    except AppFileError as error:
        if console.json:
            console.document({"valid": False, "problems": [problem.as_dict() for problem in error.problems]})
        _tell(error.problems, options.format, console.result)
        console.note(counted(len(error.problems), "problem"))
        return exit_status(error)
    app = reading.app
    if options.resolved:
        _show(reading, console)
    _tell(
        reading.notices,
        options.format,
        console.result if options.format == "github" and not options.resolved else console.note,
    )
    if console.json and not options.resolved:
        names = {
            "models": list(app.models),
            "endpoints": list(app.endpoints),
            "tests": [test.name for test in app.tests],
        }
        told = {
            "problems": [],
            "notices": [notice.as_dict() for notice in reading.notices],
            "loosened": [attrs.asdict(one) for one in reading.loosened],
        }
        console.document({"valid": True, "app": app.name, "profile": reading.profile, **names, **told})
    for one in reading.loosened:
        console.note(f"loosened: {one}")
    (console.note if options.resolved else console.result)(f"{FILE} is valid: {contents(app)}")
    return 0


def _show(reading: Reading, console: Console) -> None:
    """Print every key with its value and origin."""
    from modelapp.resolved import document, resolve  # not for the check alone

    tables = resolve(reading.app, reading.data, reading.sources)
    if console.json:
        keys = [{"key": one.key, "value": one.value, "origin": one.origin} for table in tables for one in table.keys]
        console.document({"app": reading.app.name, "profile": reading.profile, "keys": keys})
    console.result(document(tables).rstrip("\n"))


def _tell(problems: Iterable[Problem], format: str, say: Callable[[str], None]) -> None:
    for problem in problems:
        say(problem.annotation() if format == "github" else _text(problem))


def _text(problem: Problem) -> str:
    """As a snippet where there is something to mend, else as a line."""
    return (
        problem.render() + "\n" if problem.severity == "error" or problem.help or problem.command else problem.brief()
    )


def contents(app: App) -> str:
    """How much there is in an app: "2 models, 1 endpoint, 3 tests"."""
    numbers = ((len(app.models), "model"), (len(app.endpoints), "endpoint"), (len(app.tests), "test"))
    return ", ".join(counted(number, noun) for number, noun in numbers)


def counted(number: int, noun: str) -> str:
    """A number with its noun: "1 model", "2 models"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"

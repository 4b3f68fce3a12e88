"""`modelapp check`: what is wrong with app.toml."""

import argparse

from modelapp.app import App
from modelapp.cli.console import Console
from modelapp.cli.failure import exit_status
from modelapp.cli.opening import FILE, open_app
from modelapp.errors import AppFileError


def run(options: argparse.Namespace, console: Console) -> int:
    """Print every problem, or that there is none."""
    try:
        app = open_app(options, console).app
    except AppFileError as error:
        _tell(error, options.format, console)
        return exit_status(error)
    if console.json:
        names = {
            "models": list(app.models),
            "endpoints": list(app.endpoints),
            "tests": [test.name for test in app.tests],
        }
        console.document({"valid": True, "app": app.name, **names, "problems": []})
    console.result(f"{FILE} is valid: {contents(app)}")
    return 0


def _tell(error: AppFileError, format: str, console: Console) -> None:
    if console.json:
        console.document({"valid": False, "problems": [problem.as_dict() for problem in error.problems]})
    for problem in error.problems:
        console.result(problem.annotation() if format == "github" else problem.render() + "\n")
    console.note(counted(len(error.problems), "problem"))


def contents(app: App) -> str:
    """How much there is in an app: "2 models, 1 endpoint, 3 tests"."""
    numbers = ((len(app.models), "model"), (len(app.endpoints), "endpoint"), (len(app.tests), "test"))
    return ", ".join(counted(number, noun) for number, noun in numbers)


def counted(number: int, noun: str) -> str:
    """A number with its noun: "1 model", "2 models"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"

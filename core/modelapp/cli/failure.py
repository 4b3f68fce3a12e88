"""The one place where an error becomes words on standard error and an exit status."""

import sys
from typing import Any

from modelapp.cli.console import Console
from modelapp.errors import AppFileError, HandlerError, LockDriftError, ModelAppError

INTERRUPTED = 130
UNEXPECTED = 70
"""The exit status of a defect of ours (EX_SOFTWARE); no error that is raised on purpose has it."""


def exit_status(error: BaseException) -> int:
    """The exit status that stands for `error`."""
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    return error.exit_code if isinstance(error, ModelAppError) else UNEXPECTED


def report(error: BaseException, console: Console) -> int:
    """Tell what went wrong and return the exit status. With --json the document goes to standard output too."""
    status = exit_status(error)
    console.error(_text(error, console))
    console.traceback(error)
    if console.json:
        console.document({"error": describe(error)})
    return status


def _text(error: BaseException, console: Console) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    if isinstance(error, AppFileError):
        return str(error)
    label = console.word("error", sys.stderr)
    if isinstance(error, HandlerError) and not error.message.startswith(error.place):
        return f"{label}: {error.place}: {error}"
    if isinstance(error, ModelAppError):
        return f"{label}: {error}"
    return (
        f"{label}: a defect in modelapp: {type(error).__name__}: {error}\n  help: run it again with -vv and report it"
    )


def describe(error: BaseException) -> dict[str, Any]:
    """An error as JSON values."""
    found: dict[str, Any] = {"kind": type(error).__name__, "message": str(error), "exit_status": exit_status(error)}
    if isinstance(error, AppFileError):
        name = error.problems[0].file.name if error.problems else "app.toml"
        found["message"] = f"{name} has {len(error.problems)} problem{'s' * (len(error.problems) != 1)}"
        found["problems"] = [problem.as_dict() for problem in error.problems]
    elif isinstance(error, ModelAppError):
        found |= {"message": error.message, "help": error.help}
    if isinstance(error, HandlerError):
        found["place"] = error.place
    if isinstance(error, LockDriftError):
        found["differences"] = list(error.differences)
    return found

"""The command line. Nothing here imports a model library, numpy or the server; a verb is imported when it is used."""

import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import TextIO

from modelapp.cli.console import Console
from modelapp.cli.environment import enter
from modelapp.cli.parser import parse, verb


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    _mend_streams()
    console = Console()
    try:
        status = _run(sys.argv[1:] if argv is None else argv, console, replace=argv is None)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has left. What is still buffered must not raise again when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return status


def _mend_streams() -> None:
    """A terminal that cannot show a character gets its code, and a closed output is as good as none."""
    sys.stdout = sys.stdout or _nowhere()
    sys.stderr = sys.stderr or _nowhere()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _nowhere() -> TextIO:
    return Path(os.devnull).open("w", encoding="utf-8")


def _run(argv: Sequence[str], console: Console, *, replace: bool) -> int:
    try:
        options = parse(argv, console)
        status = enter(options, console, argv, replace=replace)
        return verb(options.command)(options, console) if status is None else status
    except SystemExit as end:  # --help, --version and a command line that argparse refused
        return end.code if isinstance(end.code, int) else 2
    except BrokenPipeError:
        raise
    except BaseException as error:
        from modelapp.cli.failure import report

        return report(error, console)

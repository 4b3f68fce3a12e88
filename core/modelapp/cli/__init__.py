"""The command line. Nothing here imports a model library, numpy or the server; a verb is imported when it is used."""

import os
import sys
from collections.abc import Sequence

from modelapp.cli.console import Console
from modelapp.cli.parser import parse


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    console = Console()
    try:
        status = _run(sys.argv[1:] if argv is None else argv, console)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has left. What is still buffered must not raise again when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return status


def _run(argv: Sequence[str], console: Console) -> int:
    try:
        verb, options = parse(argv, console)
        return verb(options, console)
    except SystemExit as end:  # --help, --version and a command line that argparse refused
        return end.code if isinstance(end.code, int) else 2
    except BrokenPipeError:
        raise
    except BaseException as error:
        from modelapp.cli.failure import report

        return report(error, console)

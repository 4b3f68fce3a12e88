"""The model of the fault drills: doubles rows of numbers, and misbehaves when a row says so.

A row is [command, id, milliseconds, ...]. A run sleeps as long as its slowest row asks and doubles every row. The runs
and the process that ran them are written to the file DRILL_LOG before they start, so that a drill can tell what was
executed, in which company, and whom to kill.
"""

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

FINE, POISON, SHORT, NAN, DIE, HANG = range(6)
BATCH = int(os.environ.get("DRILL_BATCH", "4"))
WAIT_MS = int(os.environ.get("DRILL_WAIT_MS", "20"))
TIMEOUT_S = float(os.environ.get("DRILL_TIMEOUT_S", "20"))
CAPACITY = int(os.environ.get("DRILL_CAPACITY", "1000"))
WORKERS = int(os.environ.get("DRILL_WORKERS", "1"))
MAX_BODY = 10 * 1024 * 1024


class DrillModel:
    """Loads in DRILL_LOAD_S seconds, or fails to with DRILL_LOAD_FAILS."""

    def __init__(self) -> None:
        time.sleep(float(os.environ.get("DRILL_LOAD_S", "0")))
        if os.environ.get("DRILL_LOAD_FAILS") == "1":
            raise RuntimeError("the weights are not there")

    def __call__(self, rows: Sequence[Sequence[float]]) -> list[list[float]]:
        """One answer a row, unless told otherwise."""
        with Path(os.environ["DRILL_LOG"]).open("a", encoding="ascii") as log:
            log.write(f"{os.getpid()} {' '.join(str(int(row[1])) for row in rows)}\n")
        time.sleep(max(row[2] for row in rows) / 1000)
        commands = {int(row[0]) for row in rows}
        if HANG in commands:
            while True:
                time.sleep(1)
        if DIE in commands:
            os.kill(os.getpid(), signal.SIGKILL)
        if POISON in commands:
            raise ValueError("this row is poison")
        answers = [[(float("nan") if row[0] == NAN else 2.0) * value for value in row] for row in rows]
        return answers[:-1] if SHORT in commands else answers

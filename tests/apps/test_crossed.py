"""Every answer is its own request's, also where many are batched, some are poison, and some clients leave."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"


@pytest.mark.slow
def test_no_answer_is_crossed_lost_or_doubled():
    """The benchmark's random load over real HTTP, in small."""
    command = [sys.executable, str(BENCH / "crossed.py"), "--number", "3000", "--connections", "48"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "| 3,000 |" in done.stdout

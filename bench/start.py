"""How long modelapp takes to start: its help, its check, and a replica over what the model itself takes to load.

    python bench/start.py
    python bench/start.py --runs 3

"The model's own load" is a bare Python process that imports ONNX Runtime, opens the file and answers one row.
"""

import argparse
import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import attrs

import machine
import models
from load import end, free_port
from systems import OURS, PEERS

RESULTS = Path(__file__).parent / "results"
_OWN = """
import sys, numpy, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = int(sys.argv[2])
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
session.run(None, {sys.argv[3]: numpy.array([[float(x) for x in sys.argv[5:]]], sys.argv[4])})
"""


@attrs.frozen
class Times:
    """Milliseconds of each run."""

    what: str
    ms: Sequence[float]

    def line(self) -> str:
        """A row of the table."""
        ordered = sorted(self.ms)
        return f"| {self.what} | {median(ordered):.0f} | {ordered[0]:.0f} | {ordered[-1]:.0f} |"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    runs = parser.parse_args().runs
    models.ensure()
    RESULTS.mkdir(exist_ok=True)
    PEERS.mkdir(exist_ok=True)
    before = machine.facts()
    print(machine.say(before), flush=True)
    modelapp = [sys.executable, "-P", "-m", "modelapp"]
    found = [
        _times("python -c pass", [sys.executable, "-P", "-c", "pass"], runs),
        _times("modelapp --help", [*modelapp, "--help"], runs),
        _times("modelapp check (tiny)", [*modelapp, "-C", str(models.APPS / "tiny"), "check"], runs),
    ]
    every = models.cases(int(str(before["cores"])))
    for case in (every["tiny"], every["encoder-16"]):
        found += _cold(case, max(3, runs // 2))
    print("\n| what | median ms | least | most |\n|---|---:|---:|---:|")
    print("\n".join(times.line() for times in found))
    target = RESULTS / time.strftime("start-%Y%m%d-%H%M%S.json")
    target.write_text(json.dumps({"machine": before, "measured": [attrs.asdict(one) for one in found]}, indent=1))
    print(f"\nkept in {target}")


def _times(what: str, command: Sequence[str], runs: int) -> Times:
    subprocess.run(command, check=True, capture_output=True)  # the first one writes byte code
    return Times(what, [_run_ms(command) for _ in range(runs)])


def _run_ms(command: Sequence[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return (time.perf_counter() - started) * 1e3


def _cold(case: models.Case, runs: int) -> list[Times]:
    """The model alone and the replica, in turns, and their difference."""
    dtype = "float32" if case.datatype == "FP32" else "int64"
    own = [sys.executable, "-P", "-c", _OWN, str(case.model_file), str(case.threads), case.input, dtype]
    own += [str(value) for value in case.row]
    _run_ms(own)
    _ready_ms(case)
    pairs = [(_run_ms(own), _ready_ms(case)) for _ in range(runs)]
    return [
        Times(f"{case.app}: the model's own load", [alone for alone, _ in pairs]),
        Times(f"{case.app}: modelapp run until /readyz is 200", [ready for _, ready in pairs]),
        Times(f"{case.app}: start over the model's own load", [ready - alone for alone, ready in pairs]),
    ]


def _ready_ms(case: models.Case) -> float:
    port = free_port()
    started = time.perf_counter()
    process = OURS.start(case, port, PEERS / "modelapp.log")
    try:
        while time.perf_counter() - started < 60:
            if _is_ready(port):
                return (time.perf_counter() - started) * 1e3
            if process.poll() is not None:
                raise SystemExit(f"modelapp run ended with {process.returncode}; see {PEERS / 'modelapp.log'}")
            time.sleep(0.002)
        raise SystemExit("modelapp was not ready within 60 s")
    finally:
        end(process)


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


if __name__ == "__main__":
    main()

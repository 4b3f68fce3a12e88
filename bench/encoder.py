"""How much of ONNX Runtime's own best throughput is left when the encoder is served: the server's whole cost.

    python bench/encoder.py
    python bench/encoder.py --rounds 1 --seconds 2 --lengths 16

Each round sweeps batch sizes and thread counts in a process of its own, without any server, then loads modelapp with 64
connections that send one row each as Open Inference Protocol JSON. The ratio is served rows over the best of the sweep.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

import machine
import models
from load import need_wrk, serving, wrk
from systems import OURS, PEERS

RESULTS = Path(__file__).parent / "results"
SIZES = (1, 2, 4, 8, 16, 32, 64)
Sweep = Mapping[tuple[int, int], float]
"""(threads, batch size) -> rows per second."""


def main() -> None:
    """The command line."""
    arguments = _arguments()
    if arguments.sweep:
        _print_sweep(arguments.sweep, arguments.seconds)
        return
    need_wrk()
    models.ensure()
    RESULTS.mkdir(exist_ok=True)
    PEERS.mkdir(exist_ok=True)
    before = machine.facts()
    print(machine.say(before), flush=True)
    cores = int(str(before["cores"]))
    kept: dict[str, object] = {}
    for length in arguments.lengths:
        case = models.cases(cores)[f"encoder-{length}"]
        sweeps, served = _measure(case, cores, arguments)
        kept[case.name] = {
            "sweeps": [{str(key): rate for key, rate in one.items()} for one in sweeps],
            "served": served,
        }
        print("\n".join(_report(case, sweeps, served)), flush=True)
    target = RESULTS / time.strftime("encoder-%Y%m%d-%H%M%S.json")
    after = machine.facts()["load_average"]
    target.write_text(json.dumps({"machine": before, "load_average_after": after, "measured": kept}, indent=1))
    print(f"\nkept in {target}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", nargs="+", type=int, default=[16, 128], choices=[16, 128])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8, help="length of the load, and of each sweep in all")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--sweep", metavar="CASE", help=argparse.SUPPRESS)
    return parser.parse_args()


def _measure(case: models.Case, cores: int, arguments: argparse.Namespace) -> tuple[list[Sweep], list[float]]:
    sweeps: list[Sweep] = []
    served: list[float] = []
    for turn in range(arguments.rounds):
        sweeps.append(_sweep(case, arguments.seconds))
        with serving(OURS, case, PEERS / "modelapp.log") as url:
            wrk(url, OURS.body(case), arguments.connections, 2)
            found = wrk(url, OURS.body(case), arguments.connections, arguments.seconds)
        if found.failed:
            raise SystemExit(f"{found.failed} of {found.requests} requests failed")
        served.append(found.per_s)
        best = max(sweeps[-1].values())
        print(f"  {case.name} round {turn + 1}: alone {best:.0f} rows/s, served {found.per_s:.0f}", flush=True)
    return sweeps, served


def _sweep(case: models.Case, seconds: float) -> Sweep:
    words = [sys.executable, __file__, "--sweep", case.name, "--seconds", str(seconds)]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    return {(threads, size): rate for threads, size, rate in json.loads(done.stdout)}


def _print_sweep(name: str, seconds: float) -> None:
    """In the child: rows per second of each thread count and batch size, as JSON."""
    import numpy as np

    cores = int(str(machine.facts()["cores"]))
    case = models.cases(cores)[name]
    counts = sorted({1, cores})
    found = []
    for threads in counts:
        session = models.open_session(case.model_file, threads=threads)
        for size in SIZES:
            rows = {case.input: np.array([case.row] * size, np.int64)}
            session.run(None, rows)
            runs, started = 0, time.perf_counter()
            until = started + seconds / len(counts) / len(SIZES)
            while time.perf_counter() < until or not runs:
                session.run(None, rows)
                runs += 1
            found.append((threads, size, runs * size / (time.perf_counter() - started)))
    print(json.dumps(found))


def _report(case: models.Case, sweeps: Sequence[Sweep], served: Sequence[float]) -> list[str]:
    rates = {key: median(sweep[key] for sweep in sweeps) for key in sweeps[0]}
    (threads, size), best = max(rates.items(), key=lambda entry: entry[1])
    lines = [f"\n### {case.name}", "| threads |" + "".join(f" batch {size} |" for size in SIZES)]
    lines.append("|---|" + "---:|" * len(SIZES))
    for count in sorted({threads for threads, _ in rates}):
        lines.append(f"| {count} |" + "".join(f" {rates[count, size]:.0f} |" for size in SIZES))
    ratio = median(served) / best
    lines.append(f"\nbest alone: {best:.0f} rows/s (batch {size}, {threads} threads); served: {median(served):.0f}")
    lines.append(f"served / best alone = {ratio:.3f}")
    return lines


if __name__ == "__main__":
    main()

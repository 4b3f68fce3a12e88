"""Three times more than it can do: what those get who are admitted, and how soon the others are told.

    python bench/overload.py                             modelapp with three queues, and its peers: about 10 minutes
    python bench/overload.py --systems modelapp --queues 8 --rounds 1 --seconds 4

The model takes 20 ms a run of up to 8 rows, so it does 400 rows a second. What the server does in fact is measured
first, closed-loop; then, open-loop with Poisson arrivals and latency from the scheduled time, 30 % and 300 % of that.
`max_queue` is the length of the queue in rows: the last one admitted is answered after at most queue / 8 + 1 runs, so
that the queue, and nothing else, sets the latency of those admitted. Medians over rounds; ratios are within a round.
"""

import argparse
import json
import resource
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import uvloop

import machine
from openloop import Generator
from room import opened
from subjects import SUBJECTS, Setup, Subject

RESULTS = Path(__file__).parent / "results"
BATCH, RUN_MS = 8, 20
RATIO_MAX, REFUSED_MS_MAX = 1.5, 20.0
Round = Mapping[str, Any]


def main() -> None:
    """The command line."""
    arguments = _arguments()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    before = machine.facts()
    print(machine.say(before), flush=True)
    measured: dict[str, list[Round]] = {}
    for name in arguments.systems:
        SUBJECTS[name].system.install()
    for turn in range(arguments.rounds):
        for label, subject, queue in _lines(arguments):
            found = uvloop.run(_round(subject, queue, arguments, seed=turn))
            measured.setdefault(label, []).append(found)
            print(f"  round {turn + 1} {label}: {json.dumps(found['overload'])}", flush=True)
    print("\n" + "\n".join(table(measured)))
    for label, rounds in measured.items():
        if label.startswith("modelapp"):
            print(f"{label}: {verdict(rounds)}")
    RESULTS.mkdir(exist_ok=True)
    target = RESULTS / time.strftime("overload-%Y%m%d-%H%M%S.json")
    versions = {name: SUBJECTS[name].system.versions() for name in arguments.systems}
    result = {"machine": before, "load_average_after": machine.facts()["load_average"], "seconds": arguments.seconds}
    target.write_text(json.dumps({**result, "systems": versions, "measured": measured}, indent=1))
    print(f"\nkept in {target}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--systems", nargs="+", default=list(SUBJECTS), choices=list(SUBJECTS))
    parser.add_argument("--queues", nargs="+", type=int, default=[8, 16, 64], help="max_queue of modelapp, rows")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8, help="length of each load")
    return parser.parse_args()


def _lines(arguments: argparse.Namespace) -> list[tuple[str, Subject, int]]:
    """(label, server, queue in rows); peers that can be bounded have the shortest of the queues."""
    lines = []
    for name in arguments.systems:
        subject = SUBJECTS[name]
        if "bound" in subject.lacks:
            lines.append((f"{name}, no bound", subject, arguments.queues[0]))
            continue
        queues = arguments.queues if name == "modelapp" else arguments.queues[:1]
        lines += [(f"{name}, queue of {queue}", subject, queue) for queue in queues]
    return lines


async def _round(subject: Subject, queue: int, arguments: argparse.Namespace, seed: int) -> Round:
    setup = Setup(timeout_s=2, capacity=BATCH + queue, batch=BATCH, wait_ms=1)
    async with opened(subject, setup) as room:
        generator = Generator(room, RUN_MS)
        await generator.closed_loop(BATCH * 2, 1)
        capacity = await generator.closed_loop(BATCH * 2, max(2.0, arguments.seconds / 3))
        calm = await generator.open_loop(0.3 * capacity, arguments.seconds, seed)
        flood = await generator.open_loop(3 * capacity, arguments.seconds, seed)
        generator.close()
    return {"capacity_per_s": capacity, "unloaded": calm.summary(), "overload": flood.summary()}


def ratio(one: Round) -> float:
    """The admitted's 99th percentile under overload, over that without."""
    return float(one["overload"]["admitted_p99_ms"] / one["unloaded"]["admitted_p99_ms"])


def table(measured: Mapping[str, Sequence[Round]]) -> list[str]:
    """A Markdown table of medians."""
    lines = [
        "| server | can do, rows/s | unloaded p99 ms | at 3 x: admitted rows/s | p99 ms | ratio | refused | p99 ms |"
        " with Retry-After | late, lost or wrong |",
        "|---|" + "---:|" * 9,
    ]
    for label, rounds in measured.items():
        flood = [one["overload"] for one in rounds]
        other = sum(one["late"] + one["wrong"] + sum(one["failed"].values()) for one in flood)
        cells = [
            f"{median(one['capacity_per_s'] for one in rounds):.0f}",
            f"{median(one['unloaded']['admitted_p99_ms'] for one in rounds):.1f}",
            f"{median(one['admitted_per_s'] for one in flood):.0f}",
            f"{median(one['admitted_p99_ms'] for one in flood):.1f}",
            f"{median(map(ratio, rounds)):.2f}",
            f"{sum(one['refused'] for one in flood):,}",
            f"{median(one['refused_p99_ms'] for one in flood):.1f}",
            f"{sum(one['with_retry_after'] for one in flood):,}",
            f"{other:,}",
        ]
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return lines


def verdict(rounds: Sequence[Round]) -> str:
    """Whether the bars are met: the ratio, the speed and politeness of refusals, the throughput of the admitted."""
    flood = [one["overload"] for one in rounds]
    slow = median(one["refused_p99_ms"] for one in flood)
    told = all(one["with_retry_after"] == one["refused"] for one in flood)
    kept = median(one["overload"]["admitted_per_s"] / one["capacity_per_s"] for one in rounds)
    other = sum(one["late"] + one["wrong"] + sum(one["failed"].values()) for one in flood)
    parts = {
        f"ratio {median(map(ratio, rounds)):.2f}": median(map(ratio, rounds)) <= RATIO_MAX,
        f"refused in {slow:.1f} ms": slow < REFUSED_MS_MAX,
        "Retry-After": told,
        f"{kept:.2f} of capacity": kept >= 0.9,
        f"{other} late, lost or wrong": other == 0,
    }
    return ", ".join(f"{text} {'ok' if holds else 'NOT MET'}" for text, holds in parts.items())


if __name__ == "__main__":
    main()

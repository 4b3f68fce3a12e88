"""Serve the same model with modelapp and its peers, in turns, and print what each did.

    python bench/serve.py                             everything: 5 rounds, tiny and encoder
    python bench/serve.py --cases tiny --rounds 3 --seconds 5
    python bench/serve.py --systems modelapp mosec --seconds 2 --rounds 1

Each round starts every server once, in the same order, and loads it with 1 connection and with 64. Medians over the
rounds are printed as a table and kept with the raw figures in bench/results/.
"""

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

import attrs

import machine
import models
from load import Measured, need_wrk, serving, wrk
from systems import ALL, PEERS, System

RESULTS = Path(__file__).parent / "results"
WARM_UP_S = 1
Figures = Mapping[str, Mapping[int, Sequence[Measured]]]


def main() -> None:
    """The command line."""
    arguments = _arguments()
    need_wrk()
    models.ensure()
    RESULTS.mkdir(exist_ok=True)
    systems = [ALL[name] for name in arguments.systems]
    for system in systems:
        system.install()
    before = machine.facts()
    print(machine.say(before), flush=True)
    every = models.cases(int(str(before["cores"])))
    measured = {}
    for name in arguments.cases:
        figures = _measure(every[name], systems, arguments)
        measured[name] = figures
        print(
            f"\n### {name}: {len(figures[systems[0].name][arguments.connections[0]])} rounds of {arguments.seconds} s"
        )
        print("\n".join(table(figures, arguments.connections)), flush=True)
    _keep(arguments, before, systems, measured)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", default=["tiny", "encoder-16", "encoder-128"])
    parser.add_argument("--systems", nargs="+", default=list(ALL), choices=list(ALL))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=8, help="length of one load")
    parser.add_argument("--connections", nargs="+", type=int, default=[1, 64])
    return parser.parse_args()


def _measure(case: models.Case, systems: Sequence[System], arguments: argparse.Namespace) -> Figures:
    figures: dict[str, dict[int, list[Measured]]] = {
        system.name: {connections: [] for connections in arguments.connections} for system in systems
    }
    for turn in range(arguments.rounds):
        for system in systems:
            log = PEERS / f"{system.name.replace(' ', '-')}.log"
            log.parent.mkdir(exist_ok=True)
            with serving(system, case, log) as url:
                body = system.body(case)
                wrk(url, body, max(arguments.connections), WARM_UP_S)
                for connections in arguments.connections:
                    found = wrk(url, body, connections, arguments.seconds)
                    figures[system.name][connections].append(found)
                    print(_line(case, system, turn, found), flush=True)
    return figures


def _line(case: models.Case, system: System, turn: int, found: Measured) -> str:
    note = f"  {found.failed} FAILED" if found.failed else ""
    what = f"{case.name} round {turn + 1} {system.name} c={found.connections}"
    return f"  {what}: {found.per_s:.0f}/s p50 {found.p50_ms:.2f} ms p99 {found.p99_ms:.2f} ms{note}"


def table(figures: Figures, connections: Sequence[int]) -> list[str]:
    """A Markdown table of medians; failed requests are shown, never dropped."""
    head = "| server |" + "".join(f" c={n}: requests/s | p50 ms | p99 ms |" for n in connections) + " failed |"
    lines = [head, "|---|" + "---:|" * (3 * len(connections) + 1)]
    for name, by_connections in figures.items():
        cells = []
        for n in connections:
            found = by_connections[n]
            cells.append(f"{median(one.per_s for one in found):,.0f}")
            cells.append(f"{median(one.p50_ms for one in found):.2f}")
            cells.append(f"{median(one.p99_ms for one in found):.2f}")
        failed = sum(one.failed for found in by_connections.values() for one in found)
        lines.append(f"| {name} | {' | '.join(cells)} | {failed} |")
    return lines


def _keep(
    arguments: argparse.Namespace,
    before: Mapping[str, object],
    systems: Sequence[System],
    measured: Mapping[str, Figures],
) -> None:
    result = {
        "machine": before,
        "load_average_after": machine.facts()["load_average"],
        "rounds": arguments.rounds,
        "seconds": arguments.seconds,
        "systems": {system.name: system.versions() for system in systems},
        "settings": {
            system.name: {"tiny": attrs.asdict(system.tiny), "encoder": attrs.asdict(system.encoder)}
            for system in systems
        },
        "measured": {
            case: {
                name: {str(n): [attrs.asdict(one) for one in found] for n, found in by_connections.items()}
                for name, by_connections in figures.items()
            }
            for case, figures in measured.items()
        },
    }
    target = RESULTS / time.strftime("serve-%Y%m%d-%H%M%S.json")
    target.write_text(json.dumps(result, indent=1))
    print(f"\nkept in {target}")


if __name__ == "__main__":
    main()

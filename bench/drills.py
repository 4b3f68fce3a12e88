"""Fault drills: the same faults against modelapp and its peers over HTTP, and the table of who survives what.

    python bench/drills.py                                  every drill against every server: about 15 minutes
    python bench/drills.py --systems modelapp --drills a f l
    python bench/drills.py --list

Each drill starts the server afresh, with its own timeout, capacity and checks configured, and ends all its processes.
Outcomes: pass, fail, or n/a where the server has no such feature. They are kept in bench/results/drills.json, to which
a run of some drills adds; timings inside the drills are bounds that a busy machine keeps, not measurements.
"""

import argparse
import asyncio
import inspect
import json
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import drills_processes as processes
import drills_requests as requests
import machine
from room import Claims
from subjects import SUBJECTS, Subject

RESULTS = Path(__file__).parent / "results"
KEPT = RESULTS / "drills.json"
DRILL_S = 150.0
Drill = Callable[[Subject], Awaitable[Claims]]

DRILLS: Mapping[str, tuple[str, Drill]] = {
    "a": ("one row of four makes the model raise: only its request fails", requests.poison),
    "b": ("one request of four is invalid: 4xx naming the place, mates answered", requests.invalid),
    "c": ("the model answers a row too few: no wrong answer with a success code", requests.short),
    "d": ("the model answers NaN: no success with NaN or null", requests.nan),
    "e": ("a client leaves while its batch runs: mates and later requests right", requests.gone_running),
    "f": ("a client leaves while it waits: its row is never run", requests.gone_queued),
    "g": ("a request waits past its time: timeout in time, never run", requests.deadline),
    "h": ("rows of different length at once: right or refused, none cut", requests.ragged),
    "i": ("10 times the capacity at once: the rest refused soon, with Retry-After", requests.overload),
    "j": ("the model's process is killed under load: honest readiness, recovery, nobody stuck", processes.killed),
    "k": ("a run hangs for ever: others answered in time, readiness turns", processes.hung),
    "l": ("SIGTERM under keep-alive load, 10 times: nothing lost, exit 0 in time, no orphan", processes.terminated),
    "m": ("SIGKILL of the parent: no orphan after 5 s, port free", processes.orphaned),
    "n": ("not ready before the model is loaded, nor when it cannot be", processes.unloaded),
    "o": ("100 dripping connections: others answered", requests.slow_clients),
    "p": ("1 MB header, 20 MB body, 1 GB gzip bomb: refused, server lives", requests.oversized),
    "q": ("broken JSON, NaN, deep nesting, empty body: 4xx with a message", requests.malformed),
}


def main() -> None:
    """The command line."""
    arguments = _arguments()
    if arguments.list:
        print("\n".join(f"{letter}. {what}" for letter, (what, _) in DRILLS.items()))
        return
    for name in arguments.systems:
        SUBJECTS[name].system.install()
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {"outcomes": {}, "versions": {}}
    kept["machine"], kept["on"] = machine.facts(), time.strftime("%Y-%m-%d %H:%M:%S")
    print(machine.say(kept["machine"]), flush=True)
    for name in arguments.systems:
        kept["versions"][name] = SUBJECTS[name].system.versions()
        for letter in arguments.drills:
            found = asyncio.run(_run(letter, SUBJECTS[name]))
            kept["outcomes"].setdefault(letter, {})[name] = found
            print(f"{name:9} {letter} {found['outcome']:4} {found['evidence']}", flush=True)
            RESULTS.mkdir(exist_ok=True)
            KEPT.write_text(json.dumps(kept, indent=1, sort_keys=True))
    print("\n" + "\n".join(table(kept["outcomes"])) + f"\n\nkept in {KEPT}")
    own = [found["modelapp"]["outcome"] for found in kept["outcomes"].values() if "modelapp" in found]
    sys.exit(int("fail" in own))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--systems", nargs="+", default=list(SUBJECTS), choices=list(SUBJECTS))
    parser.add_argument("--drills", nargs="+", default=list(DRILLS), choices=list(DRILLS), metavar="LETTER")
    parser.add_argument("--list", action="store_true", help="what the drills are")
    return parser.parse_args()


async def _run(letter: str, subject: Subject) -> dict[str, Any]:
    """One drill; a drill that does not end, or a server that does not start, has failed."""
    started = time.monotonic()
    try:
        async with asyncio.timeout(DRILL_S):
            claims = await DRILLS[letter][1](subject)
    except TimeoutError:
        claims = Claims(bad=[f"the drill did not end in {DRILL_S:.0f} s"])
    except (RuntimeError, OSError) as error:
        claims = Claims(bad=[str(error)])
    return {
        "outcome": claims.outcome,
        "evidence": " ".join(claims.evidence.split()),
        "seconds": round(time.monotonic() - started, 1),
        "what": inspect.getdoc(DRILLS[letter][1]),
    }


def table(outcomes: Mapping[str, Mapping[str, Mapping[str, str]]]) -> list[str]:
    """A Markdown table: drills down, servers across."""
    names = [name for name in SUBJECTS if any(name in found for found in outcomes.values())]
    lines = ["| drill | " + " | ".join(names) + " |", "|---|" + ":---:|" * len(names)]
    for letter, (what, _) in DRILLS.items():
        found = outcomes.get(letter, {})
        cells = [found[name]["outcome"] if name in found else "" for name in names]
        lines.append(f"| {letter}. {what} | " + " | ".join(f"**{c}**" if c == "fail" else c for c in cells) + " |")
    return lines


if __name__ == "__main__":
    main()

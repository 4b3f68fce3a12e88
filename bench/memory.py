"""What a replica takes over its model: memory of its process, less that of a bare one with the same model.

    python bench/memory.py                                 tiny and encoder, idle and after 10,000 requests: 2 minutes
    python bench/memory.py --cases tiny --requests 2000 --rounds 1
    python bench/memory.py --cases tiny --explain          and where the difference lies, by mapped file

The bare process imports ONNX Runtime, opens the same model with the same threads and runs it once: that is what the
idle replica is compared with. Then it runs full batches, since the library keeps the memory of its largest run: that is
what the replica is compared with that has served. The bar is on RSS, which counts shared pages in full; PSS shares them
among the processes that map them, USS leaves them out. The replica serves by Open Inference Protocol JSON over 64
connections, batches as in serve.py. Each line is the median over rounds.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import attrs
import psutil

import machine
import models
from load import serving
from systems import OURS, PEERS
from wire import Connection

RESULTS = Path(__file__).parent / "results"
OVER_MB_MAX = 80.0
CONNECTIONS = 64
METRICS = "metrics"
BARE, BARE_FULL = "bare, one row run", "bare, full batches run"
_BARE = """
import sys, numpy, onnxruntime
sys.path.insert(0, sys.argv[1])
from models import cases, open_session
case = cases(int(sys.argv[3]))[sys.argv[2]]
session = open_session(case.model_file, threads=case.threads)
for rows, runs in ((1, 1), (case.batch, 20)):
    for _ in range(runs):
        session.run(None, {case.input: numpy.array([case.row] * rows, "float32" if case.input == "x" else "int64")})
    print("done", flush=True)
    sys.stdin.readline()
"""


@attrs.frozen
class Memory:
    """Of one process, in MB."""

    rss: float
    pss: float
    uss: float

    @classmethod
    def of(cls, process: psutil.Process) -> "Memory":
        """As the kernel tells it now."""
        found = process.memory_full_info()
        return cls(*(value / 2**20 for value in (found.rss, found.pss, found.uss)))


def main() -> None:
    """The command line."""
    arguments = _arguments()
    models.ensure()
    PEERS.mkdir(exist_ok=True)
    before = machine.facts()
    print(machine.say(before), flush=True)
    cores = int(str(before["cores"]))
    found: dict[str, list[Memory]] = {}
    for _ in range(arguments.rounds):
        for name in arguments.cases:
            for what, memory in _round(models.cases(cores)[name], cores, arguments):
                found.setdefault(f"{name}: {what}", []).append(memory)
    middle = {
        what: Memory(*(median(getattr(one, unit) for one in every) for unit in ("rss", "pss", "uss")))
        for what, every in found.items()
    }
    print("\n" + "\n".join(table(middle)))
    print("\n".join(verdicts(middle)))
    RESULTS.mkdir(exist_ok=True)
    target = RESULTS / time.strftime("memory-%Y%m%d-%H%M%S.json")
    raw = {what: [attrs.asdict(one) for one in every] for what, every in found.items()}
    target.write_text(json.dumps({"machine": before, "versions": OURS.versions(), "measured": raw}, indent=1))
    print(f"\nkept in {target}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", default=["tiny", "encoder-16"], choices=["tiny", "encoder-16"])
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--explain", action="store_true", help="print the largest differences by mapped file")
    return parser.parse_args()


def _round(case: models.Case, cores: int, arguments: argparse.Namespace) -> Iterator[tuple[str, Memory]]:
    for what, memory, files in _bare(case, cores):
        yield what, memory
        alone = files
    for metrics in (True, False):
        word = "metrics on" if metrics else "metrics off"
        with _without(None if metrics else METRICS), serving(OURS, case, PEERS / "modelapp.log") as url:
            parent = _parent(url)
            (replica,) = parent.children()
            yield f"{word}, idle", Memory.of(replica)
            asyncio.run(_ask(url, OURS.body(case), arguments.requests))
            yield f"{word}, after {arguments.requests:,} requests", Memory.of(replica)
            if metrics:
                yield "parent of the replica", Memory.of(parent)
            if metrics and arguments.explain:
                print("\n".join(_explained(alone, mapped(replica))), flush=True)


def _bare(case: models.Case, cores: int) -> Iterator[tuple[str, Memory, Mapping[str, float]]]:
    words = [sys.executable, "-c", _BARE, str(Path(__file__).parent), case.name, str(cores)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(case.threads)}
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for what in (BARE, BARE_FULL):
            if process.stdout.readline() != b"done\n":
                raise SystemExit("the bare process could not run the model")
            yield what, Memory.of(one := psutil.Process(process.pid)), mapped(one)
            process.stdin.write(b"\n")
            process.stdin.flush()


@contextmanager
def _without(plugin: str | None) -> Iterator[None]:
    """Leave a plugin out of the servers that are started meanwhile."""
    if plugin is not None:
        os.environ["MODELAPP_DISABLE_PLUGINS"] = plugin
    try:
        yield
    finally:
        os.environ.pop("MODELAPP_DISABLE_PLUGINS", None)


def _parent(url: str) -> psutil.Process:
    """The child of this process that serves the URL's port."""
    port = url.split(":")[2].split("/")[0]
    return next(one for one in psutil.Process().children() if any(port in word for word in one.cmdline()))


async def _ask(url: str, body: bytes, requests: int) -> None:
    port, path = int(url.split(":")[2].split("/")[0]), "/" + url.split("/", 3)[3]
    left = iter(range(requests))

    async def client() -> None:
        connection = await Connection.open(port)
        for _ in left:
            reply = await connection.ask("POST", path, body)
            if reply.status != 200:
                raise SystemExit(f"a request got {reply} {reply.text}")
        connection.close()

    await asyncio.gather(*(client() for _ in range(CONNECTIONS)))


def mapped(process: psutil.Process) -> Mapping[str, float]:
    """Resident MB by what is mapped: files by their names, the heap and anonymous memory."""
    found: Counter[str] = Counter()
    for one in process.memory_maps(grouped=True):
        found[one.path] += one.rss
    return {path: rss / 2**20 for path, rss in found.items()}


def _explained(alone: Mapping[str, float], served: Mapping[str, float]) -> list[str]:
    over = {path: served[path] - alone.get(path, 0.0) for path in served}
    most = sorted(over.items(), key=lambda item: -item[1])[:25]
    return [f"  {size:7.1f} MB  {path}" for path, size in most if size > 0.2]


def over_mb(middle: Mapping[str, Memory], what: str) -> float | None:
    """RSS of a replica over that of the bare process it is compared with; None of other processes."""
    case, _, which = what.partition(": ")
    if not which.startswith("metrics"):
        return None
    return middle[what].rss - middle[f"{case}: {BARE if which.endswith('idle') else BARE_FULL}"].rss


def table(middle: Mapping[str, Memory]) -> list[str]:
    """A Markdown table; the last column is RSS over the bare process's."""
    lines = ["| process | RSS MB | PSS MB | USS MB | RSS over the bare one |", "|---|---:|---:|---:|---:|"]
    for what, one in middle.items():
        over = over_mb(middle, what)
        cells = f"| {what} | {one.rss:.1f} | {one.pss:.1f} | {one.uss:.1f} |"
        lines.append(f"{cells} {'' if over is None else f'{over:.1f}'} |")
    return lines


def verdicts(middle: Mapping[str, Memory]) -> list[str]:
    """The bar for each replica."""
    overs = {what: over for what in middle if (over := over_mb(middle, what)) is not None}
    return [f"{what}: {over:.1f} MB over, {'ok' if over <= OVER_MB_MAX else 'NOT MET'}" for what, over in overs.items()]


if __name__ == "__main__":
    main()

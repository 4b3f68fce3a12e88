"""Many random requests at once, some of them poison and some left by their client: is every answer its own?

    python bench/crossed.py                      100,000 requests over 64 connections
    python bench/crossed.py --number 5000 --connections 16 --seed 1

Three models, by two protocols: one pads into buckets and counts tokens, one takes equal shapes only on two threads, one
is plain Python on the loop. Sizes, shapes and priorities are mixed. Every value of a request is its own, and the answer
must be made of them, bear its id, and come once. The exit status is 1 where any does not.
"""

import argparse
import asyncio
import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

import machine
from load import end, free_port
from wire import Connection, ask

HERE = Path(__file__).parent
APP = HERE / "apps" / "crossed"
RESULTS = HERE / "results"
POISON = 13
WRONG = ("crossed", "doubled", "lost", "harmed", "survived poison", "refused")
_PATIENCE_S = 60.0


@attrs.frozen
class Question:
    """One request, what must come back, and when its client leaves (None: it stays)."""

    path: str
    body: bytes
    answer: Any
    poison: bool
    leaves_s: float | None

    def judge(self, status: int, document: Any) -> str:
        """What an answer is: "right", "poison" for an error that is its own, or one of WRONG."""
        if status == 429:
            return "refused"
        if self.poison:
            return "poison" if status == 500 and "poison" in json.dumps(document) else "survived poison"
        if status != 200:
            return "harmed"
        return "right" if _told(document) == self.answer else "crossed"


def _told(document: Any) -> Any:
    """What of an answer must be the request's own."""
    if isinstance(document, dict) and "outputs" in document:
        output = document["outputs"][0]
        return document.get("id"), output["shape"], output["data"]
    return document


def question(number: int, dice: random.Random) -> Question:
    """A random request whose values nobody else has."""
    poison, leaves_s = dice.random() < 0.02, dice.uniform(0, 0.01) if dice.random() < 0.05 else None
    model = dice.choice(["ragged", "strict", "words"])
    first = 1000 + 200 * number
    if model == "words":
        words = [f"{number}-{place}" for place in range(dice.randint(0, 5))]
        body: Mapping[str, Any] = {"number": POISON if poison else first, "words": words}
        return Question("/words", _json(body), {"number": first * 3 + 1, "words": words[::-1]}, poison, leaves_s)
    rows, length = dice.choice([1, 1, 1, 2, 3, 20]), dice.choice([1, 5, 8, 9])
    values = list(range(first, first + rows * length))
    answer = (f"q{number}", [rows, length], [value * 3 + 1 for value in values])
    if poison:
        values[dice.randrange(len(values))] = POISON
    tensor = {"name": "ids", "shape": [rows, length], "datatype": "INT64", "data": values}
    priority = dice.randint(0, 3 if model == "ragged" else 2)
    body = {"id": f"q{number}", "inputs": [tensor], "parameters": {"priority": priority}}
    return Question(f"/v2/models/{model}/infer", _json(body), answer, poison, leaves_s)


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


class Client:
    """One of many connections, and what came of its requests."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connection: Connection | None = None
        self.found: Counter[str] = Counter()

    async def ask(self, one: Question) -> None:
        """Send a request, and judge its answer or leave."""
        if self._connection is None:
            self._connection = await Connection.open(self._port)
        connection = self._connection
        if _unread(connection):
            self.found["doubled"] += 1
        await connection.send("POST", one.path, one.body)
        if one.leaves_s is not None:
            await asyncio.sleep(one.leaves_s)
            await self.leave()
            self.found["left"] += 1
            return
        try:
            reply = await asyncio.wait_for(connection.receive(), _PATIENCE_S)
        except (OSError, EOFError, TimeoutError, ValueError):
            self.found["lost"] += 1
            await self.leave()
            return
        verdict = one.judge(reply.status, reply.json())
        self.found[verdict] += 1
        if verdict in WRONG and self.found[verdict] < 3:
            print(f"{verdict}: {one.body[:200]!r} -> {reply.status} {reply.text}", file=sys.stderr, flush=True)

    async def leave(self) -> None:
        """Hang up."""
        if self._connection is not None:
            self._connection.writer.transport.abort()
            self._connection = None


def _unread(connection: Connection) -> bool:
    """Whether bytes lie there that nobody asked for."""
    return bool(connection.reader._buffer)  # type: ignore[attr-defined]  # the only place to see them


async def load(port: int, number: int, connections: int, seed: int) -> tuple[Counter[str], float]:
    """All requests over all connections; what came of them, and the seconds it took."""
    questions = iter(range(number))

    async def work(client: Client) -> None:
        for one in questions:
            await client.ask(question(one, random.Random(seed * 1_000_003 + one)))
        await client.leave()

    clients = [Client(port) for _ in range(connections)]
    started = time.perf_counter()
    await asyncio.gather(*(work(client) for client in clients))
    return sum((client.found for client in clients), Counter()), time.perf_counter() - started


async def runs(port: int) -> dict[str, float]:
    """Rows a run of each model, where the server tells."""
    means = {}
    for model in ("ragged", "strict", "words"):
        reply = await ask(port, "GET", f"/v2/models/{model}/stats")
        found = reply.json() if reply.status == 200 else None
        for one in (found or {}).get("model_stats", ()):
            if one.get("execution_count"):
                means[model] = round(one["inference_count"] / one["execution_count"], 2)
    return means


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--number", type=int, default=100_000)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    before, port = machine.facts(), free_port()
    print(machine.say(before), flush=True)
    command = [sys.executable, "-P", "-m", "modelapp", "-C", str(APP), "run", "--set", f"server.port={port}"]
    with (RESULTS / "crossed.log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            asyncio.run(_wait_ready(port, server))
            found, seconds = asyncio.run(load(port, arguments.number, arguments.connections, arguments.seed))
            rows_a_run = asyncio.run(runs(port))
        finally:
            end(server)
    print("\n".join(table(found, arguments.number, seconds)))
    _keep(arguments, before, found, seconds, rows_a_run)
    sys.exit(any(found[kind] for kind in WRONG) or sum(found.values()) < arguments.number)


async def _wait_ready(port: int, server: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + _PATIENCE_S
    while True:
        if server.poll() is not None or time.monotonic() > until:
            raise SystemExit(f"the server is not ready; see {RESULTS / 'crossed.log'}")
        if (await ask(port, "GET", "/readyz")).status == 200:
            return
        await asyncio.sleep(0.1)


def table(found: Mapping[str, int], number: int, seconds: float) -> list[str]:
    """A Markdown table; what must not happen is shown also where it did not."""
    kinds = ("right", "poison", "left", *WRONG)
    lines = ["| requests | requests/s |" + "".join(f" {kind} |" for kind in kinds), "|---:" * (2 + len(kinds)) + "|"]
    cells = "".join(f" {found.get(kind, 0):,} |" for kind in kinds)
    return [*lines, f"| {number:,} | {number / seconds:,.0f} |{cells}"]


def _keep(
    arguments: argparse.Namespace,
    before: Mapping[str, object],
    found: Mapping[str, int],
    seconds: float,
    rows_a_run: Mapping[str, float],
) -> None:
    result = {
        "machine": before,
        **vars(arguments),
        "seconds": seconds,
        "found": {kind: found.get(kind, 0) for kind in ("right", "poison", "left", *WRONG)},
        "rows_a_run": rows_a_run,
    }
    target = RESULTS / time.strftime("crossed-%Y%m%d-%H%M%S.json")
    target.write_text(json.dumps(result, indent=1))
    print(f"\nrows a run: {json.dumps(rows_a_run)}\nkept in {target}")


if __name__ == "__main__":
    main()

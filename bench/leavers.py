"""Text streams whose clients leave: how soon is a slot free, and is anything left behind?

    python bench/leavers.py                                 1,000 streams, a quarter of them left, tiny GPT-2 on torch
    python bench/leavers.py --set 'models.narrator.runtime="onnx"' --set 'models.narrator.source="models/tiny_onnx"'

First every slot is taken by a long stream and one more request waits; a client leaves, and the time until the one who
waited has its first token is counted in steps of the model. Then many requests of any length come, a quarter of them
left midway; those that stay must be answered as they are alone, and memory and slots must be what they were before. The
exit status is 1 where they are not.
"""

import argparse
import asyncio
import json
import random
import statistics
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import machine
from load import end, free_port
from wire import Connection, ask

APP = Path(__file__).resolve().parents[1] / "apps" / "dungeon"
RESULTS = Path(__file__).parent / "results"
SLOTS = 8
_PATIENCE_S = 120.0
_WORDS = ("look", "go north", "take lamp", "open the chest", "You are in a kitchen.", "> inventory", "\n", "a key")


class Stream:
    """One streamed completion on a connection of its own."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.texts: list[str] = []

    @classmethod
    async def begin(cls, port: int, prompt: str, max_tokens: int) -> "Stream":
        """Ask; the answer is not waited for."""
        connection = await Connection.open(port)
        asked = {"model": "narrator", "prompt": prompt, "max_tokens": max_tokens, "temperature": 0}
        body = json.dumps({**asked, "stream": True, "ignore_eos": True}).encode()
        await connection.send("POST", "/v1/completions", body)
        return cls(connection)

    async def piece(self) -> bool:
        """Read up to the next event; False at the end. Raises where the answer is no stream."""
        while True:
            line = (await asyncio.wait_for(self._connection.reader.readline(), _PATIENCE_S)).decode()
            if not line:
                raise EOFError("the stream was cut")
            if line.startswith("HTTP/") and " 200 " not in line:
                raise ValueError(line.strip())
            if line.startswith("data: [DONE]"):
                return False
            if line.startswith("data: "):
                self.texts += [choice["text"] for choice in json.loads(line[6:])["choices"]]
                return True

    async def rest(self) -> str:
        """Read to the end; the whole text."""
        while await self.piece():
            pass
        self.leave()
        return "".join(self.texts)

    def leave(self) -> None:
        """Close the connection, whatever is under way."""
        self._connection.close()


async def freed_after(port: int, rounds: int) -> tuple[list[float], float]:
    """Steps until a waiting request has its first token once somebody left, one a round; milliseconds of a step."""
    took_s = []
    between = "modelapp_next_token_seconds"
    sum_s, count = [await _gauge(port, f"{between}_{what}") for what in ("sum", "count")]
    for _ in range(rounds):
        holders = [await Stream.begin(port, "> look\n", 200) for _ in range(SLOTS)]
        for holder in holders:
            await holder.piece()
        waiting = await Stream.begin(port, "> go\n", 2)
        left = time.perf_counter()
        holders[-1].leave()
        await waiting.piece()
        took_s.append(time.perf_counter() - left)
        for holder in (*holders, waiting):
            holder.leave()
        await _quiet(port)
    sum_s, count = [
        await _gauge(port, f"{between}_{what}") - before for what, before in (("sum", sum_s), ("count", count))
    ]
    step_s = sum_s / count
    return [one / step_s for one in took_s], step_s * 1e3


async def crowd(port: int, number: int, connections: int, dice: random.Random) -> Counter[str]:
    """Many streams at once; what came of them."""
    found: Counter[str] = Counter()
    alone: dict[tuple[str, int], str] = {}
    gate = asyncio.Semaphore(connections)

    async def one(leaves: bool) -> None:
        prompt, tokens = " ".join(dice.choices(_WORDS, k=dice.randint(1, 12))), dice.randint(1, 40)
        async with gate:
            stream = await Stream.begin(port, prompt, tokens)
            try:
                if leaves:
                    for _ in range(dice.randint(0, 5)):
                        if not await stream.piece():
                            break
                    stream.leave()
                    found["left"] += 1
                    return
                told = await stream.rest()
            except (OSError, EOFError, ValueError, TimeoutError) as error:
                found["lost"] += 1
                print(f"lost: {error!r}", file=sys.stderr)
                return
        found["answered"] += 1
        alone[prompt, tokens] = told

    await asyncio.gather(*(one(at % 4 == 0) for at in range(number)))
    await _quiet(port)
    for (prompt, tokens), told in dice.sample(sorted(alone.items()), min(60, len(alone))):
        again = await (await Stream.begin(port, prompt, tokens)).rest()
        found["the same alone" if again == told else "other alone"] += 1
    return found


async def _quiet(port: int) -> None:
    """Wait until the model works for nobody. Ends the script where it never does."""
    until = time.monotonic() + _PATIENCE_S
    while time.monotonic() < until:
        if await _gauge(port, "modelapp_active_sequences{") == 0:
            return
        await asyncio.sleep(0.02)
    raise SystemExit("slots are still taken though every client has left")


async def _gauge(port: int, name: str) -> float:
    reply = await ask(port, "GET", "/metrics")
    lines = [line for line in reply.body.decode().splitlines() if line.startswith(name)]
    if not lines:
        raise SystemExit(f"/metrics has no {name}")
    return sum(float(line.split()[-1]) for line in lines)


def memory_mb(pid: int) -> float:
    """What the server and its children hold for themselves."""
    family, total = {pid}, 0.0
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and _parent(entry) in family:
            family.add(int(entry.name))
    for member in family:
        rollup = Path(f"/proc/{member}/smaps_rollup").read_text()
        total += sum(float(line.split()[1]) for line in rollup.splitlines() if line.startswith("Private_"))
    return total / 1024


def _parent(entry: Path) -> int:
    try:
        return int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


async def measure(port: int, pid: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything, on a server that runs."""
    until = time.monotonic() + _PATIENCE_S
    while (await ask(port, "GET", "/readyz")).status != 200:
        if time.monotonic() > until:
            raise SystemExit(f"the server is not ready; see {RESULTS / 'leavers.log'}")
        await asyncio.sleep(0.2)
    dice = random.Random(arguments.seed)
    await crowd(port, 100, arguments.connections, dice)  # so that what is kept for good is there already
    steps, step_ms = await freed_after(port, arguments.rounds)
    before_mb = memory_mb(pid)
    found = await crowd(port, arguments.number, arguments.connections, dice)
    return {
        "step_ms": step_ms,
        "steps_median": statistics.median(steps),
        "steps_max": max(steps),
        "memory_before_mb": before_mb,
        "memory_after_mb": memory_mb(pid),
        "found": dict(found),
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--number", type=int, default=1000)
    parser.add_argument("--connections", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], metavar="K=V", help="as `modelapp run` takes it")
    arguments = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    before, port = machine.facts(), free_port()
    print(machine.say(before), flush=True)
    command = [sys.executable, "-P", "-m", "modelapp", "-C", str(APP), "--profile", "tiny", "run"]
    for override in (f"server.port={port}", f"models.narrator.max_batch_size={SLOTS}", *arguments.set):
        command += ["--set", override]
    with (RESULTS / "leavers.log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            result = asyncio.run(measure(port, server.pid, arguments))
        finally:
            end(server)
    found = result["found"]
    print("| step ms | steps to free, median | most | MB before | MB after | answered | left | lost | other alone |")
    print("|---:" * 9 + "|")
    print(
        f"| {result['step_ms']:.1f} | {result['steps_median']:.1f} | {result['steps_max']:.1f} "
        f"| {result['memory_before_mb']:.0f} | {result['memory_after_mb']:.0f} | {found.get('answered', 0)} "
        f"| {found.get('left', 0)} | {found.get('lost', 0)} | {found.get('other alone', 0)} |"
    )
    target = RESULTS / time.strftime("leavers-%Y%m%d-%H%M%S.json")
    target.write_text(json.dumps({"machine": before, **vars(arguments), **result}, indent=1))
    print(f"\nkept in {target}")
    sys.exit(bool(found.get("lost") or found.get("other alone")))


if __name__ == "__main__":
    main()

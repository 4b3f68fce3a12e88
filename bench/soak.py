"""Whether an app that serves for long leaks: open files, memory and threads under a mix of good, bad and rude clients.

    python bench/soak.py --minutes 10 --rate 300 --out soak.md

Open-loop: requests begin at the rate whatever becomes of them. Ends with status 1 where an answer was not what it must
be, where memory grows, or where files or threads are left.
"""

import argparse
import asyncio
import collections
import contextlib
import json
import math
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import attrs

from load import end, free_port
from machine import facts, say

TOML = """\
[app]
name = "soak"

[server]
max_body_mb = 1

[models.tiny]
source = "tiny.onnx"
runtime = "onnx"
max_batch_size = 64
max_queue = 2048
threads = 1

[endpoints.multiply]
model = "tiny"
[endpoints.multiply.input]
x = { type = "tensor", dtype = "float32", shape = [4] }

[endpoints.slow]
steps = [{ name = "out", run = "handlers.py:slow", needs = ["seconds"] }]
timeout_s = 2
[endpoints.slow.input]
seconds = "float"

[[tests]]
name = "one row"
endpoint = "multiply"
input = { x = [1.0, 2.0, 3.0, 4.0] }
expect = { y = [80.0, 90.0, 100.0, 110.0] }
"""
HANDLERS = """\
import asyncio

async def slow(seconds):
    await asyncio.sleep(seconds)
    return {"slept": seconds}
"""
TICKS = """\
import asyncio

from modelapp import hookimpl
from modelapp.natural import natural_error
from modelapp.routes import HttpStream, ProtocolRoutes, Route

async def ticks():
    for _ in range(20):
        yield b"data: tick\\n\\n"
        await asyncio.sleep(0.02)

async def handle(request):
    return HttpStream(chunks=ticks(), last_words=lambda error: b"event: error\\n\\n")

@hookimpl
def modelapp_protocols(service):
    routes = (Route("POST", "/ticks", handle),)
    return [ProtocolRoutes(name="ticks", prefix="/ticks", routes=routes, error=natural_error)]
"""
GOOD = b'{"x": [1.0, 2.0, 3.0, 4.0]}'
ANSWER = {"y": [80.0, 90.0, 100.0, 110.0]}
SAMPLE_S = 2.0
IDLE_S = 20.0
"""The longest that a client trusts an idle connection: the server closes those that are silent for 30 s."""
GROWTH_MB = 4.0
"""How much memory may grow from the warm-up to the end."""


def head(path: str, length: int, *, close: bool = False) -> bytes:
    """The head of a POST."""
    end_of_it = "connection: close\r\n" if close else ""
    return (
        f"POST {path} HTTP/1.1\r\nhost: soak\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n"
        f"{end_of_it}\r\n"
    ).encode()


class Mix:
    """The clients. `counts` are outcomes by kind, `wrong` what must not be."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.counts: collections.Counter[str] = collections.Counter()
        self.wrong: list[str] = []
        self._idle: list[tuple[float, asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._kinds: list[tuple[str, float, Callable[[], Awaitable[None]]]] = [
            ("good, kept connection", 0.54, self._kept),
            ("good, new connection", 0.10, self._new),
            ("not as declared", 0.10, lambda: self._refused(b'{"x": [1.0]}', 422)),
            ("broken JSON", 0.03, lambda: self._refused(b'{"x": [1.0', 400)),
            ("too large", 0.02, self._oversized),
            ("client leaves", 0.11, self._cancelled),
            ("stream", 0.05, lambda: self._stream(to_end=True)),
            ("stream, client leaves", 0.05, lambda: self._stream(to_end=False)),
        ]

    async def run(self, seconds: float, rate_per_s: float) -> None:
        """Begin requests at the rate, and wait for the last."""
        tasks: set[asyncio.Task[None]] = set()
        begun, until = time.monotonic(), time.monotonic() + seconds
        number = 0
        while (now := time.monotonic()) < until:
            for _ in range(int((now - begun) * rate_per_s) - number):
                number += 1
                task = asyncio.create_task(self._one())
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            await asyncio.sleep(0.01)
        await asyncio.gather(*tasks)
        for _, _, writer in self._idle:
            writer.close()
        self._idle.clear()

    async def _one(self) -> None:
        kind, _, ask = random.choices(self._kinds, [share for _, share, _ in self._kinds])[0]
        try:
            async with asyncio.timeout(20):
                await ask()
            self.counts[kind] += 1
        except Exception as error:
            self.wrong.append(f"{kind}: {type(error).__name__}: {error}")

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A kept one, unless it has been idle for so long that the server may be closing it; else a new one."""
        while self._idle:
            since_s, reader, writer = self._idle.pop()
            if time.monotonic() - since_s < IDLE_S and not reader.at_eof():
                return reader, writer
            writer.close()
        return await self._open()

    async def _answer(self, reader: asyncio.StreamReader) -> tuple[int, bytes]:
        words = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(words.split(b"content-length: ")[1].split(b"\r\n")[0])
        return int(words.split(b" ", 2)[1]), await reader.readexactly(length)

    async def _kept(self) -> None:
        reader, writer = await self._connection()
        writer.write(head("/multiply", len(GOOD)) + GOOD)
        self._check(await self._answer(reader))
        self._idle.append((time.monotonic(), reader, writer))

    async def _new(self) -> None:
        reader, writer = await self._open()
        with contextlib.closing(writer):
            writer.write(head("/multiply", len(GOOD), close=True) + GOOD)
            self._check(await self._answer(reader))

    def _check(self, answer: tuple[int, bytes]) -> None:
        if answer[0] != 200 or json.loads(answer[1]) != ANSWER:
            raise ValueError(f"{answer}")

    async def _refused(self, body: bytes, status: int) -> None:
        reader, writer = await self._connection()
        writer.write(head("/multiply", len(body)) + body)
        got, text = await self._answer(reader)
        if got != status:
            raise ValueError(f"{got} {text!r}")
        self._idle.append((time.monotonic(), reader, writer))

    async def _oversized(self) -> None:
        reader, writer = await self._open()
        with contextlib.closing(writer):
            writer.write(head("/multiply", 2_000_000) + b"x" * 200_000)
            got, text = await self._answer(reader)
            if got != 413:
                raise ValueError(f"{got} {text!r}")

    async def _cancelled(self) -> None:
        _, writer = await self._open()
        with contextlib.closing(writer):
            body = b'{"seconds": 1.0}'
            writer.write(head("/slow", len(body)) + body)
            await asyncio.sleep(random.random() * 0.1)

    async def _stream(self, *, to_end: bool) -> None:
        reader, writer = await self._open()
        with contextlib.closing(writer):
            writer.write(head("/ticks", 0))
            words = await reader.readuntil(b"\r\n\r\n")
            if not words.startswith(b"HTTP/1.1 200 "):
                raise ValueError(f"{words!r}")
            body = await reader.readuntil(b"\r\n0\r\n\r\n" if to_end else b"data: tick")
            if to_end and body.count(b"data: tick") != 20:
                raise ValueError(f"{body!r}")


@attrs.frozen
class Sample:
    """The replica at one moment. Seconds from the begin of the load."""

    at_s: float
    files: int
    threads: int
    rss_mb: float


def sample(pid: int, begun_s: float) -> Sample:
    """Look at a process."""
    proc = Path(f"/proc/{pid}")
    status = (proc / "status").read_text()
    rss_kb = int(status.split("VmRSS:")[1].split()[0])
    files, threads = len(list((proc / "fd").iterdir())), len(list((proc / "task").iterdir()))
    return Sample(time.monotonic() - begun_s, files, threads, rss_kb / 1024)


@attrs.frozen
class Trend:
    """A line through samples: what it rises in an hour, with the half-width of its 95 % confidence interval."""

    per_hour: float
    margin: float

    @classmethod
    def of(cls, times_s: list[float], values: list[float]) -> "Trend":
        """Least squares. Neighbouring samples are alike, so the spread is that of means over a tenth of the time."""
        blocks = 10
        size = max(1, len(values) // blocks)
        xs = [sum(times_s[i : i + size]) / size / 3600 for i in range(0, size * blocks, size)]
        ys = [sum(values[i : i + size]) / size for i in range(0, size * blocks, size)]
        mean_x, mean_y = sum(xs) / blocks, sum(ys) / blocks
        spread = sum((x - mean_x) ** 2 for x in xs)
        slope = sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True)) / spread
        rest = sum((y - mean_y - slope * (x - mean_x)) ** 2 for x, y in zip(xs, ys, strict=True))
        return cls(slope, 2.31 * math.sqrt(rest / (blocks - 2) / spread))  # Student's t for 8 degrees of freedom


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[tuple[int, int]]:
    """The port and the replica's process id of the app, ready."""
    here = Path(__file__).parent
    (folder / "app.toml").write_text(TOML)
    (folder / "handlers.py").write_text(HANDLERS)
    (folder / "tiny.onnx").write_bytes((here / "apps" / "tiny" / "tiny.onnx").read_bytes())
    about = folder / "site" / "ticks-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: ticks\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[modelapp]\nticks = ticks\n")
    (folder / "site" / "ticks.py").write_text(TICKS)
    port = free_port()
    paths = os.pathsep.join(filter(None, [str(folder / "site"), os.environ.get("PYTHONPATH", "")]))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "modelapp", "run", "--set", f"server.port={port}"],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": paths},
            stdout=log,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    try:
        until = time.monotonic() + 60
        while b"\nready " not in (folder / "log").read_bytes():
            if process.poll() is not None or time.monotonic() > until:
                raise SystemExit((folder / "log").read_text())
            time.sleep(0.1)
        found = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True)
        yield port, int(found.stdout.split()[-1])
    finally:
        end(process)


async def soak(port: int, pid: int, seconds: float, rate_per_s: float) -> tuple[Mix, list[Sample], Sample, Sample]:
    """The load, samples during it, and one before and one after."""
    await Mix(port).run(5, rate_per_s)  # so that every path has been taken once, and every thread started
    await asyncio.sleep(3)
    begun_s = time.monotonic()
    before, samples = sample(pid, begun_s), list[Sample]()
    mix = Mix(port)
    load = asyncio.create_task(mix.run(seconds, rate_per_s))
    while not load.done():
        await asyncio.wait([load], timeout=SAMPLE_S)
        samples.append(sample(pid, begun_s))
        if len(samples) % 30 == 0:
            print(samples[-1], dict(mix.counts), len(mix.wrong), file=sys.stderr, flush=True)
    load.result()
    await asyncio.sleep(5)
    return mix, samples, before, sample(pid, begun_s)


def table(mix: Mix, samples: list[Sample], before: Sample, after: Sample) -> tuple[str, bool]:
    """The result in Markdown, and whether it is good."""
    warm = samples[len(samples) // 5 :]
    times = [one.at_s for one in warm]
    lines = [
        "| | before | after warm-up | at the end | afterwards, idle | trend an hour (95 %) |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, read in (
        ("open files", lambda one: one.files),
        ("threads", lambda one: one.threads),
        ("memory, MB", lambda one: one.rss_mb),
    ):
        trend = Trend.of(times, [float(read(one)) for one in warm])
        cells = [f"{read(one):.4g}" for one in (before, warm[0], warm[-1], after)]
        lines.append(f"| {name} | {' | '.join(cells)} | {trend.per_hour:+.1f} ± {trend.margin:.1f} |")
    total = sum(mix.counts.values())
    lines += [
        "",
        f"{total:,} requests, {len(mix.wrong)} not as they must be:",
        "",
        "| client | requests |",
        "|---|---:|",
    ]
    lines += [f"| {kind} | {number:,} |" for kind, number in mix.counts.most_common()]
    growth_mb = warm[-1].rss_mb - warm[0].rss_mb
    good = not mix.wrong and after.files == before.files and after.threads <= before.threads and growth_mb < GROWTH_MB
    return "\n".join(lines), good


def main() -> int:
    """Soak, print, judge."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--rate", type=float, default=300, help="requests a second")
    parser.add_argument("--out", type=Path, help="also write the table here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as (port, pid):
        mix, samples, before, after = asyncio.run(soak(port, pid, options.minutes * 60, options.rate))
    text, good = table(mix, samples, before, after)
    text = f"{say(facts())}; {options.minutes:g} minutes at {options.rate:g} requests/s.\n\n{text}\n"
    print(text)
    for wrong in mix.wrong[:20]:
        print(wrong, file=sys.stderr)
    if options.out:
        options.out.write_text(text)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

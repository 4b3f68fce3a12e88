"""A server under drill, started afresh and always ended, and what a drill can ask and find out about it."""

import asyncio
import contextlib
import itertools
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import attrs
import psutil

from load import free_port
from subjects import Row, Setup, Subject
from systems import PEERS
from wire import Connection, Reply, ask

START_S = 60.0
_ids = itertools.count(1)


def row(command: int = 0, ms: int = 0, *, width: int = 4) -> list[float]:
    """A row of its own id: command, id, how long its run takes, and something to double."""
    return [float(command), float(next(_ids)), float(ms), *(7.0 + place for place in range(width - 3))]


@attrs.define
class Claims:
    """What a drill found. It passes when all that must hold does."""

    good: list[str] = attrs.Factory(list)
    bad: list[str] = attrs.Factory(list)
    absent: str = ""

    def must(self, holds: bool, good: str, bad: str | None = None) -> None:
        """Note that something holds, or what is the case instead."""
        if holds:
            self.good.append(good)
        else:
            self.bad.append(bad or f"not so: {good}")

    def note(self, text: str) -> None:
        """Evidence either way."""
        self.good.append(text)

    @property
    def outcome(self) -> str:
        """pass, fail or n/a."""
        return "fail" if self.bad else "n/a" if self.absent else "pass"

    @property
    def evidence(self) -> str:
        """One line."""
        held = "; ".join([self.absent, *self.good] if self.absent else self.good)
        broken = "; ".join(self.bad)
        return f"{broken} (held: {held})" if broken and held else broken or held


@attrs.define
class Room:
    """A running server."""

    subject: Subject
    setup: Setup
    port: int
    process: "subprocess.Popen[bytes]"
    log: Path
    family: set[psutil.Process] = attrs.Factory(set)

    async def ask(self, cells: Row, timeout_s: float = 30) -> Reply:
        """One row on a connection of its own."""
        return await ask(self.port, "POST", self.subject.path, self.subject.body(cells), timeout_s=timeout_s)

    async def post(self, body: bytes, headers: dict[str, str] | None = None, timeout_s: float = 20) -> Reply:
        """Bytes as they are."""
        every = {"Content-Type": "application/json", **(headers or {})}
        return await ask(self.port, "POST", self.subject.path, body, every, timeout_s)

    async def leave(self, cells: Row, after_s: float) -> None:
        """Send a row and hang up without reading the answer."""
        connection = await Connection.open(self.port)
        await connection.send("POST", self.subject.path, self.subject.body(cells))
        await asyncio.sleep(after_s)
        connection.close()

    async def ready(self) -> Reply:
        """What the readiness route says; lost where nobody answers."""
        return await ask(self.port, "GET", str(self.subject.ready), headers={}, timeout_s=2)

    def right(self, reply: Reply, cells: Row) -> bool:
        """Whether the row came back doubled."""
        return reply.status == 200 and self.subject.answer(reply.json()) == [2 * value for value in cells]

    def wrong(self, reply: Reply, cells: Row) -> bool:
        """Whether it is a wrong answer with a success code."""
        return 200 <= reply.status < 300 and not self.right(reply, cells)

    def runs(self) -> list[tuple[int, list[int]]]:
        """(process, ids of rows) of each run of the model so far."""
        if not self.log.exists():
            return []
        lines = [[int(word) for word in line.split()] for line in self.log.read_text().splitlines() if line]
        return [(words[0], words[1:]) for words in lines]

    def executed(self, cells: Row) -> bool:
        """Whether the model ever got the row."""
        return any(int(cells[1]) in ids for _, ids in self.runs())

    def together(self, rows: Sequence[Row]) -> bool:
        """Whether one run had all of the rows."""
        wanted = {int(cells[1]) for cells in rows}
        return any(wanted <= set(ids) for _, ids in self.runs())

    async def in_company(self, rows: Sequence[Row], *, busy_ms: int = 500) -> list[Reply]:
        """Send rows while the model is busy, so that they wait and run together; the answers."""
        busy = asyncio.create_task(self.ask(row(ms=busy_ms)))
        await asyncio.sleep(busy_ms / 2000)
        replies = await asyncio.gather(*(self.ask(cells) for cells in rows))
        await busy
        return list(replies)

    def remember(self) -> None:
        """Take note of all its processes, for those that outlive their parent."""
        with contextlib.suppress(psutil.Error):
            parent = psutil.Process(self.process.pid)
            self.family |= {parent, *parent.children(recursive=True)}

    def alive(self) -> list[psutil.Process]:
        """Its processes that still run."""
        found = []
        for one in self.family:
            with contextlib.suppress(psutil.Error):
                if one.is_running() and one.status() != psutil.STATUS_ZOMBIE:
                    found.append(one)
        return found

    def end(self) -> None:
        """End every process of it, asked or not."""
        self.remember()
        self.process.poll() is None and self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(3)
        for one in self.alive():
            with contextlib.suppress(psutil.Error):
                one.kill()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def rss_mb(self) -> float:
        """Resident memory of all its processes."""
        self.remember()
        total = 0
        for one in self.alive():
            with contextlib.suppress(psutil.Error):
                total += one.memory_info().rss
        return total / 2**20


@contextlib.asynccontextmanager
async def opened(subject: Subject, setup: Setup, *, wait: bool = True) -> AsyncIterator[Room]:
    """A server that has answered one row rightly (or, without `wait`, was merely started); ended afterwards.

    Raises RuntimeError where it does not come up in START_S.
    """
    work = PEERS / "work" / f"{subject.name}-drill"
    work.mkdir(parents=True, exist_ok=True)
    port = free_port()
    with tempfile.TemporaryDirectory() as folder, (PEERS / f"{subject.name}-drill.log").open("ab") as output:
        log = Path(folder) / "runs"
        process = await asyncio.to_thread(
            subprocess.Popen,
            subject.command(setup, port, work),
            cwd=work,
            env=dict(subject.environment(setup, port, log)),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        room = Room(subject, setup, port, process, log)
        try:
            if wait:
                await _until_right(room)
            room.remember()
            yield room
        finally:
            await asyncio.to_thread(room.end)


async def _until_right(room: Room) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        cells = row()
        if room.right(reply := await room.ask(cells, timeout_s=5), cells):
            return
        if room.process.poll() is not None:
            raise RuntimeError(f"ended with {room.process.returncode} instead of serving")
        await asyncio.sleep(0.2)
    raise RuntimeError(f"did not answer rightly within {START_S:.0f} s: {reply} {reply.text}")

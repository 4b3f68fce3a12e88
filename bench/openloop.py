"""Open-loop load: requests leave when they are due, whether answers come or not, and latency counts from then."""

import asyncio
import random
import time
from collections.abc import Sequence

import attrs

from room import Room, row
from wire import Connection, Reply

GIVE_UP_S = 3.0
REFUSED = (429, 503)
LATE = (408, 504)


def percentile(values: Sequence[float], percent: float) -> float:
    """The value that so many percent are not above; nan of none."""
    if not values:
        return float("nan")
    return sorted(values)[min(len(values) - 1, int(len(values) * percent / 100))]


@attrs.define
class Load:
    """What came of one load. Milliseconds from the scheduled times; `behind_ms`: how late the generator itself sent."""

    seconds: float = 0.0
    admitted_ms: list[float] = attrs.Factory(list)
    refused_ms: list[float] = attrs.Factory(list)
    behind_ms: list[float] = attrs.Factory(list)
    retry_after: int = 0
    late: int = 0
    wrong: int = 0
    failed: dict[str, int] = attrs.Factory(dict)

    def note(self, room: Room, cells: Sequence[float], reply: Reply, after_ms: float) -> None:
        """Count one answer."""
        if room.right(reply, cells):
            self.admitted_ms.append(after_ms)
        elif reply.status in REFUSED:
            self.refused_ms.append(after_ms)
            self.retry_after += "retry-after" in reply.headers
        elif reply.status in LATE:
            self.late += 1
        elif room.wrong(reply, cells):
            self.wrong += 1
        else:
            self.failed[str(reply)] = self.failed.get(str(reply), 0) + 1

    def summary(self) -> dict[str, object]:
        """The figures."""
        return {
            "admitted": len(self.admitted_ms),
            "admitted_per_s": len(self.admitted_ms) / self.seconds,
            "admitted_p50_ms": percentile(self.admitted_ms, 50),
            "admitted_p99_ms": percentile(self.admitted_ms, 99),
            "refused": len(self.refused_ms),
            "refused_p99_ms": percentile(self.refused_ms, 99),
            "with_retry_after": self.retry_after,
            "late": self.late,
            "wrong": self.wrong,
            "failed": self.failed,
            "generator_behind_p99_ms": percentile(self.behind_ms, 99),
        }


class Generator:
    """Sends rows that take `ms` a run, over connections that are kept and taken again."""

    def __init__(self, room: Room, ms: int) -> None:
        self.room, self.ms = room, ms
        self._idle: list[Connection] = []

    async def open_loop(self, rate_per_s: float, seconds: float, seed: int) -> Load:
        """Arrivals as of many independent clients: exponential gaps, the same for each server."""
        load, chance, tasks = Load(seconds), random.Random(seed), set()
        began = time.monotonic() + 0.05
        scheduled = began
        while (scheduled := scheduled + chance.expovariate(rate_per_s)) < began + seconds:
            if (early := scheduled - time.monotonic()) > 0:
                await asyncio.sleep(early)
            task = asyncio.create_task(self._send(load, scheduled))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks)
        return load

    async def closed_loop(self, clients: int, seconds: float) -> float:
        """Right answers a second with so many clients that each wait for their answer: what the server can do."""
        load, until = Load(seconds), time.monotonic() + seconds

        async def client() -> None:
            while (now := time.monotonic()) < until:
                await self._send(load, now)

        await asyncio.gather(*(client() for _ in range(clients)))
        return len(load.admitted_ms) / seconds

    async def _send(self, load: Load, scheduled: float) -> None:
        load.behind_ms.append((time.monotonic() - scheduled) * 1000)
        cells = row(ms=self.ms)
        try:
            connection = await self._connection()
        except OSError:
            load.note(self.room, cells, Reply(0, lost="refused connection"), 0)
            return
        subject = self.room.subject
        reply = await connection.ask("POST", subject.path, subject.body(cells), timeout_s=GIVE_UP_S)
        load.note(self.room, cells, reply, (time.monotonic() - scheduled) * 1000)
        if reply.status and reply.headers.get("connection", "").lower() != "close":
            self._idle.append(connection)
        else:
            connection.close()

    async def _connection(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if not connection.gone:
                return connection
        return await Connection.open(self.room.port)

    def close(self) -> None:
        """Close what is kept."""
        for connection in self._idle:
            connection.close()
        self._idle.clear()

"""The drills on processes: killed, hung, told to stop, not loaded; and what the readiness route says meanwhile."""

import asyncio
import contextlib
import os
import signal
import subprocess
import time

import attrs

from drills_requests import HANG, say
from room import Claims, Room, opened, row
from subjects import Setup, Subject
from wire import Connection, Reply, ask

RECOVER_S = 20.0
STUCK_S = 10.0
STOPS = 10


@attrs.define
class Watch:
    """What the readiness route said, and its lies: a 200 while a request gets no right answer."""

    first_not_ready_s: float | None = None
    lies: list[str] = attrs.Factory(list)
    right_again_s: float | None = None

    async def look(self, room: Room, since: float, until: float, grace_s: float) -> None:
        """Ask for readiness, and for a row where it says yes, until a row is answered rightly after the grace."""
        while time.monotonic() < until:
            asked = time.monotonic() - since
            ready = await room.ready() if room.subject.ready else None
            if ready is not None and ready.status != 200 and self.first_not_ready_s is None:
                self.first_not_ready_s = asked
            cells = row()
            reply = await room.ask(cells, timeout_s=4)
            if room.right(reply, cells):
                self.right_again_s = time.monotonic() - since
                return
            if ready is not None and ready.status == 200 and asked >= grace_s:
                self.lies.append(f"ready after {asked:.1f} s while a request got {reply}")
            await asyncio.sleep(0.05)

    def judge(self, claims: Claims, subject: Subject) -> None:
        """Whether readiness was honest."""
        if subject.ready is None:
            claims.note("claims no readiness")
            return
        claims.must(not self.lies, "readiness honest", f"{len(self.lies)} x ready but not: {(self.lies or [''])[0]}")


async def killed(subject: Subject) -> Claims:
    """j. SIGKILL of the process that runs the model, under load: honest readiness in 1 s, recovery, nobody stuck."""
    claims = Claims()
    async with opened(subject, Setup(timeout_s=5, workers=2)) as room:
        stop = asyncio.Event()
        clients = [asyncio.create_task(_ask_on(room, stop)) for _ in range(8)]
        await asyncio.sleep(1)
        room.remember()
        os.kill(room.runs()[-1][0], signal.SIGKILL)
        since = time.monotonic()
        watch = Watch()
        await watch.look(room, since, since + RECOVER_S, grace_s=1.0)
        stop.set()
        replies = [reply for asked in await asyncio.gather(*clients) for reply in asked]
        stuck = sum(reply.lost == "timeout" for reply in replies)
        watch.judge(claims, subject)
        claims.must(
            watch.right_again_s is not None,
            f"right again after {watch.right_again_s or 0:.1f} s",
            f"no right answer for {RECOVER_S:.0f} s",
        )
        claims.must(not stuck, "no client stuck", f"{stuck} clients without any answer for {STUCK_S:.0f} s")
        room.remember()
    return claims


async def _ask_on(room: Room, stop: asyncio.Event) -> list[Reply]:
    replies = []
    while not stop.is_set():
        replies.append(await room.ask(row(ms=50), timeout_s=STUCK_S))
        if not replies[-1].status:
            await asyncio.sleep(0.05)
    return replies


async def hung(subject: Subject) -> Claims:
    """k. A run never ends, requests having 2 s: the others get some answer in time, and readiness turns."""
    claims = Claims()
    async with opened(subject, Setup(timeout_s=2)) as room:
        hanging = asyncio.create_task(room.ask(row(HANG), timeout_s=25))
        await asyncio.sleep(0.5)
        since = time.monotonic()
        others = await asyncio.gather(*(room.ask(row(), timeout_s=10) for _ in range(4)))
        bound = max(reply.seconds for reply in others)
        claims.must(
            all(reply.status for reply in others), f"others {say(others)} in {bound:.1f} s", f"others: {say(others)}"
        )
        claims.must(bound < 5, "in time", f"the others were answered after {bound:.1f} s")
        watch = Watch()
        await watch.look(room, since, since + 15, grace_s=5.0)
        watch.judge(claims, subject)
        if watch.right_again_s is not None:
            claims.note(f"right again after {watch.right_again_s:.1f} s")
        elif watch.first_not_ready_s is not None:
            claims.note(f"not ready from {watch.first_not_ready_s:.1f} s on")
        hanging.cancel()
        await asyncio.gather(hanging, return_exceptions=True)
        room.remember()
    return claims


@attrs.define
class Kept:
    """What a keep-alive client saw from the signal on."""

    answered: int = 0
    refused: int = 0
    lost: list[str] = attrs.Factory(list)


async def terminated(subject: Subject) -> Claims:
    """l. SIGTERM under load of keep-alive clients: no request lost, exit code 0 within the drain time of 8 s.

    Stopped STOPS times, for what is lost is lost by a hair; the first time that something does not hold decides.
    """
    for _ in range(STOPS):
        claims = await _terminated_once(subject)
        if claims.bad:
            return claims
    claims.note(f"the last of {STOPS} times")
    return claims


async def _terminated_once(subject: Subject) -> Claims:
    claims = Claims()
    setup = Setup(timeout_s=5)
    async with opened(subject, setup) as room:
        stop, signalled = asyncio.Event(), asyncio.Event()
        clients = [asyncio.create_task(_keep_asking(room, signalled, stop)) for _ in range(32)]
        await asyncio.sleep(1.5)
        room.remember()
        room.process.terminate()
        signalled.set()
        since = time.monotonic()
        with contextlib.suppress(subprocess.TimeoutExpired):
            await asyncio.to_thread(room.process.wait, setup.drain_s + 4)
        took, code = time.monotonic() - since, room.process.poll()
        stop.set()
        seen = await asyncio.gather(*clients)
        lost = [word for one in seen for word in one.lost]
        answered = sum(one.answered for one in seen)
        claims.must(
            not lost,
            f"0 of {answered} lost after the signal",
            f"{len(lost)} of {answered + len(lost)} lost: {_count(lost)}",
        )
        claims.must(code == 0, f"exit 0 after {took:.1f} s", f"exit code {code} after {took:.1f} s")
        await asyncio.sleep(0.3)
        claims.must(not room.alive(), "no orphan", f"{len(room.alive())} processes left behind")
    return claims


def _count(words: list[str]) -> str:
    return ", ".join(f"{words.count(word)} {word}" for word in dict.fromkeys(words))


async def _keep_asking(room: Room, signalled: asyncio.Event, stop: asyncio.Event) -> Kept:
    kept, connection = Kept(), None
    while not stop.is_set():
        age = "kept" if connection and not connection.gone else "new"
        try:
            connection = connection if connection and not connection.gone else await Connection.open(room.port)
        except OSError:
            if signalled.is_set():
                kept.refused += 1
                break
            continue
        cells = row(ms=30)
        reply = await connection.ask("POST", room.subject.path, room.subject.body(cells), timeout_s=10)
        if reply.status:
            kept.answered += signalled.is_set()
            if reply.status == 503:
                await asyncio.sleep(0.02)
        elif signalled.is_set():
            kept.lost.append(f"{reply.lost} ({age} connection)")
        if not reply.status or reply.headers.get("connection", "").lower() == "close":
            connection.close()
            connection = None
    if connection:
        connection.close()
    return kept


async def orphaned(subject: Subject) -> Claims:
    """m. SIGKILL of the process that was started: after 5 s no process is left and the port is free."""
    claims = Claims()
    async with opened(subject, Setup()) as room:
        room.remember()
        busy = asyncio.create_task(room.ask(row(ms=300), timeout_s=3))
        await asyncio.sleep(0.1)
        room.process.kill()
        await asyncio.sleep(5)
        await busy
        left = room.alive()
        names = ", ".join(one.name() for one in left if one.is_running())
        claims.must(not left, "no process left after 5 s", f"{len(left)} processes left after 5 s ({names})")
        reply = await ask(room.port, "GET", "/", timeout_s=1)
        claims.must(reply.lost == "refused", "port free", f"the port still answers: {reply}")
    return claims


async def unloaded(subject: Subject) -> Claims:
    """n. The model takes 3 s to load, or fails to: readiness is not 200 before a request is answered rightly."""
    claims = Claims()
    if subject.ready is None:
        claims.absent = "claims no readiness"
        return claims
    async with opened(subject, Setup(load_s=3), wait=False) as room:
        started = time.monotonic()
        early = await _first_ready(room, 30)
        when = time.monotonic() - started
        cells = row()
        reply = await room.ask(cells, timeout_s=1)
        claims.must(early, f"ready after {when:.1f} s", "never ready in 30 s")
        claims.must(
            not early or room.right(reply, cells), "and right", f"ready after {when:.1f} s while a request got {reply}"
        )
    async with opened(subject, Setup(load_fails=True), wait=False) as room:
        claims.must(
            not await _first_ready(room, 8), "never ready without its model", "ready although its model did not load"
        )
    return claims


async def _first_ready(room: Room, within_s: float) -> bool:
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        room.remember()
        if (await room.ready()).status == 200:
            return True
        if room.process.poll() is not None:
            return False
        await asyncio.sleep(0.05)
    return False

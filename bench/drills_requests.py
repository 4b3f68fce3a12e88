"""The drills on requests: what a mate, a leaver, a bad row or a flood does to everybody else."""

import asyncio
import gzip

from room import Claims, Room, opened, row
from subjects import Setup, Subject
from wire import Connection, Reply

FINE, POISON, SHORT, NAN, DIE, HANG = range(6)
TIMED_OUT = (408, 503, 504)
TRIES = 3


def say(replies: list[Reply]) -> str:
    """The answers in short: 3x200 1x500."""
    words = [str(reply) for reply in replies]
    return " ".join(f"{words.count(word)}x{word}" for word in dict.fromkeys(words))


async def _company(
    room: Room, command: int, claims: Claims, *, width: int = 4
) -> tuple[list[list[float]], list[Reply]]:
    """Three fine rows and one with a command, in one run; tried again while they do not meet."""
    for _ in range(TRIES):
        rows = [row(), row(), row(command, width=width), row()]
        replies = await room.in_company(rows)
        if room.together(rows):
            return rows, replies
    claims.note("the four never met in one run")
    return rows, replies


async def poison(subject: Subject) -> Claims:
    """a. One of four rows makes the model raise: only its request fails."""
    claims = Claims()
    async with opened(subject, Setup()) as room:
        rows, replies = await _company(room, POISON, claims)
        mates = sum(room.right(replies[place], rows[place]) for place in (0, 1, 3))
        claims.must(mates == 3, "3 of 3 mates right", f"{mates} of 3 mates right ({say(replies)})")
        claims.must(replies[2].status >= 400, f"the offender {replies[2]}", f"the offender got {replies[2]}")
    return claims


async def invalid(subject: Subject) -> Claims:
    """b. One of four requests is not as declared: 4xx that names the place, mates answered."""
    claims = Claims()
    async with opened(subject, Setup()) as room:
        busy = asyncio.create_task(room.ask(row(ms=500)))
        await asyncio.sleep(0.25)
        rows = [row() for _ in range(3)]
        bad, *replies = await asyncio.gather(
            room.post(subject.body(["x", 1, 0, 7])), *(room.ask(cells) for cells in rows)
        )
        await busy
        mates = sum(map(room.right, replies, rows))
        claims.must(mates == 3, "3 of 3 mates right", f"{mates} of 3 mates right ({say(list(replies))})")
        claims.must(400 <= bad.status < 500, f"the offender {bad}", f"the offender got {bad}")
        claims.must("row" in bad.text, f"named: {bad.text[:90]}", f"its place is not named: {bad.text[:90]}")
    return claims


async def short(subject: Subject) -> Claims:
    """c. The model answers three rows for four: no wrong answer with a success code."""
    claims = Claims()
    async with opened(subject, Setup()) as room:
        rows, replies = await _company(room, SHORT, claims)
        wrong = [reply for reply, cells in zip(replies, rows, strict=True) if room.wrong(reply, cells)]
        claims.must(
            not wrong, say(replies), f"{len(wrong)} wrong with a success code, e.g. {wrong and wrong[0].text!r}"
        )
        lost = [reply for reply in replies if not reply.status]
        claims.must(not lost, "all answered", f"{len(lost)} of 4 never answered ({say(replies)})")
    return claims


async def nan(subject: Subject) -> Claims:
    """d. One row's answer is NaN: no success with NaN or null."""
    claims = Claims()
    async with opened(subject, Setup()) as room:
        rows, replies = await _company(room, NAN, claims)
        odd = replies[2]
        claims.must(odd.status >= 400, f"the row with NaN {odd}", f"{odd} with {odd.text[:80]!r}")
        mates = sum(room.right(replies[place], rows[place]) for place in (0, 1, 3))
        claims.note(f"{mates} of 3 mates right")
    return claims


async def gone_running(subject: Subject) -> Claims:
    """e. A client hangs up while its batch runs: mates answered rightly, and later requests too."""
    claims = Claims()
    async with opened(subject, Setup()) as room:
        rows = [row(ms=600) for _ in range(3)]
        busy = asyncio.create_task(room.ask(row(ms=300)))
        await asyncio.sleep(0.1)
        _, *replies = await asyncio.gather(
            room.leave(row(ms=600), after_s=0.5), *(room.ask(cells, timeout_s=8) for cells in rows)
        )
        await busy
        claims.must(
            all(map(room.right, replies, rows)), "mates right", f"mates: {say(list(replies))}, not all of them right"
        )
        later = [row() for _ in range(4)]
        after = await asyncio.gather(*(room.ask(cells, timeout_s=8) for cells in later))
        claims.must(all(map(room.right, after, later)), "later ones right", f"later: {say(list(after))}")
    return claims


async def gone_queued(subject: Subject) -> Claims:
    """f. A client hangs up while it waits: its row is never run."""
    claims = Claims()
    async with opened(subject, Setup()) as room:
        busy = asyncio.create_task(room.ask(row(ms=1500)))
        await asyncio.sleep(0.3)
        left, stayed = row(), row()
        mate = asyncio.create_task(room.ask(stayed))
        await room.leave(left, after_s=0.4)
        await busy
        claims.must(room.right(await mate, stayed), "the one that stayed is right", "the one that stayed got no answer")
        await asyncio.sleep(1)
        claims.must(not room.executed(left), "what it left was not run", "what it left was run all the same")
    return claims


async def deadline(subject: Subject) -> Claims:
    """g. A request waits past its time of 1 s: a timeout status soon after, and it is not run later."""
    claims = Claims()
    if "timeout" in subject.lacks:
        claims.absent = "has no timeout to set"
        return claims
    async with opened(subject, Setup(timeout_s=1)) as room:
        # Two runs of 0.8 s stand before it, each within the limit: it would start 1.3 s after it came.
        before = [asyncio.create_task(room.ask(row(ms=800)))]
        await asyncio.sleep(0.15)
        before += [asyncio.create_task(room.ask(row(ms=800))) for _ in range(room.setup.batch)]
        await asyncio.sleep(0.15)
        waiting = row()
        reply = await room.ask(waiting, timeout_s=10)
        claims.must(
            reply.status in TIMED_OUT and reply.seconds < 1.7,
            f"{reply} after {reply.seconds:.1f} s",
            f"{reply} after {reply.seconds:.1f} s for a limit of 1 s",
        )
        await asyncio.gather(*before)
        await asyncio.sleep(2)
        claims.must(not room.executed(waiting), "never run", "run after its time")
    return claims


async def ragged(subject: Subject) -> Claims:
    """h. Rows of different length at once: right answers or a clear refusal."""
    claims = Claims()
    async with opened(subject, Setup()) as room:
        rows = [row(width=4), row(width=6), row(width=5), row(width=4)]
        replies = await room.in_company(rows)
        wrong = [reply for reply, cells in zip(replies, rows, strict=True) if room.wrong(reply, cells)]
        claims.must(
            not wrong, say(replies), f"{len(wrong)} of 4 wrong with 200, e.g. {wrong and wrong[0].text[-60:]!r}"
        )
        clear = all(
            room.right(reply, cells) or 400 <= reply.status < 500 for reply, cells in zip(replies, rows, strict=True)
        )
        claims.must(clear or bool(wrong), "right or refused", f"neither right nor a clear refusal: {say(replies)}")
    return claims


async def overload(subject: Subject) -> Claims:
    """i. Ten times what it takes, at once: refused soon, with Retry-After; the admitted ones right."""
    claims = Claims()
    setup = Setup(capacity=8)
    async with opened(subject, setup) as room:
        rows = [row(ms=200) for _ in range(80)]
        replies = await asyncio.gather(*(room.ask(cells, timeout_s=25) for cells in rows))
        admitted = [reply for reply in replies if reply.status == 200]
        refused = [reply for reply in replies if reply.status in (429, 503)]
        if "bound" in subject.lacks:
            slowest = max(reply.seconds for reply in replies)
            claims.absent = f"has no bound to set: {say(list(replies))}, the slowest after {slowest:.1f} s"
            return claims
        claims.must(
            not any(map(room.wrong, replies, rows)) and len(admitted) > 0, f"{len(admitted)} right", say(list(replies))
        )
        claims.must(len(admitted) + len(refused) == 80, f"{len(refused)} refused", say(list(replies)))
        if refused:
            slowest = max(reply.seconds for reply in refused)
            claims.must(slowest < 0.5, f"in {slowest * 1000:.0f} ms at most", f"refused after up to {slowest:.1f} s")
            told = sum("retry-after" in reply.headers for reply in refused)
            claims.must(told == len(refused), "all with Retry-After", f"{told} of {len(refused)} with Retry-After")
    return claims


async def slow_clients(subject: Subject) -> Claims:
    """o. A hundred connections that send a byte now and then: everybody else is answered."""
    claims = Claims()
    async with opened(subject, Setup()) as room:
        drips = [asyncio.create_task(_drip(room.port)) for _ in range(100)]
        await asyncio.sleep(1)
        slowest, right = 0.0, 0
        for _ in range(20):
            cells = row()
            reply = await room.ask(cells, timeout_s=5)
            right, slowest = right + room.right(reply, cells), max(slowest, reply.seconds)
        for drip in drips:
            drip.cancel()
        await asyncio.gather(*drips, return_exceptions=True)
        claims.must(right == 20, f"20 of 20 right, the slowest {slowest * 1000:.0f} ms", f"{right} of 20 right")
    return claims


async def _drip(port: int) -> None:
    connection = await Connection.open(port)
    try:
        for byte in b"POST / HTTP/1.1\r\nX-Slow: " + b"a" * 1000:
            connection.writer.write(bytes([byte]))
            await asyncio.sleep(0.2)
    finally:
        connection.close()


async def oversized(subject: Subject) -> Claims:
    """p. A header of 1 MB, a body of 20 MB, a gzip bomb of 1 GB: refused, and the server lives."""
    claims = Claims()
    async with opened(subject, Setup()) as room:
        head = await room.post(subject.body(row()), {"X-Large": "a" * 2**20})
        claims.must(400 <= head.status < 500 or head.lost in ("reset", "closed without an answer"), f"header: {head}")
        padded = subject.body(row())[:-1] + b" " * 20 * 2**20 + b"}"
        body = await room.post(padded)
        if "body" in subject.lacks:
            claims.note(f"20 MB: {body} (has no bound to set)")
        else:
            claims.must(400 <= body.status < 500 or body.lost == "reset", f"20 MB: {body}")
        before = room.rss_mb()
        bomb = gzip.compress(b" " * 2**30, 9)
        peak = asyncio.create_task(_peak_mb(room))
        reply = await room.post(bomb, {"Content-Encoding": "gzip"})
        peak.cancel()
        grown = max((await asyncio.gather(peak, return_exceptions=True))[0] or 0, room.rss_mb()) - before
        claims.must(400 <= reply.status < 500, f"bomb: {reply}", f"bomb: {reply} {reply.text[:80]}")
        claims.must(grown < 300, f"memory +{grown:.0f} MB", f"memory +{grown:.0f} MB by the bomb")
        cells = row()
        claims.must(room.right(await room.ask(cells), cells), "alive", "no right answer afterwards")
    return claims


async def _peak_mb(room: Room) -> float:
    peak = 0.0
    try:
        while True:
            peak = max(peak, room.rss_mb())
            await asyncio.sleep(0.05)
    except asyncio.CancelledError:
        return peak


async def malformed(subject: Subject) -> Claims:
    """q. Broken JSON, NaN, deep nesting: 4xx with a message."""
    claims = Claims()
    async with opened(subject, Setup()) as room:
        fine = subject.body([0.0, 1.0, 0.0, 7.5])
        bodies = {
            "broken": fine[:-3],
            "NaN": fine.replace(b"7.5", b"NaN"),
            "nested": b"[" * 100_000 + b"]" * 100_000,
            "nested inside": fine.replace(b"7.5", b"[" * 5_000 + b"]" * 5_000),
            "not UTF-8": fine.replace(b"7.5", b'"\xff\xfe"'),
            "empty": b"",
        }
        for name, body in bodies.items():
            reply = await room.post(body)
            clear = 400 <= reply.status < 500 and bool(reply.body)
            claims.must(clear, f"{name} {reply}", f"{name}: {reply} {reply.text[:60]}")
        cells = row()
        claims.must(room.right(await room.ask(cells), cells), "alive", "no right answer afterwards")
    return claims

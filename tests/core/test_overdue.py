"""One timer for every deadline."""

import asyncio
from time import monotonic

from modelapp.call import Call
from modelapp.overdue import Overdue


def test_only_what_is_overdue_is_ended() -> None:
    """A late task is cancelled and known as late; one with time left, and one that was removed, go on."""

    async def live() -> tuple[bool, bool, list[bool]]:
        overdue = Overdue(asyncio.get_running_loop())
        tasks = [asyncio.create_task(asyncio.sleep(0.5)) for _ in range(3)]
        overdue.add(tasks[0], monotonic() + 0.05, Call(monotonic()))
        overdue.add(tasks[1], monotonic() + 60, Call(monotonic()))
        overdue.add(tasks[2], monotonic() + 0.05, Call(monotonic()))
        overdue.remove(tasks[2])
        await asyncio.wait(tasks)
        expired = [overdue.why(task) is not None for task in tasks]
        for task in tasks:
            overdue.remove(task)
        return tasks[0].cancelled(), any(map(overdue.why, tasks)), expired

    assert asyncio.run(live()) == (True, False, [True, False, False])


def test_nothing_ends_early() -> None:
    """A deadline is given a little grace: the layers below tell it more exactly."""

    async def live() -> float:
        overdue = Overdue(asyncio.get_running_loop())
        start = monotonic()
        task = asyncio.create_task(asyncio.sleep(5))
        overdue.add(task, start + 0.2, Call(start))
        await asyncio.wait([task])
        return monotonic() - start

    assert asyncio.run(live()) >= 0.3


def test_a_client_that_leaves_ends_what_takes_longer_than_a_moment() -> None:
    """Whether it leaves before it is watched or after; one that stays is left alone, and so is an answered request."""

    async def live() -> list[str]:
        overdue = Overdue(asyncio.get_running_loop())

        def start(seconds: float, leaves_s: float) -> tuple[asyncio.Task[None], Call]:
            async def disconnect() -> None:
                await asyncio.sleep(leaves_s)

            call = Call(monotonic(), disconnect=disconnect)
            call.heard = True
            task = asyncio.create_task(asyncio.sleep(seconds))
            overdue.add(task, monotonic() + 60, call)
            return task, call

        found = [start(5, 0.0), start(5, 0.4), start(0.6, 60), start(5, 0.3)]
        overdue.remove(found[3][0])
        await asyncio.wait([task for task, _ in found[:3]])
        why = [overdue.why(task) for task, _ in found]
        for task, call in found:
            overdue.remove(task)
            call.close()
            task.cancel()
        return [type(error).__name__ for error in why]

    assert asyncio.run(live()) == ["Cancelled", "Cancelled", "NoneType", "NoneType"]


def test_a_task_that_tells_itself_that_its_client_left_is_not_cancelled() -> None:
    """It is on its way to its end already, and what it awaits there, the end of a stream say, is not cut off."""

    async def live() -> tuple[bool, int]:
        overdue = Overdue(asyncio.get_running_loop())
        call = Call(monotonic() - 1)
        call.heard = True
        ended: list[bool] = []

        async def request() -> int:
            task = asyncio.current_task()
            assert task is not None
            overdue.add(task, monotonic() + 60, call)
            await asyncio.sleep(0.3)  # watched by now
            call.cancel()
            await asyncio.sleep(0)
            ended.append(True)
            overdue.remove(task)
            return task.cancelling()

        cancelled = await asyncio.create_task(request())
        return bool(ended), cancelled

    assert asyncio.run(live()) == (True, 0)

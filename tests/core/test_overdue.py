"""One timer for every deadline."""

import asyncio
from time import monotonic

from modelapp.overdue import Overdue


def test_only_what_is_overdue_is_ended() -> None:
    """A late task is cancelled and known as late; one with time left, and one that was removed, go on."""

    async def live() -> tuple[bool, bool, list[bool]]:
        overdue = Overdue(asyncio.get_running_loop())
        tasks = [asyncio.create_task(asyncio.sleep(0.5)) for _ in range(3)]
        overdue.add(tasks[0], monotonic() + 0.05)
        overdue.add(tasks[1], monotonic() + 60)
        overdue.add(tasks[2], monotonic() + 0.05)
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
        overdue.add(task, start + 0.2)
        await asyncio.wait([task])
        return monotonic() - start

    assert asyncio.run(live()) >= 0.3

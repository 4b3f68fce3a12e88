"""Where suspended tasks stand."""

import asyncio
from collections.abc import AsyncIterator

from modelapp.waiting import frames


async def inner(started: asyncio.Event) -> None:
    """Waits for ever."""
    started.set()
    await asyncio.Event().wait()


async def outer(started: asyncio.Event) -> None:
    """Waits for it."""
    await inner(started)


async def numbers(started: asyncio.Event) -> AsyncIterator[int]:
    """Waits for it between values."""
    yield 1
    await inner(started)


async def walk(started: asyncio.Event) -> None:
    """Waits for the values."""
    async for _ in numbers(started):
        pass


def test_the_chain_is_told_from_the_outermost_to_the_innermost() -> None:
    """Through whatever it awaits, as far as Python tells; a task that has ended has none."""

    async def live() -> tuple[list[str], list[str], list[str]]:
        found = []
        for work in (outer, walk):
            started = asyncio.Event()
            task = asyncio.create_task(work(started))
            await started.wait()
            found.append([frame.f_code.co_name for frame in frames(task)])
            task.cancel()
            await asyncio.wait([task])
        return found[0], found[1], [frame.f_code.co_name for frame in frames(task)]

    chain, walked, ended = asyncio.run(live())
    assert chain == ["outer", "inner", "wait"]
    assert walked[0] == "walk"
    assert ended == []

"""Several streams made one, each piece with the number of the stream that it came from."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from modelapp.generating import Piece

_AHEAD = 64
"""Pieces that are kept for a client that reads slowly."""


async def merged(streams: Sequence[AsyncGenerator[Piece]]) -> AsyncGenerator[tuple[int, Piece]]:
    """The pieces of all streams as they come. The first error ends them all; so does closing this one."""
    if len(streams) == 1:  # by far the most
        async with aclosing(streams[0]) as pieces:
            async for piece in pieces:
                yield 0, piece
        return
    queue: asyncio.Queue[tuple[int, Piece | None]] = asyncio.Queue(_AHEAD)
    tasks = [asyncio.create_task(_pump(number, stream, queue)) for number, stream in enumerate(streams)]
    try:
        left = len(tasks)
        while left:
            number, found = await queue.get()
            if found is not None:
                yield number, found
                continue
            left -= 1
            await tasks[number]  # raises what ended it
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _pump(number: int, stream: AsyncGenerator[Piece], queue: "asyncio.Queue[tuple[int, Piece | None]]") -> None:
    try:
        async with aclosing(stream) as pieces:
            async for piece in pieces:
                await queue.put((number, piece))
    finally:
        await queue.put((number, None))

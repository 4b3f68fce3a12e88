"""Several streams made one, each piece with the number of the stream that it came from."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import TypeAlias

from modelapp.call import is_cancelled
from modelapp.generating import Piece

_AHEAD = 64
"""Pieces that are kept for a client that reads slowly."""
_Queue: TypeAlias = "asyncio.Queue[tuple[int, Piece | BaseException | None]]"


async def merged(streams: Sequence[AsyncGenerator[Piece]]) -> AsyncGenerator[tuple[int, Piece]]:
    """The pieces of all streams as they come. The first error ends them all; so does closing this one."""
    if len(streams) == 1:  # by far the most
        async with aclosing(streams[0]) as pieces:
            async for piece in pieces:
                yield 0, piece
        return
    queue: _Queue = asyncio.Queue(_AHEAD)
    tasks = [asyncio.create_task(_pump(number, stream, queue)) for number, stream in enumerate(streams)]
    try:
        left = len(tasks)
        while left:
            number, found = await queue.get()
            if isinstance(found, Piece):
                yield number, found
            elif found is not None:
                raise found
            else:
                left -= 1
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _pump(number: int, stream: AsyncGenerator[Piece], queue: _Queue) -> None:
    """Put a stream's pieces, and then None or what ended it; where nobody reads any more, nothing."""
    failure: BaseException | None = None
    try:
        async with aclosing(stream) as pieces:
            async for piece in pieces:
                await queue.put((number, piece))
    except BaseException as error:
        if is_cancelled():
            raise
        failure = error
    await queue.put((number, failure))

"""Where a task of the loop stands: its coroutine, what that awaits, and so on to the innermost."""

import asyncio
from collections.abc import Iterator
from types import FrameType
from typing import Any


def frames(task: asyncio.Task[Any]) -> Iterator[FrameType]:
    """The frames of a suspended task, outermost first; nothing of one that has ended or is running this."""
    awaited: Any = task.get_coro()
    while awaited is not None:
        frame = _first(awaited, "cr_frame", "gi_frame", "ag_frame")
        if frame is None:
            return
        yield frame
        awaited = _first(awaited, "cr_await", "gi_yieldfrom", "ag_await")


def _first(awaited: Any, *names: str) -> Any:
    """The attribute that a coroutine, a generator or an asynchronous generator has of these."""
    return next((found for name in names if (found := getattr(awaited, name, None)) is not None), None)

"""Calls that last as long as their clients like: bounded in number, and ended when the replica stops."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from grpc import StatusCode

from modelapp_oip.grpccall import Context

MOST = 1024
"""Of such calls that are open together."""
STOPPING = "this replica is stopping; send the request again"


class LongCalls:
    """Those that are open."""

    def __init__(self) -> None:
        self._open: set[asyncio.Task[None]] = set()

    async def run(self, work: Coroutine[Any, Any, None], context: Context) -> None:
        """Do the work of one call until it ends by itself, or `end` ends it with UNAVAILABLE."""
        if len(self._open) >= MOST:
            work.close()
            await context.abort(StatusCode.RESOURCE_EXHAUSTED, f"{MOST} such calls are open already")
        task = asyncio.ensure_future(work)
        self._open.add(task)
        try:
            await asyncio.wait((task,))
        finally:
            task.cancel()
            self._open.discard(task)
        if task.cancelled():
            await context.abort(StatusCode.UNAVAILABLE, STOPPING)
        task.result()

    def end(self) -> None:
        """End them all."""
        for task in self._open:
            task.cancel()

"""Ends work that nobody waits for: its time is over, or its client has left.

One timer serves all of it, since a timer for each request would cost more than most.
"""

import asyncio
from functools import partial
from time import monotonic
from typing import Any

from modelapp.call import Call, client_left, too_late
from modelapp.errors import RequestError

_PERIOD_S = 0.1


class Overdue:
    """Tasks of requests and their deadlines, in seconds of `time.monotonic`.

    A task late by more than a period is cancelled, and `why` says so. One that takes longer than a period is watched
    from then on, whether its client leaves: most have ended by then, and watching costs as much as they do.
    The layers below keep their own deadlines to the millisecond; this catches what does not look at a clock: a slow
    client's body, a handler that awaits for ever.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._due: dict[asyncio.Task[Any], tuple[float, Call]] = {}
        self._watched: set[asyncio.Task[Any]] = set()
        self._ended: dict[asyncio.Task[Any], RequestError] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, task: asyncio.Task[Any], deadline_s: float, call: Call) -> None:
        """Cancel `task` some time after `deadline_s`, or when the client of `call` leaves; not once it is removed."""
        self._due[task] = (deadline_s, call)
        if self._timer is None:
            self._timer = self._loop.call_later(_PERIOD_S, self._look)

    def remove(self, task: asyncio.Task[Any]) -> None:
        """The task has ended in time, or has answered."""
        self._due.pop(task, None)
        if self._watched:
            self._watched.discard(task)
        if self._ended:
            self._ended.pop(task, None)

    def end(self, task: asyncio.Task[Any], error: RequestError) -> None:
        """Cancel a task now, whether or not it has a deadline; `error` is what it is to tell."""
        self._due.pop(task, None)
        self._ended[task] = error
        task.cancel()

    def why(self, task: asyncio.Task[Any]) -> RequestError | None:
        """Why the task was cancelled here; None where it was not."""
        return self._ended.get(task)

    def _look(self) -> None:
        self._timer = None
        late_s = monotonic() - _PERIOD_S
        for task, (deadline_s, call) in tuple(self._due.items()):
            if deadline_s <= late_s:
                self.end(task, too_late())
            elif call.heard and call.arrived_s <= late_s and task not in self._watched:
                self._watched.add(task)
                call.watch(partial(self._left, task))
        if self._due:
            self._timer = self._loop.call_later(_PERIOD_S, self._look)

    def _left(self, task: asyncio.Task[Any]) -> None:
        # What has no answer yet; a task that found out by itself is on its way to its end.
        if task in self._due and asyncio.current_task(self._loop) is not task:
            self.end(task, client_left())

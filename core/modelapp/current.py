"""Whose request the running code works for: log lines tell it, and so do an app's own calls of other services."""

from collections.abc import Callable
from contextvars import ContextVar
from typing import ParamSpec, TypeVar

from modelapp.call import Call

P = ParamSpec("P")
R = TypeVar("R")

_CURRENT: ContextVar[Call | tuple[Call, ...]] = ContextVar("modelapp_calls", default=())

enter = _CURRENT.set
"""From here on the running task works for this call. A request has a task of its own, so nothing is set back."""


def calls() -> tuple[Call, ...]:
    """The requests that the running code works for: one, all mates of a batch, or none."""
    found = _CURRENT.get()
    return found if isinstance(found, tuple) else (found,)


def work_for(mates: tuple[Call, ...], work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Do `work` on behalf of `mates`, on whatever thread; in the surroundings of the first that a tracer follows."""
    for call in mates:
        if call.surroundings is not None:
            # A copy: a context can be entered once at a time, and a request may be part of several runs.
            return call.surroundings.copy().run(lambda: _work_for(mates, work, *args, **kwargs))
    return _work_for(mates, work, *args, **kwargs)


def _work_for(mates: tuple[Call, ...], work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    before = _CURRENT.set(mates)
    try:
        return work(*args, **kwargs)
    finally:
        _CURRENT.reset(before)

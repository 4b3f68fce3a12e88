"""Functions of handlers.py at work: loaded once, run on the loop or beside it, their failures told as outcomes."""

import asyncio
import contextlib
import inspect
import logging
import types
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from threading import Lock
from typing import Any

from modelapp import handlers
from modelapp.blame import failure
from modelapp.call import Call, is_cancelled
from modelapp.errors import ModelFailed, QueueFull, RequestError

log = logging.getLogger("modelapp")


MAX_WAITING = 256
"""Calls of synchronous functions that may be under way at once; one more is refused like a full queue."""
_UNFINISHED = (types.CoroutineType, types.GeneratorType, types.AsyncGeneratorType)


class Function:
    """One function of an app, named "file.py:function" in app.toml."""

    def __init__(self, root: Path, ref: str, threads: "FunctionThreads") -> None:
        self.ref = ref
        self._root = root
        self._threads = threads
        self._function: Callable[..., Any] = handlers.load(root, ref)
        self._is_async = inspect.iscoroutinefunction(self._function)

    async def __call__(self, call: Call, *arguments: Any) -> Any:
        """Its result for one request. What it raises, sys.exit included, becomes ModelFailed; a RequestError passes."""
        if self._is_async:
            result, raised = await _awaited(self._function, arguments)
        else:
            result, raised = await self._threads.start(self._function, arguments)
        if raised is not None:
            try:
                raise (
                    raised
                    if isinstance(raised, RequestError)
                    else failure(self.ref, raised, self._root, private=call.private)
                ) from None
            finally:
                del raised  # an exception and the frame that holds it keep each other in memory
        if isinstance(result, _UNFINISHED):
            raise self._unfinished(result)
        return result

    def _unfinished(self, result: Any) -> ModelFailed:
        with contextlib.suppress(AttributeError):
            result.close()  # an asynchronous generator has none
        kind = type(result).__name__
        told = f"{self.ref} answered a {kind}; it must return its result, or be an `async def` that does"
        log.error("%s", told)
        return ModelFailed(told)


class FunctionThreads:
    """The threads that synchronous functions run on. A function that outlives its deadline keeps its place here."""

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="handlers")
        self._under_way = 0
        self._lock = Lock()

    def start(
        self, function: Callable[..., Any], arguments: tuple[Any, ...]
    ) -> "asyncio.Future[tuple[Any, BaseException | None]]":
        """Run it on a thread: its result, or what it raised. Raises QueueFull where too many are under way."""
        if self._under_way >= MAX_WAITING:
            raise QueueFull(f"{self._under_way} calls of handler functions are under way", retry_after_s=1)
        with self._lock:
            self._under_way += 1
        # In the request's context, so that log lines there tell it and what the function calls belongs to its trace.
        future = self._pool.submit(copy_context().run, _outcome, function, arguments)
        future.add_done_callback(self._ended)
        return asyncio.wrap_future(future)

    def _ended(self, _: "Future[Any]") -> None:
        with self._lock:
            self._under_way -= 1

    def close(self) -> None:
        """Free the threads; functions still running are left to end by themselves."""
        self._pool.shutdown(wait=False, cancel_futures=True)


class Functions:
    """All functions an app names, each loaded once. Raises HandlerError where one does not import."""

    def __init__(self, root: Path, *, threads: int) -> None:
        self._root = root.resolve()
        self._threads = FunctionThreads(threads)
        self._functions: dict[str, Function] = {}

    def get(self, ref: str) -> Function:
        """The function named `ref`."""
        if ref not in self._functions:
            self._functions[ref] = Function(self._root, ref, self._threads)
        return self._functions[ref]

    def close(self) -> None:
        """Free the threads."""
        self._threads.close()


def _outcome(function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[Any, BaseException | None]:
    """Never raises: a future refuses StopIteration, and SystemExit would end the loop that waits for it."""
    try:
        return function(*arguments), None
    except BaseException as error:
        return None, error


async def _awaited(function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[Any, BaseException | None]:
    """As `_outcome`, of an asynchronous function. Passes on that the running task was asked to end."""
    try:
        return await function(*arguments), None
    except GeneratorExit:
        raise
    except BaseException as error:
        if isinstance(error, asyncio.CancelledError) and is_cancelled():
            raise
        return None, error

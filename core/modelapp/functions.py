"""Functions of handlers.py at work: loaded once, run on the loop or beside it, their failures told as outcomes."""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any

from modelapp import handlers
from modelapp.blame import blame
from modelapp.call import Call
from modelapp.errors import ModelFailed, QueueFull, RequestError

log = logging.getLogger("modelapp")


MAX_WAITING = 256
"""Calls of synchronous functions that may be under way at once; one more is refused like a full queue."""


class Function:
    """One function of an app, named "file.py:function" in app.toml."""

    def __init__(self, root: Path, ref: str, threads: "FunctionThreads") -> None:
        self.ref = ref
        self._root = root
        self._threads = threads
        self._function: Callable[..., Any] = handlers.load(root, ref)
        self._is_async = inspect.iscoroutinefunction(self._function)

    async def __call__(self, call: Call, *arguments: Any) -> Any:
        """Its result for one request. What it raises becomes ModelFailed, but a RequestError passes as it is."""
        try:
            return await self._start(arguments)
        except RequestError:
            raise
        except Exception as error:
            raise self._failed(error) from error

    def _start(self, arguments: tuple[Any, ...]) -> Awaitable[Any]:
        if self._is_async:
            result: Awaitable[Any] = self._function(*arguments)
            return result
        return self._threads.start(self._function, arguments)

    def _failed(self, error: Exception) -> ModelFailed:
        failure = ModelFailed(f"{self.ref} raised {blame(error, self._root)}")
        log.error("%s", failure.message)
        log.debug("in full:", exc_info=error)
        return failure


class FunctionThreads:
    """The threads that synchronous functions run on. A function that outlives its deadline keeps its place here."""

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="handlers")
        self._under_way = 0
        self._lock = Lock()

    def start(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> "asyncio.Future[Any]":
        """Run it on a thread. Raises QueueFull where too many are under way."""
        if self._under_way >= MAX_WAITING:
            raise QueueFull(f"{self._under_way} calls of handler functions are under way", retry_after_s=1)
        with self._lock:
            self._under_way += 1
        future = self._pool.submit(function, *arguments)
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

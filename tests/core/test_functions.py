"""Functions of handlers.py at work."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest

from modelapp.call import Call
from modelapp.errors import InvalidInput, ModelFailed, QueueFull
from modelapp.functions import MAX_WAITING, Functions, FunctionThreads

HANDLERS = """
import threading
from modelapp import InvalidInput

def where(value):
    return value, threading.current_thread().name

async def on_loop(value):
    return value, threading.current_thread().name

def refuse(value):
    raise InvalidInput("too plain", field="value")

def helper(value):
    return 1 / value

def broken(value):
    return helper(0)

def leaves(value):
    raise SystemExit(3)

def stops(value):
    raise StopIteration

def lazy(value):
    yield value
"""


@pytest.fixture
def functions(tmp_path: Path) -> Iterator[Functions]:
    """The functions of an app with the handlers above."""
    (tmp_path / "handlers.py").write_text(HANDLERS, encoding="utf-8")
    functions = Functions(tmp_path, threads=2)
    yield functions
    functions.close()


def call(functions: Functions, name: str, value: object) -> object:
    """The result of one call."""

    async def run() -> object:
        return await functions.get(f"handlers.py:{name}")(Call(monotonic()), value)

    return asyncio.run(run())


def test_plain_functions_leave_the_loop_and_async_ones_stay(functions: Functions) -> None:
    """A function that may take its time does not keep the loop from others."""
    assert call(functions, "where", 7) == (7, "handlers_0")
    assert call(functions, "on_loop", 7) == (7, "MainThread")


def test_request_errors_pass_as_they_are(functions: Functions) -> None:
    """A handler may refuse its input, and the client is told so."""
    with pytest.raises(InvalidInput, match="too plain") as refused:
        call(functions, "refuse", 1)
    assert refused.value.field == "value"


def test_other_errors_name_the_line_in_the_users_file(functions: Functions) -> None:
    """What went wrong is told with the place where it did, in the app's own code."""
    with pytest.raises(ModelFailed) as failed:
        call(functions, "broken", 1)
    assert str(failed.value) == "handlers.py:broken raised ZeroDivisionError: division by zero (handlers.py:15)"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("leaves", "handlers.py:leaves raised SystemExit: 3 (handlers.py:21)"),
        ("stops", "handlers.py:stops raised StopIteration (handlers.py:24)"),
        ("lazy", "handlers.py:lazy answered a generator; it must return its result"),
    ],
)
def test_nothing_a_function_does_ends_the_replica(functions: Functions, name: str, text: str) -> None:
    """sys.exit, an exception that futures refuse, and a forgotten `return` are failures of one request."""
    with pytest.raises(ModelFailed) as failed:
        call(functions, name, 1)
    assert str(failed.value).startswith(text)


def test_functions_are_loaded_once(functions: Functions) -> None:
    """Two steps that name the same function share it."""
    assert functions.get("handlers.py:where") is functions.get("handlers.py:where")


def test_calls_under_way_are_bounded() -> None:
    """Handlers that hang cannot pile up requests without end, and an abandoned call keeps its place until it ends."""

    async def scenario() -> None:
        import threading

        gate = threading.Event()
        threads = FunctionThreads(1)
        waiting = [threads.start(gate.wait, ()) for _ in range(MAX_WAITING)]
        await asyncio.sleep(0.05)
        waiting[0].cancel()
        with pytest.raises(QueueFull):
            threads.start(gate.wait, ())
        gate.set()
        await asyncio.gather(*waiting[1:])
        assert await threads.start(gate.wait, ()) == (True, None)
        threads.close()

    asyncio.run(scenario())

"""The code that runs for a request knows it, on whatever thread."""

import asyncio
import contextvars
import threading
from pathlib import Path

from modelapp import current
from modelapp.batcher import Batcher
from modelapp.batching import Limits, Part
from modelapp.call import Call
from modelapp.functions import Functions

HANDLERS = """
import asyncio
from modelapp import current

def plain():
    return current.calls()

async def loop():
    await asyncio.sleep(0)
    return current.calls()
"""


def test_nobody_is_worked_for_outside_a_request() -> None:
    """Loading, and threads of an app's own."""
    assert contextvars.Context().run(current.calls) == ()


def test_functions_know_their_request_on_threads_and_on_the_loop(tmp_path: Path) -> None:
    """Many at once, each its own."""
    (tmp_path / "handlers.py").write_text(HANDLERS)
    functions = Functions(tmp_path, threads=4)

    async def ask(name: str) -> None:
        call = Call(0.0)
        current.enter(call)
        assert await functions.get(f"handlers.py:{name}")(call) == (call,)

    async def ask_all() -> None:
        await asyncio.gather(*(ask(name) for name in ("plain", "loop") * 20))

    asyncio.run(ask_all())
    functions.close()


def test_a_run_knows_all_its_mates_wherever_it_takes_place() -> None:
    """On the loop and on the model's thread, and nobody is worked for after it."""

    class Model:
        seen: list[tuple[tuple[Call, ...], int]]

        def __init__(self) -> None:
            self.seen = []

        def run(self, parts, run):
            self.seen.append((current.calls(), threading.get_ident()))
            return list(parts)

    async def ask_three() -> Model:
        model = Model()
        batcher = Batcher("m", model, Limits(max_rows=8, max_queue_rows=64, max_wait_s=0, concurrency=1))
        for _ in range(20):  # the first runs are on a thread, the later ones, known to be quick, are not
            calls = [Call(0.0) for _ in range(3)]
            await asyncio.gather(*(batcher.submit(Part(1, 1), call) for call in calls))
            assert model.seen[-1][0] == tuple(calls)
        assert current.calls() == ()
        await batcher.close()
        return model

    model = asyncio.run(ask_three())
    assert len({thread for _, thread in model.seen}) == 2


def test_work_for_several_takes_place_in_the_surroundings_of_the_first_that_is_followed() -> None:
    """Also twice at a time, and inside itself."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="")
    calls = tuple(Call(0.0) for _ in range(3))
    calls[1].surroundings = contextvars.copy_context()
    calls[1].surroundings.run(variable.set, "second")
    calls[2].surroundings = contextvars.copy_context()

    def look() -> tuple[str, tuple[Call, ...]]:
        return variable.get(), current.calls()

    assert current.work_for(calls, look) == ("second", calls)
    assert current.work_for(calls, current.work_for, calls[1:], look) == ("second", calls[1:])
    assert current.work_for(calls[:1], look) == ("", calls[:1])
    assert variable.get() == ""

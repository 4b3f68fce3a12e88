"""The replica's half of a dump, tried in a process of its own without any app."""

import subprocess
import sys
import textwrap
from pathlib import Path

from modelapp.inspection import inspect

PROGRAM = """
    import asyncio, time
    from modelapp.call import Call
    from modelapp.stacks import Stacks

    stacks = Stacks()

    async def serve(call):
        await asyncio.sleep(60)

    async def main():
        stacks.follow(asyncio.get_running_loop(), lambda: {"state": "fine"})
        work = asyncio.ensure_future(serve(Call(time.monotonic(), id="abc")))
        await asyncio.sleep(0)
        print("ready", flush=True)
        await work

    asyncio.run(main())
"""


def test_stacks_and_account_are_told_as_often_as_asked() -> None:
    """By the standard loop as by uvloop, and the process goes on."""
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(PROGRAM)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        for _ in range(3):
            found = inspect(process.pid)
            assert found.account is not None
            assert found.account["state"] == "fine"
            assert [request["id"] for request in found.account["requests"]] == ["abc"]
            assert (found.threads[0].name, found.threads[0].frames[-1].function) == ("MainThread", "<module>")
        assert process.poll() is None
        process.kill()


def test_the_files_have_no_name_that_others_could_open(tmp_path: Path) -> None:
    """They are the process's alone, gone with it, and its children do not get them."""
    program = (
        "import os; from modelapp.stacks import Stacks; kept = Stacks();"
        "print([os.get_inheritable(fd) for fd in (kept._asked, kept._answers)])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stdout == "[False, False]\n"
    assert not any(tmp_path.iterdir())


def test_busy_threads_can_be_looked_at_without_harm() -> None:
    """Frames that come and go while they are read have killed processes where this was done without the lock."""
    program = PROGRAM.replace(
        "async def main():", "async def main():\n        threading.Thread(target=busy, daemon=True).start()"
    )
    busy = "import threading\n    def busy():\n        while True: [*map(str, range(9))]\n\n    async def serve"
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program.replace("async def serve", busy))], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        for _ in range(30):
            assert any(thread.frames[0].function == "busy" for thread in inspect(process.pid).threads[1:])
        process.kill()

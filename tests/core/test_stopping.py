"""How an app stops: under load, while it loads, with streams open, told twice, and with what its code has started."""

import asyncio
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from modelapp.testing import AppProject, Outcome, RunningApp, free_port

TOML = """\
[app]
name = "stops"

[server]
drain_s = DRAIN

[models.twice]
source = "handlers.py"
runtime = "null"
[models.twice.null]
scale = 2.0

[endpoints.twice]
model = "twice"
timeout_s = 1
[endpoints.twice.input]
x = "list[float]"

[endpoints.work]
steps = [{ name = "out", run = "handlers.py:work", needs = ["what"] }]
timeout_s = 1
[endpoints.work.input]
what = "str"
"""
HANDLERS = """\
import subprocess
import sys
import time
from pathlib import Path

FOLDER = Path(__file__).parent
if (FOLDER / "slow").exists():
    (FOLDER / "importing").touch()
    time.sleep(60)

def work(what):
    if what == "spawn":
        return {"pid": subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]).pid}
    time.sleep(0.6)
    return {"did": what}
"""
TICKS = """\
import asyncio

from modelapp import hookimpl
from modelapp.natural import natural_error
from modelapp.routes import HttpStream, ProtocolRoutes, Route

async def ticks():
    while True:
        yield b"data: tick\\n\\n"
        await asyncio.sleep(0.05)

def last_words(error):
    return f"event: error\\ndata: {error.code}\\n\\n".encode()

async def handle(request):
    return HttpStream(chunks=ticks(), last_words=last_words)

@hookimpl
def modelapp_protocols(service):
    routes = (Route("POST", "/ticks", handle),)
    return [ProtocolRoutes(name="ticks", prefix="/ticks", routes=routes, error=natural_error)]
"""
PATIENCE_S = 30.0
REQUEST = (
    b"POST /twice HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 12\r\n\r\n" + b'{"x": [1.0]}'
)


def project(folder: Path, drain_s: float = 10, env: Mapping[str, str] | None = None) -> AppProject:
    """The app in a folder."""
    text = TOML.replace("DRAIN", str(drain_s))
    return AppProject(folder / "app", env=env).write(text, handlers=HANDLERS)


def replica(app: RunningApp) -> int:
    """The replica's process."""
    found = subprocess.run(["pgrep", "-P", str(app.pid)], capture_output=True, text=True, check=True)
    return int(found.stdout.split()[-1])


def until(holds: Callable[[], object]) -> None:
    """Wait until it holds."""
    until_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < until_s, "it did not come about"
        time.sleep(0.02)


def ended(app: RunningApp) -> Outcome:
    """How the command ended, which was signalled before."""
    until(lambda: app.output.exit_code != -1)
    return app.output


class Client:
    """Keeps one connection, never sends anything twice, and counts what became of each request.

    It leaves when it is told to by a refusal: of a request (503 with Retry-After) or of a connection.
    """

    def __init__(self, port: int, think_s: float) -> None:
        self.port, self.think_s = port, think_s
        self.answered = self.refused = 0
        self.lost: list[str] = []

    async def live(self) -> None:
        """Ask until there is nobody to ask."""
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except ConnectionRefusedError:
                return
            try:
                again = await self._use(reader, writer)
            finally:
                writer.close()
            if not again:
                return

    async def _use(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        while True:
            if reader.at_eof():
                return True  # closed while it was idle: seen before anything is sent
            try:
                writer.write(REQUEST)
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
                body = await reader.readexactly(length)
            except (OSError, asyncio.IncompleteReadError) as error:
                self.lost.append(f"{type(error).__name__}: {error}")
                return True
            if head.startswith(b"http/1.1 503 "):
                self.refused += 1
                if b"\r\nretry-after: " not in head:
                    self.lost.append("a refusal without Retry-After")
                return False
            if not head.startswith(b"http/1.1 200 ") or b"2.0" not in body:
                self.lost.append(f"{head!r} {body!r}")
                return False
            self.answered += 1
            if b"\r\nconnection: close\r\n" in head:
                return True
            await asyncio.sleep(random.random() * self.think_s)


async def load(port: int, clients: list[Client], stop: Callable[[], object], seconds: float) -> None:
    """All clients at once; `stop` is called after some seconds."""
    tasks = [asyncio.create_task(client.live()) for client in clients]
    await asyncio.sleep(seconds)
    await asyncio.to_thread(stop)
    await asyncio.wait_for(asyncio.gather(*tasks), PATIENCE_S)


@pytest.mark.slow
@pytest.mark.parametrize("whom", ["command", "both"])
def test_nothing_is_lost_by_stopping_under_load(tmp_path: Path, whom: str) -> None:
    """Thousands of requests of clients that keep their connections, busy ones and ones that think; each is answered
    or politely refused. A service manager that signals both processes at once changes nothing.
    """
    with project(tmp_path).serve() as app:
        pids = [app.pid] if whom == "command" else [replica(app), app.pid]
        clients = [Client(app.port, think_s) for think_s in [0.002] * 24 + [0.8] * 24]
        asyncio.run(load(app.port, clients, lambda: [os.kill(pid, signal.SIGTERM) for pid in pids], 2))
        outcome = ended(app)
    assert [lost for client in clients for lost in client.lost] == []
    assert sum(client.answered for client in clients) > 1000
    assert outcome.exit_code == 0, outcome
    assert "Traceback" not in outcome.stderr


@pytest.mark.slow
def test_a_crowd_that_only_just_arrives_is_answered(tmp_path: Path) -> None:
    """New connections in the very moment of the stop, one request each, again and again."""
    lost = answered = 0
    for _ in range(5):
        with project(tmp_path).serve() as app:
            clients = [Client(app.port, 0.0005) for _ in range(64)]
            asyncio.run(load(app.port, clients, lambda app=app: os.kill(app.pid, signal.SIGTERM), 0.2))
            assert ended(app).exit_code == 0
        lost += sum(len(client.lost) for client in clients)
        answered += sum(client.answered for client in clients)
    assert (lost, answered > 1000) == (0, True)


@pytest.mark.slow
def test_a_stream_at_the_end_of_the_drain_gets_a_last_word(tmp_path: Path, install) -> None:
    """One event that says it may be sent again, then a proper end; the exit is clean."""
    with (
        project(tmp_path, drain_s=6, env=install("ticks", TICKS)).serve() as app,
        socket.create_connection(("127.0.0.1", app.port), timeout=PATIENCE_S) as connection,
    ):
        connection.sendall(b"POST /ticks HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n")
        got = connection.recv(65536)
        assert got.startswith(b"HTTP/1.1 200 ")
        started = time.monotonic()
        os.kill(app.pid, signal.SIGTERM)
        while piece := connection.recv(65536):
            got = got[-200:] + piece
        assert time.monotonic() - started > 3
        outcome = ended(app)
    assert got.count(b"event: error\ndata: not_ready\n\n") == 1
    assert got.endswith(b"\r\n0\r\n\r\n")
    assert outcome.exit_code == 0, outcome
    assert "1 requests were still in progress" in outcome.stderr


@pytest.fixture
def holding(tmp_path: Path, install) -> Iterator[RunningApp]:
    """The app, with a stream open that would keep it for a minute."""
    with (
        project(tmp_path, drain_s=60, env=install("ticks", TICKS)).serve() as app,
        socket.create_connection(("127.0.0.1", app.port), timeout=PATIENCE_S) as connection,
    ):
        connection.sendall(b"POST /ticks HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        yield app


def test_a_second_signal_does_not_wait(holding: RunningApp) -> None:
    """The replica is killed, and the status says so."""
    child = replica(holding)
    os.kill(holding.pid, signal.SIGINT)
    until(lambda: "draining" in holding.output.stderr)
    os.kill(holding.pid, signal.SIGINT)
    assert ended(holding).exit_code == 130
    assert not Path(f"/proc/{child}").exists()


def test_nor_where_the_replica_is_signalled_itself(holding: RunningApp) -> None:
    """Signals that come together are one, as a service manager's that the parent passes on; a later one ends it."""
    child = replica(holding)
    os.kill(child, signal.SIGTERM)
    until(lambda: holding.ask("GET", "/readyz").status == 503)
    os.kill(child, signal.SIGTERM)
    assert holding.ask("GET", "/livez").status == 200
    time.sleep(1.2)
    os.kill(child, signal.SIGTERM)
    until(lambda: "replica died: exit status 130; starting another" in holding.output.stderr)
    until(lambda: "ready again" in holding.output.stderr)


def test_a_stop_while_it_loads_is_no_failure(tmp_path: Path) -> None:
    """Whatever the app's code is doing, the command ends, with status 0, and leaves nobody."""
    app = project(tmp_path)
    (app.folder / "slow").touch()
    words = ["run", "--set", f"server.port={free_port()}"]
    with subprocess.Popen(
        [sys.executable, "-m", "modelapp", *words], cwd=app.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as command:
        until((app.folder / "importing").exists)
        children = subprocess.run(["pgrep", "-P", str(command.pid)], capture_output=True, text=True, check=True)
        command.terminate()
        assert command.wait(PATIENCE_S) == 0, command.stdout.read() if command.stdout else ""
    assert not any(Path(f"/proc/{pid}").exists() for pid in children.stdout.split())


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_what_handlers_have_started_ends_with_the_replica(tmp_path: Path, how: signal.Signals) -> None:
    """Killed or stopped: its process group is ended after it."""
    with project(tmp_path).serve() as app:
        pid = app.post("/work", {"what": "spawn"}).json()["pid"]
        assert Path(f"/proc/{pid}").exists()
        os.kill(replica(app) if how == signal.SIGKILL else app.pid, how)
        until(lambda: not Path(f"/proc/{pid}").exists() or "State:\tZ" in Path(f"/proc/{pid}/status").read_text())

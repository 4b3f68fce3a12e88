"""A plugin's server on a port of its own, in a real replica: told, there before models, drained with the rest."""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from modelapp.testing import AppProject, RunningApp, free_port

TOML = """\
[app]
name = "two-doors"

[server]
drain_s = 20

[models.twice]
source = "handlers.py"
runtime = "null"
[models.twice.null]
load_delay_ms = LOAD

[endpoints.twice]
model = "twice"
timeout_s = 1
[endpoints.twice.input]
x = "list[float]"
"""
DOOR = """\
import asyncio
import os
from time import monotonic

from modelapp import hookimpl
from modelapp import listener
from modelapp.call import Call
from modelapp.errors import RequestError

class Door:
    def __init__(self, host):
        self.host = host

    async def start(self):
        sock = listener.listen("127.0.0.1", int(os.environ["DOOR"]), key="server.grpc_port")
        self.server = await asyncio.start_server(self.answer, sock=sock)
        return f"door://127.0.0.1:{sock.getsockname()[1]}"

    async def stop(self, grace_s):
        self.server.close()

    async def answer(self, reader, writer):
        while line := await reader.readline():
            try:
                with self.host.request(Call(monotonic()), "endpoint", "twice"):
                    await asyncio.sleep(float(line))
                    words = f"ok {self.host.service.release}"
            except RequestError as error:
                words = error.code
            writer.write(f"{words}\\n".encode())

@hookimpl
def modelapp_servers(host):
    return [Door(host)]
"""
PATIENCE_S = 30.0


class Caller:
    """A connection by the other door."""

    def __init__(self, port: int) -> None:
        self._connection = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        self._lines = self._connection.makefile("rw")

    def send(self, seconds: float) -> None:
        """Ask for an answer that takes so long."""
        self._lines.write(f"{seconds}\n")
        self._lines.flush()

    def answer(self) -> str:
        """The next answer."""
        return self._lines.readline().strip()

    def close(self) -> None:
        """Leave."""
        self._lines.close()
        self._connection.close()


Started = tuple[AppProject, int]


@pytest.fixture
def started(tmp_path: Path, install) -> Callable[[float], Started]:
    """An app with the plugin, not run yet, and the plugin's port."""

    def make(load_ms: float = 0) -> Started:
        port = free_port()
        project = AppProject(tmp_path / "app", env={**install("door", DOOR), "DOOR": str(port)})
        return project.write(TOML.replace("LOAD", f"{load_ms:.1f}"), {"handlers.py": ""}), port

    return make


def until(holds: Callable[[], object]) -> None:
    """Wait until it holds."""
    until_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < until_s, "it did not come about"
        time.sleep(0.02)


@pytest.mark.slow
def test_its_address_is_told_and_its_requests_are_drained(started) -> None:
    """By SIGTERM the request in progress is answered, a new one refused, and the exit is clean."""
    project, port = started()
    with project.serve() as app:
        assert f"serving door://127.0.0.1:{port}\n" in app.output.stdout
        slow, quick = Caller(port), Caller(port)
        slow.send(3)
        quick.send(0)
        assert quick.answer().startswith("ok ")
        os.kill(app.pid, signal.SIGTERM)
        until(lambda: app.ask("GET", "/livez").headers.get("connection") == "close")
        quick.send(0)
        assert quick.answer().startswith("ok ")
        time.sleep(1.5)
        quick.send(0)
        assert quick.answer() == "not_ready"
        assert slow.answer().startswith("ok ")
        until(lambda: app.output.exit_code != -1)
        assert app.output.exit_code == 0, app.output
        slow.close()
        quick.close()


def test_it_listens_before_models_are_loaded_and_sees_each_change(started, background) -> None:
    """And the JSON of `run` names it; after a reload its service is the new one."""
    project, port = started(1500)
    run = background("run", "--json", "--set", "server.port=0", cwd=project.folder, env=project.env)
    caller = None
    until_s = time.monotonic() + PATIENCE_S
    while caller is None:
        assert time.monotonic() < until_s, run.stderr
        try:
            caller = Caller(port)
        except OSError:
            time.sleep(0.02)
    caller.send(0)
    assert caller.answer() == "not_ready"
    until(lambda: run.stdout)
    assert json.loads(run.stdout)["servers"] == [f"door://127.0.0.1:{port}"]
    caller.send(0)
    before = caller.answer()
    assert before.startswith("ok ")
    text = (project.folder / "app.toml").read_text()
    (project.folder / "app.toml").write_text(text.replace("timeout_s = 1", "timeout_s = 2"))
    found = subprocess.run(["pgrep", "-P", str(run.process.pid)], capture_output=True, text=True, check=True)
    os.kill(int(found.stdout.split()[-1]), signal.SIGHUP)
    until(lambda: "reloaded: release" in run.stderr)
    caller.send(0)
    assert caller.answer() not in (before, "not_ready")
    caller.close()


def test_a_taken_port_ends_the_start_and_names_its_key(started) -> None:
    """Not the key of the app's own port."""
    project, port = started(60_000)
    with socket.create_server(("127.0.0.1", port)):
        outcome = project.run("run", "--set", "server.port=0")
    assert outcome.exit_code == 5
    assert f"port {port} on 127.0.0.1 is taken by another process" in outcome.stderr
    assert f"--set server.grpc_port={port + 1}" in outcome.stderr


def test_after_a_death_it_is_there_again(started) -> None:
    """On the same port."""
    project, port = started()
    with project.serve() as app:
        _kill_replica(app)
        until(lambda: "ready again" in app.output.stderr)
        caller = Caller(port)
        caller.send(0)
        assert caller.answer().startswith("ok ")
        caller.close()


def _kill_replica(app: RunningApp) -> None:
    found = subprocess.run(["pgrep", "-P", str(app.pid)], capture_output=True, text=True, check=True)
    os.kill(int(found.stdout.split()[-1]), signal.SIGKILL)

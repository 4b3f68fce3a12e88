"""For tests of plugin and app authors, under any test runner: a clock moved by hand, and apps run as real processes.

Nothing here is an imitation of modelapp: `AppProject` writes files and runs the command line on them.
"""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import attrs

_POLL_S = 0.05


class FakeClock:
    """A clock that stands still: calling it gives seconds, `advance` moves it."""

    def __init__(self, start_s: float = 0.0) -> None:
        self.now_s = start_s

    def __call__(self) -> float:
        return self.now_s

    def advance(self, seconds: float) -> None:
        """Move on by `seconds`. Raises ValueError for a negative number."""
        if seconds < 0:
            raise ValueError(f"time does not run back: {seconds}")
        self.now_s += seconds


@attrs.frozen
class Outcome:
    """How a command ended: its exit code (negative: the signal that ended it) and what it printed."""

    command: tuple[str, ...]
    exit_code: int
    stdout: str
    stderr: str

    def json(self) -> Any:
        """The document that a command with --json printed. Raises ValueError, with all output, where it is none."""
        try:
            return json.loads(self.stdout)
        except ValueError as error:
            raise ValueError(f"no JSON document on stdout: {error}\n{self}") from None

    def __str__(self) -> str:
        return f"$ {' '.join(self.command)}\nexit {self.exit_code}\nstdout:\n{self.stdout}\nstderr:\n{self.stderr}"


class DidNotHappenError(AssertionError):
    """What a test waited for did not come; the text holds the output so far."""


@attrs.frozen
class Answer:
    """An answer of a running app. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class _Process:
    """One command under way, in a process group of its own; its output goes to files, which no full pipe can block."""

    def __init__(self, command: list[str], folder: Path, env: Mapping[str, str]) -> None:
        self.command = tuple(command)
        self._stdout: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        self.child = subprocess.Popen(  # noqa: S603 - the caller's own command
            command,
            cwd=folder,
            env={**os.environ, **env},
            stdin=subprocess.DEVNULL,
            stdout=self._stdout,
            stderr=self._stderr,
            start_new_session=True,
        )

    def outcome(self) -> Outcome:
        """The exit code (-1 while it runs) and all output so far."""
        code = self.child.poll()
        return Outcome(self.command, -1 if code is None else code, _text(self._stdout), _text(self._stderr))

    def wait(self, timeout_s: float) -> Outcome:
        """Wait for the end. Raises DidNotHappenError after `timeout_s`, and ends the whole group."""
        try:
            self.child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise DidNotHappenError(f"it did not end within {timeout_s} s\n{self.outcome()}") from None
        return self.outcome()

    def kill(self) -> None:
        """End the group at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.child.pid, signal.SIGKILL)
        self.child.wait()

    def close(self) -> None:
        """End what is left and give the output files back."""
        self.kill()
        self._stdout.close()
        self._stderr.close()


class RunningApp:
    """An app that answers at `url`; made by `AppProject.serve`."""

    def __init__(self, process: _Process, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.port = port
        self._process = process

    @property
    def pid(self) -> int:
        """The process of the command line, parent of the replica."""
        return self._process.child.pid

    @property
    def output(self) -> Outcome:
        """What it has printed so far."""
        return self._process.outcome()

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | str = b"",
        headers: Mapping[str, str] | None = None,
        *,
        timeout_s: float = 30,
    ) -> Answer:
        """One request on a connection of its own. Raises OSError where none can be had."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        try:
            connection.request(method, path, body or None, dict(headers or {}))
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, response.read())
        finally:
            connection.close()

    def post(self, path: str, value: Any, *, timeout_s: float = 30) -> Answer:
        """POST `value` as JSON, and ask for JSON: the whole answer, also of an endpoint that streams."""
        headers = {"content-type": "application/json", "accept": "application/json"}
        return self.ask("POST", path, json.dumps(value), headers, timeout_s=timeout_s)

    def wait_ready(self, timeout_s: float) -> None:
        """Wait until /readyz answers 200. Raises DidNotHappenError when it exits before or takes longer."""
        until_s = time.monotonic() + timeout_s
        while time.monotonic() < until_s:
            if self._process.child.poll() is not None:
                raise DidNotHappenError(f"it ended before it was ready\n{self.output}")
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.ask("GET", "/readyz", timeout_s=5).status == 200:
                    return
            time.sleep(_POLL_S)
        raise DidNotHappenError(f"it was not ready within {timeout_s} s\n{self.output}")

    def stop(self, *, timeout_s: float = 60) -> Outcome:
        """Ask it to stop (SIGTERM) and wait for the end."""
        if self._process.child.poll() is None:
            self._process.child.terminate()
        return self._process.wait(timeout_s)


class AppProject:
    """A folder with an app, and the command line run on it with this Python."""

    def __init__(self, folder: Path, *, env: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.env = dict(env or {})

    def write(self, app: str, files: Mapping[str, str | bytes] | None = None, *, handlers: str = "") -> "AppProject":
        """Write app.toml, handlers.py where it has a text, and further files (path -> content)."""
        self.folder.mkdir(parents=True, exist_ok=True)
        contents: dict[str, str | bytes] = {"app.toml": app, **(files or {})}
        if handlers:
            contents["handlers.py"] = handlers
        for name, content in contents.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        return self

    def run(self, *arguments: str, timeout_s: float = 60, env: Mapping[str, str] | None = None) -> Outcome:
        """Run `modelapp ARGUMENTS` in the folder to its end. Raises DidNotHappenError after `timeout_s`."""
        process = self._start(arguments, env)
        try:
            return process.wait(timeout_s)
        finally:
            process.close()

    @contextlib.contextmanager
    def serve(
        self, *arguments: str, timeout_s: float = 60, env: Mapping[str, str] | None = None
    ) -> Iterator[RunningApp]:
        """`modelapp run ARGUMENTS` on a free port, ready; nothing of it is left afterwards."""
        port = free_port()
        process = self._start(("run", "--set", f"server.port={port}", *arguments), env)
        try:
            app = RunningApp(process, port)
            app.wait_ready(timeout_s)
            yield app
            if process.child.poll() is None:
                app.stop()
        finally:
            process.close()

    def _start(self, arguments: tuple[str, ...], env: Mapping[str, str] | None) -> _Process:
        return _Process([sys.executable, "-m", "modelapp", *arguments], self.folder, {**self.env, **(env or {})})


def proof(file: str | Path, *, timeout_s: float = 3600) -> Callable[[], None]:
    """The test of an app for a test runner, `test_app = proof(__file__)` in a folder beside its app.toml.

    It runs `modelapp test` and raises AssertionError with all output where that does not end with status 0.
    """
    project = AppProject(Path(file).resolve().parent.parent)

    def test_app() -> None:
        """`modelapp test` passes."""
        __tracebackhide__ = True  # to pytest the output says all
        outcome = project.run("test", timeout_s=timeout_s)
        if outcome.exit_code != 0:
            raise AssertionError(f"the app in {project.folder} does not pass its tests\n{outcome}")

    return test_app


def free_port() -> int:
    """A port on 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _text(file: IO[bytes]) -> str:
    """All of a file that a child may be writing to, through its own position so that the child's does not move."""
    size = os.fstat(file.fileno()).st_size
    return os.pread(file.fileno(), size, 0).decode(errors="replace")

"""A valid app with a bit of everything, to be broken in one place at a time, and plugins to read it with."""

import asyncio
import http.client
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import attrs
import pytest
import uvloop

from modelapp.admission import Admission
from modelapp.app import App
from modelapp.edge import Edge
from modelapp.errors import AppFileError, PluginError
from modelapp.lifecycle import Lifecycle
from modelapp.loader import check_app, load_app
from modelapp.problems import Problem
from modelapp.routes import ProtocolRoutes, RouteTable
from modelapp.runtime import RawOptions, Runtime, RuntimeSpec
from modelapp.scheduler import SchedulerSpec
from modelapp.server import HttpServer

DUNGEON = """\
[app]
name = "dungeon"
requires = ">=0.1"

[models.story]
source = "models/story.onnx"
runtime = "onnx"
max_batch_size = 8
max_wait_ms = 15
[models.story.onnx]
threads = 2

[models.poem]
source = "handlers.py:Poem"
runtime = "python"
preprocess = "handlers.py:clean"

[endpoints.continue]
timeout_s = 20
steps = [
  { name = "ids", run = "handlers.py:ids", needs = ["prompt"] },
  { name = "words", run = "story", needs = ["ids"] },
  { name = "text", run = "handlers.py:join", needs = ["words", "count"] },
]
[endpoints.continue.input]
prompt = { type = "str", min_chars = 1, max_chars = 400, pattern = '^\\S' }
count = { type = "int", default = 60, min = 1, max = 200 }
mood = { type = "str", default = "grim", choices = ["grim", "gay"] }
photo = "image?"
[endpoints.continue.output]
text = "str"
tokens = "int"
boxes = "list[box]"

[endpoints.both]
split = { arms = { story = 90, poem = 10 }, by = "user" }

[[tests]]
name = "cave"
endpoint = "continue"
input = { prompt = "You enter the cave", photo = "data/cave.png" }
expect = { tokens = 12, "boxes[0].label" = "cave" }
expect_match = { text = '(?i)you' }

[[tests]]
name = "holdout"
endpoint = "continue"
cases = "data/holdout.jsonl"
metric = "accuracy"
metric_field = "text"
metric_min = 0.9

[[tests]]
name = "mel"
endpoint = "continue"
input = { prompt = "x" }
probe = "words"
expect_file = "data/words.json"
repeat = 10
pass_min = 8

[[tests]]
name = "poem"
endpoint = "both"
arm = "poem"
expect = { anything = 1 }

[server]
port = 8000
"""
HANDLERS = """\
def clean(inputs): ...
def ids(prompt): ...
async def join(words, count, *, sep=" "): ...
class Poem:
    def __init__(self, options, files): ...
def keyword(a, *, b): ...
def ready(): ...
"""


@attrs.frozen
class OnnxOptions:
    """Options of a runtime: one number and one word."""

    threads: int = attrs.field(default=1, metadata={"min": 1})
    level: str = attrs.field(default="all", validator=attrs.validators.in_(("all", "basic")))


def _open() -> Runtime:
    raise AssertionError("reading an app opens no runtime")


class Mistake(NamedTuple):
    """One change that breaks the app, what must be said of it where, and the command that mends it; None: an edit."""

    id: str
    old: str
    new: str
    code: str
    line: int
    column: int
    marked: str
    message: str
    help: str
    command: str | None = None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes `mistake` runs for each of its file's MISTAKES."""
    if "mistake" in metafunc.fixturenames:
        mistakes = [Mistake(*one) for one in metafunc.module.MISTAKES]
        metafunc.parametrize("mistake", mistakes, ids=[mistake.id for mistake in mistakes])


@attrs.frozen
class FakePlugins:
    """Two runtimes, as reading an app needs them."""

    runtimes: Mapping[str, RuntimeSpec] = attrs.Factory(
        lambda: {
            "onnx": RuntimeSpec(
                name="onnx",
                open=_open,
                options=OnnxOptions,
                capabilities=frozenset({"tensors", "generate"}),
                tasks=frozenset({"text-generation", "embeddings"}),
            ),
            "python": RuntimeSpec(
                name="python",
                open=_open,
                options=RawOptions,
                capabilities=frozenset({"records", "stream"}),
                tasks=frozenset({"*"}),
            ),
        }
    )

    schedulers: Mapping[str, SchedulerSpec] = attrs.Factory(dict)

    def runtime(self, name: str) -> RuntimeSpec:
        """One of them; "jax" is that of a broken plugin."""
        if name not in self.runtimes:
            raise PluginError(f'"{name}" cannot be used', plugin="acme" if name == "jax" else "", help="mend acme")
        return self.runtimes[name]


class Dungeon:
    """The app in a folder of its own. `text` is its valid app.toml."""

    text = DUNGEON

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "handlers.py").write_text(HANDLERS)
        (root / "data").mkdir()
        (root / "models").mkdir()
        (root / "models" / "story.onnx").write_bytes(b"weights")
        for name in ("cave.png", "holdout.jsonl", "words.json"):
            (root / "data" / name).write_text("")

    def load(self, text: str | bytes | None = None, *overrides: str) -> App:
        """Read a text as this app's app.toml."""
        raw = self.text if text is None else text
        (self.root / "app.toml").write_bytes(raw.encode() if isinstance(raw, str) else raw)
        return load_app(Path("app.toml"), FakePlugins(), overrides=overrides)

    def notices(self, text: str) -> Sequence[Problem]:
        """What is worth saying of a valid text."""
        (self.root / "app.toml").write_bytes(text.encode())
        return check_app(Path("app.toml"), FakePlugins()).notices

    def everything(self, text: str) -> Sequence[Problem]:
        """What `check` finds wrong with a text, under all its profiles; nothing where it is valid."""
        (self.root / "app.toml").write_bytes(text.encode())
        try:
            check_app(Path("app.toml"), FakePlugins())
        except AppFileError as error:
            return error.problems
        return ()

    def problems(self, text: str | bytes, *overrides: str) -> Sequence[Problem]:
        """What is wrong with a text."""
        with pytest.raises(AppFileError) as caught:
            self.load(text, *overrides)
        return caught.value.problems

    def only(self, text: str | bytes, *overrides: str) -> Problem:
        """The one thing that is wrong with a text."""
        problems = self.problems(text, *overrides)
        assert len(problems) == 1, "\n".join(problem.render() for problem in problems)
        return problems[0]

    def broken_by(self, mistake: Mistake) -> tuple[str, Problem]:
        """The text with a mistake in it, and what is said of it."""
        text = self.text.replace(mistake.old, mistake.new, 1)
        return text, self.only(text)

    def expect_told(self, mistake: Mistake) -> None:
        """The mistake is told in these words, at this place."""
        _, problem = self.broken_by(mistake)
        start = problem.column - 1
        assert (problem.code, problem.message, problem.help) == (mistake.code, mistake.message, mistake.help)
        assert (problem.line, problem.column) == (mistake.line, mistake.column)
        assert problem.source[start : start + problem.length] == mistake.marked

    def expect_mended(self, mistake: Mistake) -> None:
        """The edit of the mistake makes the file valid, or its command is this one."""
        text, problem = self.broken_by(mistake)
        if mistake.command is not None:
            assert (problem.edit, problem.command) == (None, mistake.command)
            return
        assert problem.edit is not None
        self.load(problem.edit.apply(text))


@pytest.fixture
def plugins() -> FakePlugins:
    """The plugins that the app is read with."""
    return FakePlugins()


@pytest.fixture
def dungeon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dungeon:
    """The app, with its folder as the current one."""
    monkeypatch.chdir(tmp_path)
    return Dungeon(tmp_path)


class Answer:
    """Status, headers (lower case) and body of an HTTP answer."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self) -> Any:
        """The body's JSON."""
        return json.loads(self.body)


class RunningServer:
    """A real server on a free port, with a loop and thread of its own; it trusts the token "let-me-in"."""

    def __init__(self, protocols: Sequence[ProtocolRoutes], edge: Mapping[str, Any], server: Mapping[str, Any]) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port: int = self.listener.getsockname()[1]
        self.loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()
        self.lifecycle = Lifecycle()
        self.lifecycle.ready()
        admission = Admission(self.lifecycle, **{name: edge[name] for name in edge if name == "max_in_flight"})
        self.edge = Edge(RouteTable(protocols, release="r1"), admission, control_token="let-me-in")
        self.server: HttpServer = self.on_loop(_call(lambda: HttpServer(self.edge, self.listener, **server)))
        self.on_loop(self.server.start())

    def on_loop(self, work: Any) -> Any:
        """The result of a coroutine run on the server's loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(20)

    def request(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
        """One request on a connection of its own; bytes and iterators go as they are, else JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        as_it_is = body is None or isinstance(body, bytes | Iterator)
        data = body if as_it_is else json.dumps(body).encode()
        try:
            connection.request(method, path, data, dict(headers or {}))
            response = connection.getresponse()
            names = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, names, response.read())
        finally:
            connection.close()

    def connect(self) -> socket.socket:
        """A bare connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def raw(self, data: bytes, *, cut: bool = False) -> bytes:
        """Send bytes and read to the end; `cut` says at once that no more will come."""
        with self.connect() as connection:
            connection.sendall(data)
            if cut:
                connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(65536), b""))

    def close(self) -> None:
        """Stop everything."""
        self.on_loop(self.server.stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()
        self.listener.close()


async def _call(make: Callable[[], Any]) -> Any:
    return make()


@pytest.fixture
def install(tmp_path: Path) -> Callable[[str, str], Mapping[str, str]]:
    """install(name, text) puts a one-file plugin where pip would, and returns the environment that finds it."""

    def put(name: str, text: str) -> Mapping[str, str]:
        site = tmp_path / "site"
        about = site / f"{name}-1.0.dist-info"
        about.mkdir(parents=True)
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (about / "entry_points.txt").write_text(f"[modelapp]\n{name} = {name}\n")
        (site / f"{name}.py").write_text(text)
        return {"PYTHONPATH": os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH", "")]))}

    return put


@pytest.fixture
def serve() -> Iterator[Callable[..., RunningServer]]:
    """serve(protocol, ..., edge={...}, server={...}) starts a server that ends with the test."""
    running: list[RunningServer] = []

    def start(*protocols: ProtocolRoutes, edge: Any = None, server: Any = None) -> RunningServer:
        running.append(RunningServer(protocols, edge or {}, server or {}))
        return running[-1]

    yield start
    for one in running:
        one.close()

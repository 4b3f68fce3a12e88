"""Generation in real processes when something goes wrong: stops, kills, deadlines, rude clients, faults of a model."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from modelapp.nulltext import expected
from modelapp.testing import AppProject, Outcome, RunningApp

pytestmark = pytest.mark.slow

APP = """\
[app]
name = "teller"

[models.tale]
source = "handlers.py"
runtime = "null"
task = "text-generation"
max_batch_size = 2
max_queue = 64
[models.tale.null]
delay_ms = 5
poison = 1
dies_on = 2
hang_on = 3
nan_on = 4

[endpoints.tell]
model = "tale"
stream = true
timeout_s = 20
input = { prompt = "str", max_tokens = "int", ignore_end = { type = "bool", default = true }, n = "int?" }
output = { text = "str", finish_reason = "str" }

[endpoints.raw]
model = "tale"
stream = true
timeout_s = 4
input = { prompt = "str", max_tokens = "int", ignore_end = { type = "bool", default = true }, logprobs = "int?" }

[server]
drain_s = 30
"""
TELL, OPENAI, TRITON = "/tell", "/v1/completions", "/v2/models/tale/generate_stream"
MORE: Mapping[str, Mapping[str, Any]] = {
    OPENAI: {"model": "tale", "stream": True, "ignore_eos": True, "temperature": 0},
    TRITON: {"parameters": {"ignore_end": True, "timeout": 2_000_000}},
}
"""What the other doors ask for besides."""
POISON, DEATH, HANG, NAN = "\x01", "\x02", "\x03", "\x04"
PATIENCE_S = 30.0


class Stream:
    """One streamed answer on a bare connection, read as slowly as one likes."""

    def __init__(self, port: int, path: str, values: Any, headers: Mapping[str, str], *, window: int = 0) -> None:
        self.socket = socket.socket()
        if window:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        self.socket.settimeout(PATIENCE_S)
        self.socket.connect(("127.0.0.1", port))
        self.send(path, values, headers)

    def send(self, path: str, values: Any, headers: Mapping[str, str] | None = None) -> None:
        """One request more on this connection."""
        body = json.dumps(values).encode()
        lines = [f"POST {path} HTTP/1.1", "host: x", "content-type: application/json", f"content-length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        self._chunks = b""
        self.socket.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    def until(self, text: bytes) -> None:
        """Read until it has come, at the latest to the end of the connection."""
        while text not in self._chunks and (data := self.socket.recv(65536)):
            self._chunks += data
        assert text in self._chunks, self._chunks

    def begin(self) -> "Stream":
        """Read the first piece."""
        self.until(b"data: ")
        return self

    def rest(self) -> bytes:
        """Everything up to the end of the answer or of the connection."""
        with contextlib.suppress(ConnectionError):
            while not self._is_whole() and (data := self.socket.recv(65536)):
                self._chunks += data
        return self._chunks

    def _is_whole(self) -> bool:
        _, _, body = self._chunks.partition(b"\r\n\r\n")
        length = re.search(r"content-length: (\d+)", self.headers)
        return len(body) == int(length[1]) if length else body.endswith(b"0\r\n\r\n")

    @property
    def status(self) -> int:
        """Of the answer, once its head is there."""
        return int(self._chunks.split(b" ")[1])

    @property
    def headers(self) -> str:
        """The head, in lower case."""
        return self._chunks.partition(b"\r\n\r\n")[0].decode().lower()

    def events(self) -> list[tuple[str, Any]]:
        """Kind and data of all events, to the end."""
        _, _, left = self.rest().partition(b"\r\n\r\n")
        text = b""
        while left:
            size, _, left = left.partition(b"\r\n")
            text, left = text + left[: int(size, 16)], left[int(size, 16) + 2 :]
        found = []
        for event in filter(None, text.decode().split("\n\n")):
            kind, _, data = event.rpartition("data: ")
            found.append((kind.removeprefix("event: ").strip(), data if data == "[DONE]" else json.loads(data)))
        return found

    def close(self) -> None:
        """Leave."""
        self.socket.close()


class Teller:
    """The app of a folder, served."""

    def __init__(self, app: RunningApp, folder: Path) -> None:
        self.app = app
        self.folder = folder
        self.streams: list[Stream] = []

    def stream(self, prompt: str, max_tokens: int, *, path: str = TELL, window: int = 0, **more: Any) -> Stream:
        """Ask for one of the likeliest tokens."""
        headers = {"accept": "text/event-stream", **more.pop("headers", {})}
        values = {"prompt": prompt, "max_tokens": max_tokens, **MORE.get(path, {}), **more}
        self.streams.append(Stream(self.app.port, path, values, headers, window=window))
        return self.streams[-1]

    def figure(self, name: str) -> float:
        """The sum of one metric's samples."""
        lines = self.app.ask("GET", "/metrics").body.decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if re.match(rf"{name}(\{{|\s)", line))

    @property
    def readiness(self) -> Mapping[str, Any]:
        """The body of /readyz."""
        return dict(self.app.ask("GET", "/readyz").json())

    def until(self, holds: Callable[[], Any]) -> None:
        """Wait until it holds."""
        until_s = time.monotonic() + PATIENCE_S
        while not holds():
            assert time.monotonic() < until_s, self.app.output
            time.sleep(0.02)

    def is_empty(self) -> bool:
        """Whether no sequence has a slot or waits for one."""
        return not self.figure("modelapp_active_sequences") and not self.figure("modelapp_queue_rows")

    def expect_whole(self) -> None:
        """It answers, all its slots are free."""
        self.until(self.is_empty)
        for answer in [self.stream("all well", 12, ignore_end=False) for _ in range(3)]:
            assert whole_text(answer.events()) == expected("all well", 12)

    def taken(self, values: Any, headers: Mapping[str, str]) -> bool:
        """Whether a request is answered well."""
        sent = {"content-type": "application/json", **headers}
        return self.app.ask("POST", TELL, json.dumps(values), sent).status == 200

    def ended(self) -> Outcome:
        """Wait until it has ended by itself."""
        self.until(lambda: self.app.output.exit_code != -1)
        return self.app.output

    @property
    def replica(self) -> int:
        """Its process id."""
        found = subprocess.run(["pgrep", "-P", str(self.app.pid)], capture_output=True, text=True, check=True)
        return int(found.stdout.split()[0])


def whole_text(events: list[tuple[str, Any]]) -> str:
    """The text of a stream that ended well: that of its pieces, and of the whole."""
    kind, whole = events[-1]
    assert kind == "done", events[-1]
    assert "".join(data.get("text", "") for kind, data in events[:-1]) == whole["text"]
    return str(whole["text"])


def failure_of(events: list[tuple[str, Any]]) -> str:
    """The code of the one error by which a stream ended."""
    assert [kind for kind, _ in events if kind] == ["error"], events[-3:]
    kind, data = events[-1]
    assert kind == "error"
    return str(data["error"]["code"])


def last_error(stream: Stream, path: str = TELL) -> str:
    """The code of the one error by which a stream ended, or its text where there is no code."""
    events = stream.events()
    assert stream.status == 200
    assert stream.rest().endswith(b"\r\n0\r\n\r\n")
    if path == TELL:
        return failure_of(events)
    errors = [data["error"] for _, data in events if data != "[DONE]" and "error" in data]
    assert errors == [events[-1][1]["error"]]
    return str(errors[0] if isinstance(errors[0], str) else errors[0]["code"])


def lives(pid: int) -> bool:
    """Whether a process runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def serve(tmp_path: Path) -> Callable[..., contextlib.AbstractContextManager[Teller]]:
    """serve("key=value", ...) serves the app with changed values."""

    @contextlib.contextmanager
    def start(*changes: str, toml: str = APP, env: Mapping[str, str] | None = None, **files: str) -> Iterator[Teller]:
        project = AppProject(tmp_path / "app").write(toml, {"handlers.py": "", **files})
        with project.serve(*(word for change in changes for word in ("--set", change)), env=env) as app:
            teller = Teller(app, project.folder)
            try:
                yield teller
            finally:
                for one in teller.streams:
                    one.close()

    return start


def test_a_stop_lets_streams_end_whole(serve: Any) -> None:
    """Twenty open ones, most of them without a slot yet; who comes later is refused with the time to come back."""
    with serve() as teller:
        streams = [teller.stream(f"tale {number}", 60) for number in range(20)]
        streams[0].begin()
        os.kill(teller.app.pid, signal.SIGTERM)
        teller.until(lambda: not teller.readiness["ready"])
        time.sleep(1.2)  # for a second everybody is still answered
        late = teller.app.post("/tell", {"prompt": "late", "max_tokens": 3})
        assert (late.status, late.json()["error"]["code"]) == (503, "not_ready")
        assert int(late.headers["retry-after"]) >= 1
        for number, stream in enumerate(streams):
            assert whole_text(stream.events()).startswith(expected(f"tale {number}", 60))
        outcome = teller.ended()
    assert outcome.exit_code == 0, outcome
    assert "Traceback" not in outcome.stderr


@pytest.mark.parametrize("path", [TELL, OPENAI])
def test_what_outlasts_the_drain_is_told_once(serve: Any, path: str) -> None:
    """A stream that has begun gets one error as its last event and ends properly, who waits for a slot gets 503, and
    the command ends well and in time."""
    with serve("server.drain_s=4", "endpoints.tell.timeout_s=60", "models.tale.null.delay_ms=50") as teller:
        begun = [teller.stream("long", 4000, path=path).begin() for _ in range(2)]
        waiting = [teller.stream("long", 4000, path=path) for _ in range(3)]
        teller.until(lambda: teller.figure("modelapp_queue_rows") == 3)
        os.kill(teller.app.pid, signal.SIGTERM)
        codes = [last_error(stream, path) for stream in begun]
        refused = [
            (stream.rest().endswith(b"}"), stream.status, "retry-after: " in stream.headers) for stream in waiting
        ]
        outcome = teller.ended()
    assert codes == ["not_ready"] * 2
    assert refused == [(True, 503, True)] * 3
    assert outcome.exit_code == 0, outcome
    assert "Traceback" not in outcome.stderr


def test_a_second_stop_cuts_streams(serve: Any) -> None:
    """The command ends at once, and nothing of it is left."""
    with serve() as teller:
        streams = [teller.stream("long", 4000).begin() for _ in range(2)]
        replica = teller.replica
        os.kill(teller.app.pid, signal.SIGTERM)
        time.sleep(1.2)
        os.kill(teller.app.pid, signal.SIGTERM)
        outcome = teller.ended()
        for stream in streams:
            assert not stream.rest().endswith(b"0\r\n\r\n")
        teller.until(lambda: not lives(replica))
    assert outcome.exit_code == 130, outcome


def test_a_killed_command_leaves_no_replica(serve: Any) -> None:
    """Its streams are cut, not ended as if they were whole."""
    with serve() as teller:
        streams = [teller.stream("long", 4000).begin() for _ in range(2)]
        replica = teller.replica
        os.kill(teller.app.pid, signal.SIGKILL)
        for stream in streams:
            assert not stream.rest().endswith(b"0\r\n\r\n")
        teller.until(lambda: not lives(replica))


def test_a_killed_replica_is_replaced(serve: Any) -> None:
    """Its streams are cut, and the next one generates."""
    with serve() as teller:
        streams = [teller.stream("long", 4000).begin() for _ in range(2)]
        replica = teller.replica
        os.kill(replica, signal.SIGKILL)
        for stream in streams:
            assert not stream.rest().endswith(b"0\r\n\r\n")
        teller.until(lambda: "ready again" in teller.app.output.stderr)
        teller.expect_whole()


@pytest.mark.parametrize("path", [TELL, TRITON])
def test_a_deadline_in_the_middle_is_the_last_word(serve: Any, path: str) -> None:
    """One error, then the end, and the slot is free."""
    with serve("endpoints.tell.timeout_s=2", "models.tale.null.delay_ms=40") as teller:
        code = last_error(teller.stream("long", 4000, path=path).begin(), path)
        assert code in ("deadline_exceeded", "the time allowed for this request is over")
        teller.expect_whole()


def test_clients_that_leave_free_their_places(serve: Any) -> None:
    """While they wait, while their prompt is read, and in the middle."""
    with serve("models.tale.generation.step_tokens=4", "models.tale.null.delay_ms=20") as teller:
        running = [teller.stream("long", 4000).begin() for _ in range(2)]
        waiting = [teller.stream("long", 4000) for _ in range(4)]
        teller.until(lambda: teller.figure("modelapp_queue_rows") == 4)
        for one in waiting[:3]:
            one.close()
        teller.until(lambda: teller.figure("modelapp_queue_rows") == 1)
        for one in running:
            one.close()
        waiting[3].begin().close()
        teller.until(teller.is_empty)
        reader = teller.stream("x" * 2000, 4)
        teller.until(lambda: teller.figure("modelapp_active_sequences") == 1)
        reader.close()
        teller.until(teller.is_empty)
        teller.expect_whole()


def test_a_client_that_reads_nothing_holds_no_slot(serve: Any) -> None:
    """What was made for it waits elsewhere: its slot and its request are over, and a stop does not wait for it."""
    with serve("models.tale.null.delay_ms=0", "endpoints.raw.timeout_s=30") as teller:
        idlers = [teller.stream("x", 1500, path="/raw", window=4096, logprobs=20) for _ in range(4)]
        teller.until(lambda: teller.figure("modelapp_generated_tokens_total") >= 6000)
        teller.expect_whole()
        teller.until(lambda: teller.figure("modelapp_requests_in_flight") == 1)
        idlers[0].begin()
        assert teller.app.stop().exit_code == 0


def test_an_offender_is_alone_with_its_error(serve: Any) -> None:
    """A prompt on which the model raises, and one after which it answers NaN; their mates' streams are whole."""
    with serve("models.tale.max_batch_size=6") as teller:
        mates = [teller.stream(f"mate {number}", 150) for number in range(4)]
        for mate in mates:
            mate.begin()
        for wrong in (POISON, NAN):
            answer = teller.stream(f"so {wrong}", 9)
            assert answer.rest().endswith(b"}")
            assert (answer.status, b'"code":"model_failed"' in answer.rest()) == (500, True)
        for number, mate in enumerate(mates):
            assert whole_text(mate.events()).startswith(expected(f"mate {number}", 150))
        teller.expect_whole()
        assert re.search(r"ScriptedStepError.*\[request \w+\]", teller.app.output.stderr)


def test_a_death_is_told_to_every_stream(serve: Any) -> None:
    """Readiness is gone at once, each stream says why it ended, and another replica takes over."""
    with serve() as teller:
        begun = [teller.stream("long", 4000).begin() for _ in range(2)]
        waiting = [teller.stream("long", 4000) for _ in range(2)]
        begun.pop().close()
        with contextlib.suppress(OSError):
            teller.stream(DEATH, 4)  # its place is after those that wait
        for one in waiting:
            one.close()
        assert last_error(begun[0]) == "model_died"
        teller.until(lambda: "ready again" in teller.app.output.stderr)
        assert 'replica died: model "tale" died' in teller.app.output.stderr
        teller.expect_whole()


def test_a_step_that_hangs_is_told(serve: Any) -> None:
    """Streams end at their deadlines, the app is not ready, and it can be stopped."""
    with serve("endpoints.tell.timeout_s=3", "server.drain_s=4") as teller:
        begun = teller.stream("long", 4000).begin()
        hung = teller.stream(HANG, 4)
        assert last_error(begun) == "deadline_exceeded"
        assert (hung.rest().endswith(b"}"), hung.status) == (True, 504)
        teller.until(lambda: not teller.readiness["ready"])
        assert "stuck" in teller.readiness["reason"]
        assert teller.app.stop(timeout_s=20).exit_code == 0


def test_a_full_queue_is_refused_before_anything_is_sent(serve: Any) -> None:
    """429 with the time to come back; n sequences take n places, or are refused together."""
    with serve("models.tale.max_queue=8", "models.tale.null.delay_ms=20") as teller:
        running = [teller.stream("long", 4000).begin() for _ in range(2)]
        waiting = [teller.stream("long", 4000, n=2) for _ in range(3)]
        teller.until(lambda: teller.figure("modelapp_queue_rows") == 6)
        refused = teller.stream("more", 4, n=3)
        assert (refused.rest().endswith(b"}"), refused.status) == (True, 429)
        assert "retry-after: " in refused.headers
        never = teller.stream("more", 4, n=9)
        assert (never.rest().endswith(b"}"), never.status) == (True, 422)
        for one in (*running, *waiting):
            one.close()
        many = teller.stream("all well", 12, n=8, ignore_end=False)
        assert many.events()[-1][1]["text"] == expected("all well", 12)
        teller.expect_whole()


def test_streams_outlive_changes_of_the_app(serve: Any) -> None:
    """Bounds are tuned under them, the model is loaded anew beside them: each ends whole on the model it began on."""
    with serve("models.tale.null.delay_ms=20") as teller:
        folder = teller.folder / "app.toml"
        streams = [teller.stream(f"tale {number}", 150) for number in range(4)]
        streams[0].begin()
        folder.write_text(APP.replace("max_queue = 64", "max_queue = 32"))
        os.kill(teller.replica, signal.SIGHUP)
        teller.until(lambda: "weights kept" in teller.app.output.stderr)
        folder.write_text(APP.replace("max_batch_size = 2", "max_batch_size = 3"))
        os.kill(teller.replica, signal.SIGHUP)
        teller.until(lambda: "loaded" in teller.app.output.stderr)
        later = teller.stream("all well", 12, ignore_end=False)
        assert whole_text(later.events()) == expected("all well", 12)
        for number, stream in enumerate(streams):
            assert whole_text(stream.events()).startswith(expected(f"tale {number}", 150))
        releases = {re.findall(r"release: (\w+)", stream.headers)[0] for stream in streams}
        assert len(releases) == 1
        assert re.findall(r"release: (\w+)", later.headers)[0] not in releases
        teller.expect_whole()


def test_a_model_is_unloaded_under_its_streams(serve: Any) -> None:
    """Who has a slot or waits for one still has the whole answer; later ones are refused until it is loaded again."""
    toml = APP + 'tokens_env = "TELLERS"\n[server.tokens.boss]\nadmin = true\n'
    boss = {"authorization": "Bearer boss-boss-boss-boss"}
    env = {"TELLERS": "boss=boss-boss-boss-boss"}
    with serve("models.tale.null.delay_ms=10", "models.tale.required=false", toml=toml, env=env) as teller:
        streams = [teller.stream(f"tale {number}", 100, headers=boss) for number in range(4)]
        streams[0].begin()
        for verb, status in (("unload", 503), ("load", 200)):
            answer = teller.app.ask("POST", f"/v2/repository/models/tale/{verb}", headers=boss)
            assert answer.status == 200, answer
            asked = teller.stream("x", 4, headers=boss)
            asked.rest()
            assert asked.status == status
        for number, stream in enumerate(streams):
            assert whole_text(stream.events()).startswith(expected(f"tale {number}", 100))


def test_a_stream_counts_until_its_end(serve: Any) -> None:
    """Against the bounds of its token: the next one is refused meanwhile, and taken afterwards, also if it is left."""
    toml = APP + 'tokens_env = "TELLERS"\n[server.tokens.one]\nmax_concurrent = 1\n'
    one = {"authorization": "Bearer one-one-one-one-one"}
    with serve(toml=toml, env={"TELLERS": "one=one-one-one-one-one"}) as teller:
        for leaves in (False, True):
            stream = teller.stream("long", 100, headers=one).begin()
            refused = teller.stream("x", 4, headers=one)
            assert (refused.rest().endswith(b"}"), refused.status) == (True, 429)
            if leaves:
                stream.close()
            else:
                whole_text(stream.events())
            teller.until(lambda: teller.taken({"prompt": "x", "max_tokens": 4}, one))


def test_a_connection_goes_on_after_a_stream(serve: Any) -> None:
    """Streams and whole answers in turn on one connection; who names JSON gets JSON; no other method is taken."""
    with serve() as teller:
        stream = teller.stream("all well", 12, ignore_end=False)
        assert whole_text(stream.events()) == expected("all well", 12)
        values = {"prompt": "all well", "max_tokens": 12, "ignore_end": False}
        for accept, kind in (
            ("application/json", "application/json"),
            ("text/event-stream", "text/event-stream"),
            ("*/*", "text/event-stream"),
            ("application/json, text/event-stream", "text/event-stream"),
            ("APPLICATION/JSON;q=0.9", "application/json"),
            ("text/html", "text/event-stream"),
        ):
            stream.send("/tell", values, {"accept": accept})
            stream.until(b"finish_reason")
            assert f"content-type: {kind}" in stream.headers
            if kind != "application/json":
                assert whole_text(stream.events()) == expected("all well", 12)
        for method in ("GET", "HEAD", "PUT"):
            answer = teller.app.ask(method, "/tell")
            assert (answer.status, "POST" in answer.headers["allow"]) == (405, True)


SECRET = "Quillon Vexworth of 4929-1177-0042"
LEAKY = '''
import attrs

from modelapp.errors import InvalidInput, ModelFailed
from modelapp.hookspecs import hookimpl
from modelapp.null import RUNTIME
from modelapp.nullruntime import NullRuntime


class Leaky(NullRuntime):
    """Its models fail with what they were fed, as the last word of the prompt says: at once, or at the fifth token."""

    def load(self, artefact, options, placement):
        model = super().load(artefact, options, placement)
        engine, admit, step = model.engine, model.engine.admit, model.engine.step

        def leak(tokens, at):
            text = bytes(token for token in tokens if token < 256).decode()
            for word, kind in (("raises", ValueError), ("fails", ModelFailed), ("refuses", InvalidInput)):
                if f"{word} {at}" in text:
                    raise kind(f"cannot go on from {text!r} or {text.upper()}")

        def leaking_admit(prompt, tokens):
            leak(prompt, "unread")
            return admit(prompt, tokens)

        def leaking_step(feeds):
            for feed in feeds:
                known = [*engine._fed[feed.slot], *feed.tokens]
                leak(known, "at once")
                if len(known) > len(feed.tokens) + 60:
                    leak(known, "later")
            return step(feeds)

        engine.admit, engine.step = leaking_admit, leaking_step
        return model


@hookimpl
def modelapp_runtimes():
    return [attrs.evolve(RUNTIME, name="leaky", open=Leaky)]
'''


def test_what_is_sensitive_comes_out_of_no_stream(serve: Any, install: Callable[..., Mapping[str, str]]) -> None:
    """However the model fails on it and whatever it says of it then: not in an event, an answer, a log or a metric."""
    env = install("leaky", LEAKY)
    toml = APP.replace('runtime = "null"', 'runtime = "leaky"').replace("tale.null", "tale.leaky")
    toml = toml.replace('input = { prompt = "str"', 'input = { prompt = { type = "str", sensitive = true }')
    with serve("models.tale.leaky.delay_ms=0", toml=toml, env=env) as teller:
        bodies = []
        for word in ("raises", "fails", "refuses"):
            for at in ("unread", "at once", "later"):
                asked = teller.stream(f"{SECRET} {'.' * 25 if at == 'later' else ''} {word} {at}", 60)
                told = asked.rest().decode()
                assert told.count('"error":') == 1
                assert asked.status == (200 if at == "later" else 422 if word == "refuses" else 500), (word, at)
                bodies.append(told)
        for wrong in ({"max_tokens": 99999}, {"n": 500}, {"logprobs": 2}, {"prompt": SECRET * 4000}):
            answer = teller.app.post(TELL, {"prompt": SECRET, "max_tokens": 4, **wrong})
            assert answer.status == 422, answer
            bodies.append(answer.body.decode())
        bodies.append(teller.app.ask("GET", "/metrics").body.decode())
        teller.expect_whole()
        output = teller.app.stop()
    for text in (*bodies, output.stdout, output.stderr):
        for planted in ("quillon", "vexworth", "4929", "0042"):
            assert planted not in text.lower()

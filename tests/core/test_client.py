"""The HTTP client of predict and test, against a real server in this process."""

import http.server
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelapp.app import Endpoint, Field
from modelapp.client import Answer, Client, ConnectionLost, timings
from modelapp.fieldtype import parse


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers with what it was asked; /close closes after its answer, /lost before it, /slow never answers."""

    protocol_version = "HTTP/1.1"
    asked: list[str]
    connections: set[Any]

    def do_POST(self) -> None:
        self.asked.append(self.path)
        self.connections.add(self.client_address)
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.path == "/lost":
            self.close_connection = True
            return
        if self.path == "/slow":
            threading.Event().wait(2)
        status = 422 if self.path == "/refuse" else 200
        content = json.dumps({"headers": dict(self.headers), "body": body.decode()}).encode()
        if self.path == "/text":
            content = b"plain"
        self.send_response(status)
        self.send_header("Content-Type", "text/plain" if self.path in ("/text",) else "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("X-Modelapp-Release", "0123456789abcdef")
        self.send_header("Server-Timing", "queue;dur=1.5, execute;dur=20")
        self.end_headers()
        self.wfile.write(content)
        if self.path == "/close":
            self.close_connection = True  # without having said so

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    """The URL of a running server."""
    Handler.asked, Handler.connections = [], set()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as found:
        found.daemon_threads = True
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{found.server_address[1]}"
        found.shutdown()
        thread.join()


def endpoint(path: str = "", **options: Any) -> Endpoint:
    """An endpoint with one text input."""
    return Endpoint(name="e", path=path, input={"t": Field(name="t", type=parse("str"))}, **options)


def test_an_answer_is_decoded(server: str) -> None:
    """Status, JSON, headers in lower case, release and time."""
    with Client(server) as client:
        answer = client.call(endpoint(), {"t": "hi"})
    assert answer.status == 200
    assert answer.ok
    assert json.loads(answer.body["body"]) == {"t": "hi"}
    assert answer.release == "0123456789abcdef"
    assert answer.ms > 0
    assert timings(answer) == {"queue": 1.5, "execute": 20.0}


def test_an_error_is_an_answer(server: str) -> None:
    """It is for the caller to judge."""
    with Client(server) as client:
        answer = client.call(endpoint("/refuse"), {"t": ""})
    assert (answer.status, answer.ok) == (422, False)


def test_an_answer_that_is_no_json_is_text(server: str) -> None:
    """Nothing raises on it."""
    with Client(server) as client:
        assert client.call(endpoint("/text"), {}).body == "plain"


def test_control_headers_go_with_the_token_only_when_asked(server: str) -> None:
    """Token, probe and arm are the caller's wish."""
    with Client(server) as client:
        plain = {name.lower() for name in client.call(endpoint(), {}).body["headers"]}
    with Client(server, "secret") as client:
        asked = {k.lower(): v for k, v in client.call(endpoint(), {}, probe="a", arm="b").body["headers"].items()}
    assert not any(name.startswith("x-modelapp") for name in plain)
    assert asked["x-modelapp-control"] == "secret"
    assert (asked["x-modelapp-probe"], asked["x-modelapp-arm"]) == ("a", "b")


def test_one_connection_serves_many_calls(server: str) -> None:
    """It is kept open between calls."""
    with Client(server) as client:
        for _ in range(3):
            client.call(endpoint(), {})
    assert len(Handler.connections) == 1


def test_a_connection_that_the_server_closed_is_replaced(server: str) -> None:
    """Idle connections are closed by servers; the next call does not fail for it."""
    with Client(server) as client:
        client.call(endpoint("/close"), {})
        wait_readable(client)
        assert client.call(endpoint(), {}).status == 200


def wait_readable(client: Client) -> None:
    """Wait until the server's closing has arrived."""
    import select

    assert select.select([client._connection.sock], [], [], 5)[0]


def test_a_request_is_never_sent_twice(server: str) -> None:
    """A replica that dies on a request must not get the same one again, and its death must be seen."""
    with Client(server) as client:
        client.call(endpoint(), {})
        with pytest.raises(ConnectionLost, match="cannot be reached"):
            client.call(endpoint("/lost"), {})
        assert Handler.asked.count("/lost") == 1
        assert client.call(endpoint(), {}).status == 200


def test_a_slow_answer_is_given_up(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somewhat after the endpoint's own time limit."""
    monkeypatch.setattr("modelapp.client._MARGIN_S", 0.05)
    with Client(server) as client, pytest.raises(ConnectionLost, match=r"no answer within 0\.1 s"):
        client.call(endpoint("/slow", timeout_s=0.05), {})


def test_nobody_there_is_an_error() -> None:
    """A refused connection names the address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with Client(f"http://127.0.0.1:{port}") as client, pytest.raises(ConnectionLost, match=str(port)):
        client.call(endpoint(), {})


def test_files_are_read_below_the_root(server: str, tmp_path: Path) -> None:
    """A path of a media input is relative to the app's folder."""
    (tmp_path / "a.bin").write_text("content")
    where = Endpoint(name="e", input={"f": Field(name="f", type=parse("bytes"))})
    with Client(server, root=tmp_path) as client:
        assert "content" in client.call(where, {"f": "a.bin"}).body["body"]


def test_broken_timings_are_left_out() -> None:
    """Another server's header does not matter."""
    assert timings(Answer(200, None, {"server-timing": "a, b;dur=x, c;dur=2, ;dur=1, d;dur=inf"}, 1)) == {"c": 2.0}

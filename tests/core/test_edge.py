"""The door of a replica, met by real clients and bare sockets."""

import asyncio
import gzip
import json
import logging
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from modelapp.errors import Cancelled, InvalidInput, ModelFailed, QueueFull, RequestError
from modelapp.natural import natural_error
from modelapp.routes import HttpRequest, HttpResponse, ProtocolRoutes, Route

Serve = Callable[..., Any]
TOKEN = "let-me-in"


async def echo(request: HttpRequest) -> HttpResponse:
    """The request as JSON."""
    call = request.call
    told = {
        "method": request.method,
        "path": request.path,
        "query": request.query,
        "body": request.body.decode(),
        "params": dict(request.params),
        "trusted": call.trusted,
        "probe": call.probe,
        "arm": call.arm,
        "deadline": call.deadline_s is not None,
    }
    call.add_time("queue", 1.5)
    return HttpResponse(200, json.dumps(told).encode(), headers=(("x-own", "1"),))


def failing(error: Exception) -> Any:
    """A handler that raises."""

    async def handler(request: HttpRequest) -> HttpResponse:
        raise error

    return handler


async def for_ever(request: HttpRequest) -> HttpResponse:
    """A handler that never looks at a clock."""
    await asyncio.Event().wait()
    raise AssertionError


ROUTES = (
    Route("POST", "/echo", echo, max_body_bytes=1000, timeout_s=5),
    Route("GET", "/echo", echo),
    Route("POST", "/m/{name}/infer", echo),
    Route("POST", "/full", failing(QueueFull("full", retry_after_s=2.1))),
    Route("POST", "/wrong", failing(InvalidInput('"a" is missing', field="a"))),
    Route("POST", "/bug", failing(ZeroDivisionError("secret"))),
    Route("POST", "/model", failing(ModelFailed("the model raised"))),
    Route("POST", "/gone", failing(Cancelled("left"))),
    Route("POST", "/for-ever", for_ever, timeout_s=0.2),
    Route("GET", "/alive", echo, always=True),
)
NATURAL = ProtocolRoutes("natural", "/", ROUTES, natural_error)


def other_error(error: RequestError) -> HttpResponse:
    """Another protocol's shape."""
    return HttpResponse(400, json.dumps({"error": error.message}).encode())


OTHER = ProtocolRoutes("other", "/v2", (Route("POST", "/v2/x", failing(InvalidInput("no"))),), other_error)


def test_a_request_reaches_its_handler_whole(serve: Serve) -> None:
    """Method, path, query, body and path parameters, and a deadline where the route has a timeout."""
    server = serve(NATURAL)
    got = server.request("POST", "/echo?a=1&b=%20", b"hello").json
    assert got == {
        "method": "POST",
        "path": "/echo",
        "query": "a=1&b=%20",
        "body": "hello",
        "params": {},
        "trusted": False,
        "probe": "",
        "arm": "",
        "deadline": True,
    }
    assert server.request("POST", "/m/a%20b/infer", b"").json["params"] == {"name": "a b"}
    assert server.request("GET", "/echo").json["deadline"] is False


def test_every_answer_carries_id_release_and_timing(serve: Serve) -> None:
    """Good ones and errors; a route's own headers stand beside them."""
    server = serve(NATURAL)
    for path, status in [("/echo", 200), ("/wrong", 422), ("/bug", 500), ("/nowhere", 404)]:
        answer = server.request("POST", path, b"")
        assert answer.status == status
        assert len(answer.headers["x-request-id"]) == 16
        assert answer.headers["x-modelapp-release"] == "r1"
        assert "total;dur=" in answer.headers["server-timing"]
        assert answer.headers["content-type"] == "application/json"
    answer = server.request("POST", "/echo", b"")
    assert answer.headers["x-own"] == "1"
    assert answer.headers["server-timing"].startswith("queue;dur=1.500, total;dur=")


@pytest.mark.parametrize(
    ("given", "kept"),
    [("abc-1_2.Z", True), ("a" * 64, True), ("a" * 65, False), ("a b", False), ('"', False), ("", False)],
)
def test_a_callers_request_id_is_kept_when_it_is_plain(serve: Serve, given: str, kept: bool) -> None:
    """Otherwise a fresh one is made; ids differ between requests."""
    server = serve(NATURAL)
    ids = [server.request("POST", "/echo", b"", {"x-request-id": given}).headers["x-request-id"] for _ in range(2)]
    assert (ids == [given, given]) is kept
    assert kept or ids[0] != ids[1]


def test_errors_take_their_protocols_shape(serve: Serve) -> None:
    """Below its prefix each protocol speaks its own, for unknown paths too."""
    server = serve(NATURAL, OTHER)
    answer = server.request("POST", "/wrong", b"")
    assert answer.json == {"error": {"code": "invalid_input", "message": '"a" is missing', "field": "a"}}
    assert server.request("POST", "/v2/x", b"").json == {"error": "no"}
    unknown = server.request("POST", "/v2/y", b"").json["error"]
    assert unknown.startswith('there is no route "/v2/y"')
    assert server.request("GET", "/v2/x").json == {"error": "/v2/x takes POST, not GET"}


def test_unknown_routes_and_wrong_methods(serve: Serve) -> None:
    """404 names what comes near, 405 names what is allowed, OPTIONS and strange methods too."""
    server = serve(NATURAL)
    answer = server.request("POST", "/ecko", b"")
    assert answer.status == 404
    assert answer.json["error"]["code"] == "not_found"
    assert answer.json["error"]["message"] == 'there is no route "/ecko"; did you mean "/echo"?'
    for method in ("DELETE", "OPTIONS", "FROB"):
        answer = server.request(method, "/echo")
        assert (answer.status, answer.headers["allow"]) == (405, "GET, POST")
        assert answer.json["error"] == {
            "code": "method_not_allowed",
            "message": f"/echo takes GET, POST, not {method}",
            "field": None,
        }


def test_head_is_get_without_a_body(serve: Serve) -> None:
    """Same headers, nothing after them."""
    server = serve(NATURAL)
    answer = server.raw(b"HEAD /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert body == b""
    assert server.request("HEAD", "/for-ever").status == 405


def test_a_body_over_the_bound_is_refused_before_it_comes(serve: Serve) -> None:
    """By Content-Length: the answer is there although no byte of the body was sent."""
    server = serve(NATURAL)
    assert server.request("POST", "/echo", b"a" * 1000).status == 200
    with server.connect() as connection:
        connection.sendall(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n")
        answer = connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'{"code":"too_large","message":"the body is larger than the 1000 bytes that this route takes"' in answer


def test_a_chunked_body_is_counted(serve: Serve) -> None:
    """Up to the bound it is read, past it refused, though its end never comes."""
    server = serve(NATURAL)
    chunks = [b"a" * 400, b"b" * 600]
    assert server.request("POST", "/echo", iter(chunks)).json["body"] == "a" * 400 + "b" * 600
    with server.connect() as connection:
        head = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall(head + b"3e9\r\n" + b"a" * 1001 + b"\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_a_client_that_sends_all_first_still_meets_the_413(serve: Serve) -> None:
    """What is refused is read on and dropped: a reset would swallow the answer. Other early refusals alike."""
    server = serve(NATURAL)
    large = b"a" * 20_000_000
    assert server.request("POST", "/echo", large).status == 413
    assert server.request("POST", "/nowhere", large).status == 404


def test_a_cut_body_is_a_bad_request(serve: Serve) -> None:
    """With a Content-Length the missing bytes are noticed."""
    server = serve(NATURAL)
    answer = server.raw(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 30\r\n\r\nabc", cut=True)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"message":"the body ends too early: the connection closed in its middle"' in answer


def test_a_slow_body_is_given_up(serve: Serve) -> None:
    """The route's timeout covers the body's arrival, and the client is told."""
    server = serve(NATURAL)
    answer = server.raw(b"POST /for-ever HTTP/1.1\r\nHost: x\r\nContent-Length: 30\r\n\r\nabc")
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"slow_body"' in answer


def test_a_handler_without_end_is_given_up(serve: Serve) -> None:
    """504 some time after the route's timeout, though the handler never looks at a clock."""
    server = serve(NATURAL)
    answer = server.request("POST", "/for-ever", b"{}")
    assert answer.status == 504
    assert answer.json["error"]["code"] == "deadline_exceeded"
    assert server.lifecycle.in_flight == 0


def test_retry_after_comes_in_whole_seconds(serve: Serve) -> None:
    """Rounded up, never 0, with 429 and 503."""
    server = serve(NATURAL)
    assert server.request("POST", "/full", b"").headers["retry-after"] == "3"
    server.lifecycle.drain()
    server.lifecycle.refuse()
    answer = server.request("POST", "/echo", b"")
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")


def test_an_unexpected_exception_is_logged_and_not_told(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    """The client gets a 500 with the request id; the log has the rest under it."""
    server = serve(NATURAL)
    with caplog.at_level(logging.ERROR, "modelapp.edge"):
        answer = server.request("POST", "/bug", b"", {"x-request-id": "id-7"})
    assert answer.status == 500
    assert answer.json["error"] == {
        "code": "internal",
        "message": "the server failed; its log tells more under the request id id-7",
        "field": None,
    }
    assert "request id-7: POST '/bug' failed" in caplog.text
    assert "ZeroDivisionError: secret" in caplog.text


def test_a_broken_error_shape_still_answers(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    """A plugin whose shape raises does not leave the client without JSON."""

    def broken(error: RequestError) -> HttpResponse:
        raise KeyError("x")

    server = serve(ProtocolRoutes("broken", "/", (Route("POST", "/a", failing(InvalidInput("no"))),), broken))
    answer = server.request("POST", "/a", b"")
    assert answer.status == 500
    assert answer.json["error"]["code"] == "internal"
    assert "the error shape of '/a' failed" in caplog.text


@pytest.mark.parametrize(("token", "trusted"), [(TOKEN, True), ("wrong", False), ("", False), (None, False)])
def test_only_the_control_token_opens_the_control_headers(serve: Serve, token: str | None, trusted: bool) -> None:
    """Without it, probe and arm are as if they had not been sent."""
    headers = {"x-modelapp-probe": "step", "x-modelapp-arm": "v2"}
    if token is not None:
        headers["x-modelapp-control"] = token
    answer = serve(NATURAL).request("POST", "/echo", b"", headers)
    assert answer.json["trusted"] is trusted
    assert (answer.json["probe"], answer.json["arm"]) == (("step", "v2") if trusted else ("", ""))
    assert answer.headers.get("x-modelapp-arm") == ("v2" if trusted else None)


def test_an_edge_without_a_token_trusts_nobody(serve: Serve) -> None:
    """An empty header is no key to an empty lock."""
    server = serve(NATURAL)
    server.edge._token = b""
    assert server.request("POST", "/echo", b"", {"x-modelapp-control": ""}).json["trusted"] is False


def test_before_ready_only_health_answers(serve: Serve) -> None:
    """503 with the reason and Retry-After for everything else."""
    server = serve(NATURAL)
    server.lifecycle.__init__()  # type: ignore[misc]  # as it was before ready
    assert server.request("GET", "/alive").status == 200
    answer = server.request("POST", "/echo", b"")
    assert answer.status == 503
    assert answer.json["error"] == {"code": "not_ready", "message": "the app is starting", "field": None}
    server.lifecycle.ready()
    assert server.request("POST", "/echo", b"").status == 200


def test_a_lame_duck_answers_and_asks_to_close(serve: Serve) -> None:
    """While draining: first `Connection: close` on good answers, then 503 with it."""
    server = serve(NATURAL)
    assert "connection" not in server.request("POST", "/echo", b"").headers
    server.lifecycle.drain()
    answer = server.request("POST", "/echo", b"")
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    server.lifecycle.refuse()
    answer = server.request("POST", "/echo", b"")
    assert (answer.status, answer.headers["connection"]) == (503, "close")
    assert answer.json["error"]["message"] == "this replica is stopping; send the request again"
    assert server.request("GET", "/alive").status == 200


def test_more_requests_than_the_bound_get_429(serve: Serve) -> None:
    """The bound counts requests in progress; the one that waits is not disturbed."""
    server = serve(
        ProtocolRoutes("natural", "/", (Route("POST", "/for-ever", for_ever, timeout_s=1), *ROUTES[:2]), natural_error),
        edge={"max_in_flight": 1},
    )
    with server.connect() as waiting:
        waiting.sendall(b"POST /for-ever HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        deadline = time.monotonic() + 5
        while not server.lifecycle.in_flight and time.monotonic() < deadline:
            time.sleep(0.01)
        answer = server.request("POST", "/echo", b"")
        assert (answer.status, answer.headers["retry-after"]) == (429, "1")
        assert waiting.recv(65536).startswith(b"HTTP/1.1 504 ")
    assert server.request("POST", "/echo", b"").status == 200


def test_a_client_that_leaves_is_told_to_those_who_watch(serve: Serve) -> None:
    """The call of a watched request is cancelled when its connection closes."""
    left: list[bool] = []

    async def watching(request: HttpRequest) -> HttpResponse:
        gone = asyncio.Event()
        request.call.watch(gone.set)
        await gone.wait()
        left.append(request.call.gone)
        raise Cancelled("the client left")

    server = serve(ProtocolRoutes("natural", "/", (Route("POST", "/watch", watching),), natural_error))
    with server.connect() as connection:
        connection.sendall(b"POST /watch HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        while not server.lifecycle.in_flight:
            time.sleep(0.01)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    assert server.on_loop(server.lifecycle.wait_idle(5))
    assert left == [True]


def test_bodies_arrive_as_they_were_sent(serve: Serve) -> None:
    """The edge does not look into them: compressed ones stay compressed."""
    packed = gzip.compress(b"x")
    seen: list[bytes] = []

    async def keep(request: HttpRequest) -> HttpResponse:
        seen.append(request.body)
        return HttpResponse(200, b"{}")

    server = serve(ProtocolRoutes("natural", "/", (Route("POST", "/keep", keep),), natural_error))
    server.request("POST", "/keep", packed, {"content-encoding": "gzip"})
    server.request("POST", "/keep", b"a" * 5_000_000)
    assert seen == [packed, b"a" * 5_000_000]

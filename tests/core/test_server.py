"""The embedded server on a given socket: the guards it needs, each tried with bare connections."""

import asyncio
import contextlib
import http.client
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from modelapp.natural import natural_error
from modelapp.routes import HttpRequest, HttpResponse, ProtocolRoutes, Route
from modelapp.server import HttpServer

Serve = Callable[..., Any]
GET = b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"


async def hello(request: HttpRequest) -> HttpResponse:
    """An answer at once."""
    return HttpResponse(200, b'{"hello":1}')


async def slow(request: HttpRequest) -> HttpResponse:
    """An answer after a while."""
    await asyncio.sleep(float(request.query))
    return HttpResponse(200, b'{"slow":1}')


HELLO = ProtocolRoutes("natural", "/", (Route("GET", "/hello", hello), Route("GET", "/slow", slow)), natural_error)


def test_three_hundred_connections_are_all_answered(serve: Serve) -> None:
    """Keep-alive connections beyond the backlog's number do not hang: the two bounds are separate."""
    server = serve(HELLO, server={"backlog": 128})
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(server.connect()) for _ in range(300)]
        for connection in connections:
            connection.sendall(GET)
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        connections[0].sendall(GET)
        assert connections[0].recv(65536).startswith(b"HTTP/1.1 200 ")


def test_a_taken_port_is_an_error_at_once(serve: Serve) -> None:
    """The socket is shared with nobody: a second one on its port does not bind."""
    server = serve(HELLO)
    with pytest.raises(OSError, match="in use"):
        socket.create_server(("127.0.0.1", server.port))


@pytest.mark.parametrize("sent", [b"", b"GET /hello HTTP/1.1\r\nHost: x\r\nX-Slow: "])
def test_a_silent_or_dribbling_connection_is_closed(serve: Serve, sent: bytes) -> None:
    """A client that does not finish its request head in time is dropped, and others are answered meanwhile."""
    server = serve(HELLO, server={"header_timeout_s": 0.3})
    with server.connect() as connection:
        connection.sendall(sent)
        assert server.request("GET", "/hello").status == 200
        assert connection.recv(65536) == b""


def test_an_idle_keep_alive_connection_is_closed_after_the_header_timeout(serve: Serve) -> None:
    """One connection serves several requests, and is dropped once it stays silent."""
    server = serve(HELLO, server={"header_timeout_s": 0.3})
    with server.connect() as connection:
        for _ in range(3):
            connection.sendall(GET)
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        assert connection.recv(65536) == b""


def test_a_slow_answer_outlives_the_header_timeout(serve: Serve) -> None:
    """The timeout is for the request head alone."""
    server = serve(HELLO, server={"header_timeout_s": 0.2})
    assert server.request("GET", "/slow?0.6").status == 200


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", b"414"),
        (b"GET /hello HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 200 + b"\r\n", b"431"),
        (b"POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", b"400"),
        (b"POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", b"400"),
    ],
)
def test_what_is_no_http_is_refused_by_the_server_itself(serve: Serve, sent: bytes, status: bytes) -> None:
    """These never reach a route; the status tells, the body is empty, the connection closes."""
    server = serve(HELLO)
    head, _, body = server.raw(sent).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 " + status)
    assert body == b""


def test_a_head_of_megabytes_is_refused(serve: Serve) -> None:
    """One endless header cannot fill the memory: the connection ends with 431."""
    server = serve(HELLO, server={"max_header_bytes": 16 * 1024})
    with server.connect() as connection:
        answer = b""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(b"GET /hello HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 8_000_000)
        with contextlib.suppress(ConnectionResetError):
            answer = connection.recv(65536)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 431 ")
    assert server.request("GET", "/hello").status == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\nConnection: close\r\n\r\n",
    ],
)
def test_upgrades_and_tunnels_are_ordinary_unknown_routes(serve: Serve, sent: bytes) -> None:
    """No websocket, no proxy."""
    assert serve(HELLO).raw(sent).startswith(b"HTTP/1.1 404 ")


def test_stopping_lets_open_answers_end(serve: Serve) -> None:
    """Idle connections close at once, the one that waits gets its answer, and the stop was clean."""
    server = serve(HELLO)
    with server.connect() as idle, server.connect() as waiting:
        idle.sendall(GET)
        assert idle.recv(65536).startswith(b"HTTP/1.1 200 ")
        waiting.sendall(b"GET /slow?0.5 HTTP/1.1\r\nHost: x\r\n\r\n")
        while not server.lifecycle.in_flight:
            time.sleep(0.01)
        assert server.on_loop(server.server.stop(timeout_s=10)) is True
        assert idle.recv(65536) == b""
        assert waiting.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_stopping_is_bounded(serve: Serve) -> None:
    """A request without end does not hold the stop beyond its bound."""
    server = serve(HELLO)
    with server.connect() as waiting:
        waiting.sendall(b"GET /slow?60 HTTP/1.1\r\nHost: x\r\n\r\n")
        while not server.lifecycle.in_flight:
            time.sleep(0.01)
        start = time.monotonic()
        assert server.on_loop(server.server.stop(timeout_s=0.3)) is False
        assert time.monotonic() - start < 5


def test_the_socket_outlives_the_server(serve: Serve) -> None:
    """Connections made between two servers wait in its queue and are answered by the second."""
    server = serve(HELLO)
    assert server.on_loop(server.server.stop()) is True
    with server.connect() as early:
        early.sendall(GET)

        async def start_again() -> HttpServer:
            second = HttpServer(server.edge, server.listener)
            await second.start()
            return second

        server.server = server.on_loop(start_again())
        assert early.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_stopping_twice_or_before_the_start_is_harmless() -> None:
    """Nothing to do is done at once, and waiting for the end returns."""

    async def live() -> list[bool]:
        server = HttpServer(hello, listener)
        outcomes = [await server.stop()]
        await server.start()
        ended = asyncio.ensure_future(server.wait_closed())
        await asyncio.sleep(0)
        outcomes += [ended.done(), await server.stop(), await server.stop()]
        await ended
        return outcomes

    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert asyncio.run(live()) == [True, False, True, True]


def test_the_server_says_nothing_of_its_own(serve: Serve, capfd: pytest.CaptureFixture[str]) -> None:
    """Standard output and error belong to the replica, on start, requests, refusals and stop alike."""
    server = serve(HELLO)
    server.request("GET", "/hello")
    server.raw(b"nonsense\r\n\r\n")
    server.on_loop(server.server.stop())
    assert capfd.readouterr() == ("", "")


def test_pipelined_requests_are_answered_in_order(serve: Serve) -> None:
    """Two requests in one packet get two answers."""
    server = serve(HELLO)
    both = b"GET /slow?0.1 HTTP/1.1\r\nHost: x\r\n\r\nGET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answers = server.raw(both)
    assert answers.count(b"HTTP/1.1 200 ") == 2
    assert answers.index(b"slow") < answers.index(b"hello")


def test_a_client_that_waits_for_continue_gets_it(serve: Serve) -> None:
    """`Expect: 100-continue` is honoured where the body is wanted, and refused with the status where it is not."""

    async def keep(request: HttpRequest) -> HttpResponse:
        return HttpResponse(200, request.body)

    server = serve(ProtocolRoutes("natural", "/", (Route("POST", "/keep", keep, max_body_bytes=10),), natural_error))
    head = b"POST /keep HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
    with server.connect() as connection:
        connection.sendall(head % 3)
        assert connection.recv(65536).startswith(b"HTTP/1.1 100 ")
        connection.sendall(b"abc")
        assert connection.recv(65536).endswith(b"abc")
    with server.connect() as connection:
        connection.sendall(head % 11)
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_many_requests_on_one_connection(serve: Serve) -> None:
    """A standard client keeps its connection."""
    server = serve(HELLO)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    for _ in range(50):
        connection.request("GET", "/hello")
        first = connection.sock
        assert connection.getresponse().read() == b'{"hello":1}'
        assert connection.sock is first
    connection.close()

"""The listening socket of an app."""

import contextlib
import socket
import sys

import pytest

from modelapp.errors import PortInUseError, SurroundingsError
from modelapp.listener import is_loopback, listen, take_callers, take_no_more, turn_away, url


def test_port_0_is_any_free_one() -> None:
    """The URL tells which."""
    with listen("127.0.0.1", 0) as sock:
        assert url(sock) == f"http://127.0.0.1:{sock.getsockname()[1]}"
        with socket.create_connection(sock.getsockname()[:2], timeout=5):
            pass


def test_a_port_is_taken_by_whoever_has_it() -> None:
    """Also by one of our own sockets; the help proposes another port."""
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(PortInUseError) as caught:
            listen("127.0.0.1", port)
    assert f"server.port={port + 1}" in caught.value.help


def test_a_port_is_free_again_at_once() -> None:
    """Connections that linger after a server's end do not block its port."""
    with listen("127.0.0.1", 0) as first:
        address = first.getsockname()[:2]
        client = socket.create_connection(address, timeout=5)
        accepted, _ = first.accept()
        accepted.close()
    client.close()
    listen(*address).close()


def test_a_port_shared_by_others_is_taken() -> None:
    """Two servers that agree to share a port have not asked us."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(PortInUseError):
            listen("127.0.0.1", other.getsockname()[1])


@pytest.mark.parametrize("host", ["no such host", "192.0.2.1"])
def test_a_foreign_address_is_an_error(host: str) -> None:
    """An address that this machine does not have cannot be listened on."""
    with pytest.raises(SurroundingsError) as caught:
        listen(host, 0)
    assert host in caught.value.message


def test_every_interface_is_reached_by_the_local_one() -> None:
    """The URL is one that can be opened."""
    with listen("0.0.0.0", 0) as sock:
        assert url(sock).startswith("http://127.0.0.1:")


def test_who_was_not_accepted_is_answered_before_the_door_closes() -> None:
    """No reset meets a request that is on its way; later callers are refused outright."""
    sock = listen("127.0.0.1", 0)
    address = sock.getsockname()
    with contextlib.ExitStack() as stack:
        early = [stack.enter_context(socket.create_connection(address, timeout=10)) for _ in range(5)]
        for connection in early[:3]:
            connection.sendall(b"POST / HTTP/1.1\r\ncontent-length: 100000\r\n\r\n" + b"x" * 100_000)
        turn_away(sock, b"HTTP/1.1 503 Service Unavailable\r\n\r\n")
        for connection in early:
            assert connection.recv(65536) == b"HTTP/1.1 503 Service Unavailable\r\n\r\n"
            assert connection.recv(65536) == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=10)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.8.7", "::1", "localhost"])
def test_this_machine_alone(host: str) -> None:
    """Addresses of the loopback network, and the one name for it."""
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "127.example.org", "localhost.example.org", ""])
def test_others_can_reach_it(host: str) -> None:
    """Also where a name begins like an address of this machine."""
    assert not is_loopback(host)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux filters what a listening socket hears")
def test_new_callers_are_passed_over_until_they_are_taken_again() -> None:
    """A call meanwhile is neither refused nor accepted: it comes through once callers are taken again."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        take_no_more(server)
        with socket.socket() as late:
            late.settimeout(0.2)
            with pytest.raises(TimeoutError):
                late.connect(server.getsockname())
        take_callers(server)
        with socket.create_connection(server.getsockname(), timeout=10):
            pass

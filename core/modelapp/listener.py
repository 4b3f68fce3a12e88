"""The listening socket of an app. The parent binds it, so that a taken port is an error at once and a replica that
died is replaced behind the same socket.
"""

import contextlib
import ctypes
import errno
import socket
import struct
from time import monotonic

from modelapp.errors import PortInUseError, SurroundingsError

BACKLOG = 1024
"""Connections that may wait to be accepted, also while a replica is being replaced."""

_FAREWELL_S = 0.5
_ATTACH_FILTER, _DETACH_FILTER = 26, 27  # Linux: SO_ATTACH_FILTER, SO_DETACH_FILTER
_NO_NEW_CALLS = struct.pack("HBBI" * 4, 0x30, 0, 0, 13, 0x45, 0, 1, 2, 0x06, 0, 0, 0, 0x06, 0, 0, 0xFFFF)
"""A filter of packets, seen from the TCP header on: load the flags (byte 13); with SYN drop it, else let it through."""


def listen(host: str, port: int, *, key: str = "server.port") -> socket.socket:
    """A socket that listens on `host`:`port` (0: any free port), which `key` of app.toml names.

    Raises PortInUseError and SurroundingsError.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise SurroundingsError(
            f'"{host}" is no address of this machine: {error.strerror}',
            help='[server] host = "127.0.0.1", or "0.0.0.0" for every interface',
        ) from None
    family, kind, protocol, _, address = found[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise _refused(error, host, port, key) from None
    return sock


def _refused(error: OSError, host: str, port: int, key: str) -> SurroundingsError:
    if error.errno == errno.EADDRINUSE:
        return PortInUseError(host, port, key=key)
    advice = "choose a port of 1024 or more" if error.errno == errno.EACCES else ""
    return SurroundingsError(f"cannot listen on port {port} of {host}: {error.strerror}", help=advice)


def is_loopback(host: str) -> bool:
    """Whether `host` is an address that this machine alone reaches; a name counts only where it is localhost."""
    if host.startswith("127."):
        with contextlib.suppress(OSError):  # "127.example.org" is a name
            return bool(socket.inet_aton(host))
    return host in ("localhost", "::1")


def take_no_more(sock: socket.socket) -> None:
    """Pass over new callers: who has connected is still heard, who calls now tries again by itself a second later.

    Holds for every process that has the socket, until `take_callers`. Without effect where the system is no Linux.
    """
    program = ctypes.create_string_buffer(_NO_NEW_CALLS)
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, struct.pack("HP", 4, ctypes.addressof(program)))


def take_callers(sock: socket.socket) -> None:
    """Undo `take_no_more`, also that of a replica that had the socket before and was killed."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, _DETACH_FILTER, 0)


def turn_away(sock: socket.socket, answer: bytes = b"") -> None:
    """Close the socket for good. Who has connected and was not accepted yet gets `answer`, and not a reset.

    Takes _FAREWELL_S at most, for clients that do not close their end.
    """
    sock.setblocking(False)
    waiting = []
    with contextlib.suppress(OSError):
        while True:
            waiting.append(sock.accept()[0])
    sock.close()  # from here on callers are refused, and know that nobody heard them
    until_s = monotonic() + _FAREWELL_S
    for connection in waiting:
        with contextlib.suppress(OSError):
            connection.setblocking(False)
            connection.send(answer)
            connection.shutdown(socket.SHUT_WR)
    for connection in waiting:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(0.001)
            while (left_s := until_s - monotonic()) > 0:
                connection.settimeout(left_s)
                if not connection.recv(65536):  # what is left unread at the close would make it a reset after all
                    break


def url(sock: socket.socket, scheme: str = "http") -> str:
    """The URL under which this machine reaches the socket."""
    host, port = sock.getsockname()[:2]
    if host in ("0.0.0.0", "::"):  # noqa: S104 - asked, not bound
        host = "127.0.0.1" if host == "0.0.0.0" else "::1"  # noqa: S104
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

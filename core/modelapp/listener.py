"""The listening socket of an app. The parent binds it, so that a taken port is an error at once and a replica that
died is replaced behind the same socket.
"""

import errno
import socket

from modelapp.errors import PortInUseError, SurroundingsError

BACKLOG = 1024
"""Connections that may wait to be accepted, also while a replica is being replaced."""


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
    return host == "localhost" or host == "::1" or host.startswith("127.")


def url(sock: socket.socket) -> str:
    """The URL under which this machine reaches the socket."""
    host, port = sock.getsockname()[:2]
    if host in ("0.0.0.0", "::"):  # noqa: S104 - asked, not bound
        host = "127.0.0.1" if host == "0.0.0.0" else "::1"  # noqa: S104
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

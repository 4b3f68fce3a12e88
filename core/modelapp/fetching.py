"""Fetches what a URL in a request leads to: from listed hosts alone, within a size and a time, never past a check.

A name is resolved once, every address it has is judged, and the connection goes to one of those very addresses, so that
a second answer of the resolver changes nothing. Redirects are judged the same way. Proxies of the environment are not
used, nor are names and passwords in URLs.
"""

import http.client
import io
import socket
import ssl
from collections.abc import Callable
from time import monotonic
from typing import Any, cast
from urllib.parse import SplitResult, quote, urljoin, urlsplit

import attrs

from modelapp.addresses import Address, AllowList, as_address, why_closed
from modelapp.errors import DeadlineExceeded
from modelapp.mismatch import Mismatch

MAX_REDIRECTS = 3
_MAX_URL_CHARS = 8192
_CHUNK_BYTES = 64 * 1024
_MOVED = frozenset({301, 302, 303, 307, 308})
_PORTS = {"http": 80, "https": 443}
_AS_IT_IS = "/%:@!$&'()*+,;=~-._?"
_HEADERS = {"user-agent": "modelapp", "accept": "*/*", "accept-encoding": "identity", "connection": "close"}

Clock = Callable[[], float]


@attrs.define
class Budget:
    """What one request may still fetch: bytes, and time until `deadline_s` of `clock`, all its URLs together."""

    bytes_left: int
    deadline_s: float
    clock: Clock = monotonic

    def remaining_s(self) -> float:
        """Seconds left. Raises DeadlineExceeded where there are none."""
        left_s = self.deadline_s - self.clock()
        if left_s <= 0:
            raise DeadlineExceeded("the time allowed for this request is over; a URL in it was still being fetched")
        return min(left_s, _LONGEST_S)


_LONGEST_S = 3600.0
"""A socket refuses to wait for years, which a generous `timeout_s` may ask for."""


@attrs.frozen
class _Target:
    """Where a judged URL leads. `addresses` are what a socket connects to, the first that answers."""

    scheme: str
    host: str
    port: int
    addresses: tuple[Address, ...]
    path: str


def fetch(url: str, allowed: AllowList, budget: Budget) -> bytes:
    """The bytes behind a URL; `budget` is charged for them.

    Raises Mismatch, which names the host at most, since the rest of a URL may be secret; DeadlineExceeded.
    """
    for _ in range(MAX_REDIRECTS + 1):
        target = _judge(url, allowed)
        found = _get(target, budget)
        if isinstance(found, bytes):
            budget.bytes_left -= len(found)
            return found
        url = urljoin(url, found.location)
    raise Mismatch(f"is a URL that redirects more than {MAX_REDIRECTS} times")


def _judge(url: str, allowed: AllowList) -> _Target:
    """Resolve a URL whose host is listed. Raises Mismatch where it may not be fetched."""
    parts, host, port = _parts(url)
    if not allowed.takes(host):
        raise Mismatch("is a URL of a host that its allow_hosts does not list", got=f': "{host[:100]}"')
    addresses = _resolve(host, port)
    for address in addresses:
        if why := why_closed(address, allowed.listed):
            raise Mismatch(f"is a URL that leads to a {why} address", got=f": {host[:100]}")
    at_home = all(any(address in network for network in allowed.listed) for address in addresses)
    if parts.scheme == "http" and not at_home:
        raise Mismatch("must be an https URL; http is for addresses that allow_hosts lists")
    path = quote(parts.path or "/", safe=_AS_IT_IS) + (f"?{quote(parts.query, safe=_AS_IT_IS)}" if parts.query else "")
    return _Target(parts.scheme, host, port, tuple(addresses), path)


def _parts(url: str) -> tuple[SplitResult, str, int]:
    if len(url) > _MAX_URL_CHARS:
        raise Mismatch(f"is a URL of more than {_MAX_URL_CHARS} characters")
    try:
        parts = urlsplit(url)
        port = parts.port
        host = (parts.hostname or "").encode("idna").decode("ascii") if as_address(parts.hostname or "") is None else ""
        host = host or parts.hostname or ""
    except ValueError:  # UnicodeError is one
        raise Mismatch("is a URL that cannot be read") from None
    if parts.scheme not in _PORTS:
        raise Mismatch("is a URL of another kind than http and https")
    if parts.username is not None or parts.password is not None:
        raise Mismatch("is a URL with a user's name or password in it")
    if not host or "%" in host or any(not "!" <= character <= "~" for character in host):
        raise Mismatch("is a URL without a usable host")
    return parts, host, _PORTS[parts.scheme] if port is None else port


def _resolve(host: str, port: int) -> list[Address]:
    if (literal := as_address(host)) is not None:
        return [literal]
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise Mismatch("is a URL whose host has no address", got=f": {host[:100]}") from None
    addresses = [as_address(str(entry[4][0])) for entry in found]
    known = [address for address in dict.fromkeys(addresses) if address is not None]
    if not known or len(known) < len(set(addresses)):
        raise Mismatch("is a URL whose host has no address", got=f": {host[:100]}")
    return known


@attrs.frozen
class _Moved:
    """Where an answer sends the caller."""

    location: str


def _get(target: _Target, budget: Budget) -> bytes | _Moved:
    try:
        connection = _Connection(target, budget)
        try:
            connection.request("GET", target.path, headers=_HEADERS)
            return _read(connection.getresponse(), target, budget)
        finally:
            connection.hang_up()
    except TimeoutError:
        budget.remaining_s()  # raises what it is, unless the peer itself gave up
        raise Mismatch("is a URL that could not be fetched in time", got=f" from {target.host[:100]}") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = type(error).__name__
        raise Mismatch("is a URL that could not be fetched", got=f" from {target.host[:100]}: {reason}") from None


def _read(response: http.client.HTTPResponse, target: _Target, budget: Budget) -> bytes | _Moved:
    location = response.getheader("location")
    if response.status in _MOVED and location:
        return _Moved(location)
    if response.status != 200:
        raise Mismatch("is a URL that could not be fetched", got=f": {target.host[:100]} answers {response.status}")
    if (response.getheader("content-encoding") or "identity").strip().lower() != "identity":
        raise Mismatch("is a URL whose host compresses what was asked for as it is")
    whole, most = response.length, budget.bytes_left
    chunks: list[bytes] = []
    size = 0
    while (whole or 0) <= most and size <= most and size != whole:
        chunk = response.read1(_CHUNK_BYTES if whole is None else min(_CHUNK_BYTES, whole - size))
        if not chunk:
            break
        chunks.append(chunk)
        size += len(chunk)
    if max(size, whole or 0) > most:
        raise Mismatch(f"is a URL with more bytes behind it than the {most} that may still be fetched for this request")
    if whole is not None and size < whole:
        raise Mismatch("is a URL whose content ends too early", got=f": {size} of {whole} bytes came")
    return b"".join(chunks)


class _Connection(http.client.HTTPConnection):
    """A connection to the address that was judged, whatever the host's name means now."""

    def __init__(self, target: _Target, budget: Budget) -> None:
        super().__init__(target.host, target.port)
        self._target = target
        self._budget = budget
        self._open: socket.socket | None = None

    def connect(self) -> None:
        """Connect, within the time that is left."""
        sock = self._reach()
        if self._target.scheme == "https":
            try:
                sock = ssl.create_default_context().wrap_socket(sock, server_hostname=self._target.host.strip("[]"))
            except BaseException:
                sock.close()
                raise
        self._open = sock
        self.sock = cast("socket.socket", _TimedSocket(sock, self._budget))

    def _reach(self) -> socket.socket:
        for number, address in enumerate(self._target.addresses, start=1):
            sock = socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6)
            try:
                sock.settimeout(self._budget.remaining_s())
                sock.connect((str(address), self._target.port))
            except BaseException as error:
                sock.close()
                if number == len(self._target.addresses) or not isinstance(error, OSError):
                    raise
            else:
                return sock
        raise OSError("no address")

    def hang_up(self) -> None:
        """Close for good. http.client's own `close` comes before an answer without a length is read."""
        self.close()
        if self._open is not None:
            self._open.close()


class _TimedSocket:
    """As much of a socket as http.client uses. A timeout of the socket's own would begin anew with every byte."""

    def __init__(self, sock: socket.socket, budget: Budget) -> None:
        self._sock = sock
        self._budget = budget

    def sendall(self, data: bytes) -> None:
        """Send all, in time."""
        self._sock.settimeout(self._budget.remaining_s())
        self._sock.sendall(data)

    def makefile(self, *_: Any) -> io.BufferedReader:
        """What comes in, each read of it in time."""
        return io.BufferedReader(_TimedReader(self._sock, self._budget))

    def close(self) -> None:
        """Nothing: whoever connected hangs up."""


class _TimedReader(io.RawIOBase):
    def __init__(self, sock: socket.socket, budget: Budget) -> None:
        self._sock = sock
        self._budget = budget

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._sock.settimeout(self._budget.remaining_s())
        return self._sock.recv_into(buffer)

"""What a URL in a request may lead to, against real servers on this machine."""

import contextlib
import datetime
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from modelapp import fetching
from modelapp.addresses import AllowList
from modelapp.errors import DeadlineExceeded
from modelapp.fetching import Budget, fetch
from modelapp.mismatch import Mismatch

HOME = ("127.0.0.1", "localhost")
Respond = Callable[[socket.socket, bytes], None]


class Web:
    """A server whose every answer is a function of the connection and the request."""

    def __init__(self, respond: Respond, family: socket.AddressFamily = socket.AF_INET) -> None:
        self._listener = socket.create_server(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0), family=family)
        self.port: int = self._listener.getsockname()[1]
        self.requests: list[bytes] = []
        self._respond = respond
        self._threads = [threading.Thread(target=self._serve, daemon=True)]
        self._threads[0].start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                request = b""
                while b"\r\n\r\n" not in request and (piece := connection.recv(65536)):
                    request += piece
                self.requests.append(request)
                self._respond(connection, request)

    def close(self) -> None:
        """Listen no more."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads[0].join(10)


@pytest.fixture
def web() -> Iterator[Callable[..., Web]]:
    """web(respond) starts a server that ends with the test."""
    running: list[Web] = []

    def start(respond: Respond, **more: Any) -> Web:
        running.append(Web(respond, **more))
        return running[-1]

    yield start
    for one in running:
        one.close()


def sends(*pieces: bytes, head: bytes = b"HTTP/1.1 200 OK\r\n") -> Respond:
    """The pieces after a head, one after the other."""

    def respond(connection: socket.socket, _: bytes) -> None:
        connection.sendall(head)
        for piece in pieces:
            connection.sendall(piece)

    return respond


def whole(body: bytes, *headers: bytes) -> Respond:
    """A proper answer."""
    head = b"".join(header + b"\r\n" for header in headers)
    return sends(head + b"content-length: %d\r\n\r\n" % len(body) + body)


def moved(location: str, status: int = 302) -> Respond:
    """A redirect."""
    return sends(b"location: %s\r\ncontent-length: 0\r\n\r\n" % location.encode(), head=b"HTTP/1.1 %d X\r\n" % status)


def get(url: str, *allowed: str, most: int = 1000, seconds: float = 20) -> bytes:
    """What is fetched from hosts that are listed."""
    return fetch(url, AllowList.of(allowed or HOME), Budget(most, time.monotonic() + seconds))


def test_bytes_come_back_and_nothing_is_told_of_this_server(web):
    """One plain request that names the host and asks for no compression; no cookies, no credentials."""
    server = web(whole(b"picture"))
    assert get(f"http://localhost:{server.port}/a%20b/c?d=e f&g=%7e#fragment") == b"picture"
    head = server.requests[0].decode().lower()
    assert head.startswith("get /a%20b/c?d=e%20f&g=%7e http/1.1\r\n")
    names = {line.partition(":")[0] for line in head.split("\r\n")[1:] if line}
    assert names == {"host", "user-agent", "accept", "accept-encoding", "connection"}
    assert f"host: localhost:{server.port}" in head
    assert "accept-encoding: identity" in head


@pytest.mark.parametrize(
    "respond",
    [
        sends(b"connection: close\r\n\r\npic", b"ture"),
        sends(b"transfer-encoding: chunked\r\n\r\n3\r\npic\r\n4\r\nture\r\n0\r\n\r\n"),
        sends(b"content-length: 7\r\n\r\npicturemore than was told"),
    ],
)
def test_each_framing_of_http(web, respond):
    """By length, in chunks, and to the end of the connection."""
    assert get(f"http://127.0.0.1:{web(respond).port}/") == b"picture"


def test_ipv6(web):
    """In brackets."""
    server = web(whole(b"six"), family=socket.AF_INET6)
    assert get(f"http://[::1]:{server.port}/", "::1") == b"six"


def refused(url: str, *allowed: str, **more: Any) -> str:
    """Why a URL is not fetched."""
    with pytest.raises(Mismatch) as caught:
        get(url, *allowed, **more)
    return str(caught.value)


@pytest.mark.parametrize(
    ("url", "allowed", "why"),
    [
        ("https://elsewhere.test/", HOME, "allow_hosts does not list"),
        ("https://127.0.0.2/", HOME, "allow_hosts does not list"),
        ("http://localhost/", ("localhost",), "leads to a loopback address"),
        ("http://2130706433/", ("2130706433",), "leads to a loopback address"),
        ("http://0x7f.1/", ("0x7f.1",), "leads to a loopback address"),
        ("http://[::ffff:127.0.0.1]/", HOME, "allow_hosts does not list"),
        ("http://8.8.8.8.nowhere.invalid/", ("*.invalid",), "no address"),
        ("ftp://localhost/", HOME, "another kind than http"),
        ("file:///etc/passwd", HOME, "another kind than http"),
        ("http://user@localhost/", HOME, "name or password"),
        ("http://user:word@localhost/", HOME, "name or password"),
        ("http://:@localhost/", HOME, "name or password"),
        ("http://localhost:0x50/", HOME, "cannot be read"),
        ("http://localhost:99999/", HOME, "cannot be read"),
        ("http://[::1/", HOME, "cannot be read"),
        ("http:///path", HOME, "without a usable host"),
        ("http://local%68ost/", HOME, "without a usable host"),
        ("http://local host/", ("local host",), "without a usable host"),
        ("http://[fe80::1%25eth0]/", ("fe80::/10",), "without a usable host"),
        ("http://localhost/" + "a" * 9000, HOME, "more than 8192 characters"),
        ("http://" + "a" * 300 + ".test/", ("*.test",), "cannot be read"),
    ],
)
def test_urls_that_are_never_fetched(url, allowed, why):
    """Told without the URL, whose path or query may be secret."""
    assert why in refused(url, *allowed)


def test_plain_http_is_for_addresses_that_are_listed(monkeypatch):
    """Anybody on the way could change what comes from a public host."""
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(0, 0, 0, "", ("93.184.216.34", 80))])
    assert "must be an https URL" in refused("http://example.test/", "example.test")


def test_a_redirect_is_followed_three_times(web):
    """Relative ones too; the fourth is one too many."""
    steps = {b"/1": "/2", b"/2": "/3", b"/3": "/4", b"/4": "/5"}

    def respond(connection: socket.socket, request: bytes) -> None:
        path = request.split()[1]
        (moved(steps[path]) if path in steps else whole(b"there"))(connection, request)

    server = web(respond)
    assert get(f"http://localhost:{server.port}/2") == b"there"
    assert "redirects more than 3 times" in refused(f"http://localhost:{server.port}/1")


@pytest.mark.parametrize(
    ("location", "why"),
    [
        ("http://127.0.0.2:{port}/", "allow_hosts does not list"),
        ("//127.0.0.2:{port}/", "allow_hosts does not list"),
        ("http://169.254.169.254/latest/meta-data", "allow_hosts does not list"),
        ("http://inside.test:{port}/", "leads to a loopback address"),
        ("file:///etc/passwd", "another kind"),
        ("http://user:word@localhost:{port}/", "name or password"),
    ],
)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_judged_like_the_url_itself(web, monkeypatch, location, why, status):
    """A listed host cannot send this server where the caller could not."""
    real = socket.getaddrinfo

    def resolve(host: str, *args: Any, **more: Any) -> Any:
        return [(0, 0, 0, "", ("127.0.0.3", 0))] if host == "inside.test" else real(host, *args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    aim = web(whole(b"secret"))
    server = web(moved(location.format(port=aim.port), status))
    assert why in refused(f"http://localhost:{server.port}/", *HOME, "inside.test")
    assert aim.requests == []


def test_a_name_is_resolved_once_and_never_again(web, monkeypatch):
    """A resolver that answers otherwise the second time changes nothing: the judged address is connected to."""
    good, bad = web(whole(b"good")), web(whole(b"bad"))
    answers = iter([[(0, 0, 0, "", ("127.0.0.1", good.port))], [(0, 0, 0, "", ("127.0.0.9", bad.port))]])
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: next(answers))
    assert get(f"http://rebinding.test:{good.port}/", "rebinding.test", "127.0.0.1") == b"good"
    assert (len(good.requests), len(bad.requests), len(list(answers))) == (1, 0, 1)


def test_the_next_address_is_tried_where_one_does_not_answer(web, monkeypatch):
    """A host may have an address that cannot be reached from here."""
    server = web(whole(b"second"))
    answer = [(0, 0, 0, "", (address, server.port)) for address in ("127.0.0.99", "127.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answer)
    assert get(f"http://two.test:{server.port}/", "two.test", "127.0.0.0/8") == b"second"


def test_one_closed_address_among_many_closes_the_host(monkeypatch):
    """Else the order of a resolver's answer would decide."""
    answer = [(0, 0, 0, "", (address, 443)) for address in ("93.184.216.34", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answer)
    assert "leads to a private address" in refused("https://mixed.test/", "mixed.test")


def test_proxies_of_the_environment_are_not_asked(web, monkeypatch):
    """They would see what is fetched, and could reach what this server may not."""
    server, proxy = web(whole(b"direct")), web(whole(b"by proxy"))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "https_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
    assert get(f"http://localhost:{server.port}/") == b"direct"
    assert proxy.requests == []


@pytest.mark.parametrize(
    "respond",
    [
        whole(b"x" * 1001),
        sends(b"content-length: 5000000000\r\n\r\n"),
        sends(b"\r\n" + b"x" * 2000),
        sends(
            b"transfer-encoding: chunked\r\n\r\n"
            + b"1f4\r\n"
            + b"x" * 500
            + b"\r\n"
            + b"3e8\r\n"
            + b"x" * 1000
            + b"\r\n0\r\n\r\n"
        ),
    ],
)
def test_more_than_may_be_fetched_is_refused(web, respond):
    """By what is told or by what comes, whichever is first."""
    assert "more bytes behind it than the 1000" in refused(f"http://127.0.0.1:{web(respond).port}/")


def test_an_endless_answer_ends_at_the_bound(web):
    """Its memory is bounded too: no more is read than may be kept."""
    sent = []

    def endless(connection: socket.socket, _: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            sent.append(connection.send(b"x" * 65536))

    assert "more bytes" in refused(f"http://127.0.0.1:{web(endless).port}/", most=100_000)
    assert sum(sent) < 20_000_000


def test_all_urls_of_a_request_share_one_budget(web):
    """Many small files are as much as one large one."""
    server = web(whole(b"x" * 600))
    budget = Budget(1000, time.monotonic() + 20)
    fetch(f"http://localhost:{server.port}/", AllowList.of(HOME), budget)
    with pytest.raises(Mismatch, match="than the 400"):
        fetch(f"http://localhost:{server.port}/", AllowList.of(HOME), budget)


@pytest.mark.parametrize(
    ("respond", "why"),
    [
        (whole(b""), ""),
        (sends(b"content-length: 10\r\n\r\nshort"), "5 of 10 bytes came"),
        (sends(b"transfer-encoding: chunked\r\n\r\n5\r\nsho"), "could not be fetched"),
        (sends(b"content-encoding: gzip\r\ncontent-length: 1\r\n\r\nx"), "compresses"),
        (sends(b"", head=b""), "could not be fetched"),
        (sends(b"", head=b"SSH-2.0-OpenSSH\r\n"), "could not be fetched"),
        (sends(b"a: b\r\n" * 500 + b"\r\n"), "could not be fetched"),
        (sends(b"a: " + b"b" * 100_000 + b"\r\n\r\n"), "could not be fetched"),
        (sends(b"content-length: 0\r\n\r\n", head=b"HTTP/1.1 404 X\r\n"), "answers 404"),
        (sends(b"content-length: 0\r\n\r\n", head=b"HTTP/1.1 500 X\r\n"), "answers 500"),
        (sends(b"content-length: 0\r\n\r\n", head=b"HTTP/1.1 302 X\r\n"), "answers 302"),
        (sends(b"content-length: 0\r\n\r\n", head=b"HTTP/1.1 206 X\r\n"), "answers 206"),
    ],
)
def test_answers_that_are_none(web, respond, why):
    """Nothing cut or half-way is taken for the whole."""
    url = f"http://127.0.0.1:{web(respond).port}/"
    if why:
        assert why in refused(url)
    else:
        assert get(url) == b""


def test_nobody_there():
    """A closed port is told as what it is."""
    with socket.create_server(("127.0.0.1", 0)) as closing:
        port = closing.getsockname()[1]
    assert "could not be fetched" in refused(f"http://127.0.0.1:{port}/")


class SteppedClock:
    """Moves on by a tenth of a second each time it is asked."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        """The time."""
        self.now_s += 0.1
        return self.now_s


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nx: "])
def test_a_slow_host_ends_with_the_deadline(web, head):
    """One byte at a time, in the body or in the head, would keep each single read in time for ever."""

    def slowly(connection: socket.socket, _: bytes) -> None:
        connection.sendall(head)
        while True:
            connection.sendall(b"x")
            time.sleep(0.002)

    url = f"http://127.0.0.1:{web(slowly).port}/"
    with pytest.raises(DeadlineExceeded):
        fetch(url, AllowList.of(HOME), Budget(10**9, 2.0, SteppedClock()))


def test_a_silent_host_ends_with_the_deadline(web):
    """It accepts, and says nothing."""
    done = threading.Event()
    server = web(lambda *_: done.wait(20) and None)
    with pytest.raises(DeadlineExceeded):
        fetch(f"http://127.0.0.1:{server.port}/", AllowList.of(HOME), Budget(10, time.monotonic() + 0.2))
    done.set()


def test_a_time_that_is_over_fetches_nothing(web):
    """Before any connection is made."""
    server = web(whole(b"x"))
    with pytest.raises(DeadlineExceeded):
        fetch(f"http://127.0.0.1:{server.port}/", AllowList.of(HOME), Budget(10, time.monotonic() - 1))
    assert server.requests == []


def test_a_certificate_must_be_of_the_host_and_trusted(tmp_path, monkeypatch):
    """By the machine's authorities; the address that is connected to does not matter to it."""
    trusted, key = _certificate(tmp_path, "localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(trusted, key)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def serve() -> None:
            for _ in range(3):
                connection, _ = listener.accept()
                with contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True) as wrapped:
                    wrapped.recv(65536)
                    whole(b"by TLS")(wrapped, b"")

        thread = threading.Thread(target=serve)
        thread.start()
        assert "could not be fetched from localhost: SSLCertVerificationError" in refused(f"https://localhost:{port}/")
        monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
        assert get(f"https://localhost:{port}/") == b"by TLS"
        assert "SSLCertVerificationError" in refused(f"https://127.0.0.1:{port}/")
        thread.join(10)


def _certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A certificate that is its own authority, and its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = folder / "cert.pem", folder / "key.pem"
    cert_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return cert_file, key_file


def test_the_bound_of_redirects_is_what_is_documented():
    """docs/security.md names it."""
    assert fetching.MAX_REDIRECTS == 3


def test_a_budget_without_an_end_is_one_that_a_socket_can_keep() -> None:
    """However generous the endpoint's time is."""
    with socket.socket() as waiting:
        waiting.settimeout(Budget(1, float("inf")).remaining_s())

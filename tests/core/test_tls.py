"""HTTPS: served, reached by the product's own commands, and refused with the key at fault where a file is not good."""

import contextlib
import datetime
import http.client
import json
import shutil
import socket
import ssl
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import trustme

from modelapp.app import App, AppInfo, Server
from modelapp.errors import SurroundingsError
from modelapp.tls import certificate, check, trusting

TOML = """\
[app]
name = "safe"

[server]
tls_cert = "tls/cert.pem"
tls_key = "tls/key.pem"

[models.twice]
source = "handlers.py"
runtime = "null"
[models.twice.null]
scale = 2.0

[endpoints.twice]
model = "twice"
[endpoints.twice.input]
x = "list[float]"

[[tests]]
name = "doubled"
endpoint = "twice"
input = { x = [2.0] }
expect = { x = [4.0] }
"""
AUTHORITY = trustme.CA()
LONG_AGO = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
IN_A_HUNDRED_YEARS = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=36500)


def write(root: Path, **times: Any) -> tuple[Path, Path]:
    """A certificate for localhost and its key, in a folder."""
    issued = AUTHORITY.issue_cert("localhost", "127.0.0.1", **times)
    root.mkdir(exist_ok=True)
    cert, key = root / "cert.pem", root / "key.pem"
    cert.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    return cert, key


def app_of(root: Path, cert: str = "cert.pem", key: str = "key.pem") -> App:
    """An app that serves by HTTPS."""
    return App(app=AppInfo(name="safe"), server=Server(tls_cert=cert, tls_key=key), root=root)


def refusal(app: App) -> str:
    """Why its files are refused, with the advice."""
    with pytest.raises(SurroundingsError) as caught:
        check(app)
    return str(caught.value)


@pytest.fixture
def served(write_app, background, tmp_path: Path):
    """The app, serving: its folder and the URL it printed."""
    root = write_app(TOML, {"handlers.py": ""})
    write(root / "tls")
    run = background("run", "--set", "server.port=0", cwd=root)
    while "\nready " not in run.stdout:
        assert run.process.poll() is None, run.stderr
    url = next(line.split()[1] for line in run.stdout.splitlines() if line.startswith("serving "))
    return root, url


def test_it_is_served_by_https_alone(served) -> None:
    """A client that trusts the authority is answered; the command prints the right URL; plain HTTP gets no answer."""
    _, url = served
    assert url.startswith("https://127.0.0.1:")
    port = int(url.rsplit(":", 1)[1])
    context = ssl.create_default_context(cadata=AUTHORITY.cert_pem.bytes().decode())
    connection = http.client.HTTPSConnection("localhost", port, context=context, timeout=10)
    connection.request("POST", "/twice", json.dumps({"x": [1.0]}), {"content-type": "application/json"})
    assert json.loads(connection.getresponse().read()) == {"x": [2.0]}
    connection.close()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
        plain.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"HTTP/1.1" not in plain.recv(65536)


def test_versions_before_1_2_are_refused(served) -> None:
    """TLS 1.2 and 1.3 are spoken."""
    port = int(served[1].rsplit(":", 1)[1])

    def speak(version: ssl.TLSVersion) -> str | None:
        context = ssl.create_default_context(cadata=AUTHORITY.cert_pem.bytes().decode())
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = version
        with (
            socket.create_connection(("127.0.0.1", port), timeout=10) as bare,
            context.wrap_socket(bare, server_hostname="localhost") as connection,
        ):
            return connection.version()

    assert speak(ssl.TLSVersion.TLSv1_2) == "TLSv1.2"
    assert speak(ssl.TLSVersion.TLSv1_3) == "TLSv1.3"
    with pytest.warns(DeprecationWarning, match="TLSv1_1"), pytest.raises((ssl.SSLError, OSError)):
        speak(ssl.TLSVersion.TLSv1_1)


def test_predict_and_test_reach_the_running_app(served, modelapp) -> None:
    """They trust the app's own certificate, though no authority of this machine does."""
    root, _ = served
    predicted = modelapp("predict", "x=[3.0]", cwd=root)
    assert (predicted.returncode, json.loads(predicted.stdout)) == (0, {"x": [6.0]}), predicted.stderr
    assert "using the running app" in predicted.stderr
    tested = modelapp("test", cwd=root)
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_they_also_start_one_of_their_own(write_app, modelapp) -> None:
    """Which speaks HTTPS as well."""
    root = write_app(TOML, {"handlers.py": ""})
    write(root / "tls")
    tested = modelapp("test", cwd=root)
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_files_that_are_not_good_end_the_start(write_app, modelapp) -> None:
    """With status 5, the key of app.toml and the file, before anything is loaded."""
    root = write_app(TOML, {"handlers.py": ""})
    ended = modelapp("run", cwd=root)
    assert ended.returncode == 5
    assert f"error: [server] tls_cert: {root / 'tls/cert.pem'} no such file or directory" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_good_files_pass(tmp_path: Path) -> None:
    """Also from elsewhere on the machine; an app without them has nothing to check."""
    cert, key = write(tmp_path / "here", not_after=IN_A_HUNDRED_YEARS)
    check(app_of(tmp_path / "here"))
    check(app_of(tmp_path, str(cert), str(key)))
    check(App(app=AppInfo(name="plain")))
    assert certificate(app_of(tmp_path, "a.pem")) == tmp_path / "a.pem"
    assert certificate(App(app=AppInfo(name="plain"))) is None


def test_each_fault_names_its_key(tmp_path: Path) -> None:
    """A missing file, another's key, a key with a password, nonsense, and times that are over or yet to come."""
    write(tmp_path)
    _, other = write(tmp_path / "other")
    assert f"tls_key: {tmp_path / 'gone.pem'} no such file" in refusal(app_of(tmp_path, key="gone.pem")).lower()
    assert f"tls_cert: {tmp_path / 'gone.pem'} no such file" in refusal(app_of(tmp_path, cert="gone.pem")).lower()
    assert f"tls_key: {other} does not belong to the certificate" in refusal(app_of(tmp_path, key=str(other)))
    assert "help: give the key, without a password, that cert.pem was made for" in refusal(
        app_of(tmp_path, key=str(other))
    )
    for text in ("", "nonsense"):
        (tmp_path / "odd.pem").write_text(text)
        assert "tls_cert: " in refusal(app_of(tmp_path, cert="odd.pem"))
        assert "tls_key: " in refusal(app_of(tmp_path, key="odd.pem"))
    write(tmp_path / "old", not_before=LONG_AGO, not_after=LONG_AGO + datetime.timedelta(days=1))
    assert f"tls_cert: {tmp_path / 'old/cert.pem'} has expired" in refusal(app_of(tmp_path / "old"))
    write(tmp_path / "new", not_before=IN_A_HUNDRED_YEARS, not_after=IN_A_HUNDRED_YEARS + datetime.timedelta(days=1))
    assert "is not valid yet" in refusal(app_of(tmp_path / "new"))


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_a_key_with_a_password_is_refused_and_not_asked_about(tmp_path: Path) -> None:
    """No prompt waits at a terminal that nobody watches."""
    _, key = write(tmp_path)
    words = ["openssl", "pkey", "-aes256", "-passout", "pass:secret", "-in", str(key), "-out", str(tmp_path / "s.pem")]
    subprocess.run(words, check=True, capture_output=True)
    assert "tls_key: " in refusal(app_of(tmp_path, key="s.pem"))


def test_only_the_very_certificate_is_trusted(tmp_path: Path) -> None:
    """Another one of the same authority is not, although the name would fit."""
    mine, _ = write(tmp_path)
    other, key = write(tmp_path / "other")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(other, key)
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (trusting(mine).wrap_bio(back, there), server.wrap_bio(there, back, server_side=True))
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(ends)


def shake_hands(ends: Sequence[ssl.SSLObject]) -> None:
    """Let both ends of a connection do what they can."""
    for _ in range(4):
        for end in ends:
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()

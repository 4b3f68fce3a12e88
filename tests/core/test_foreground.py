"""The parent of a replica, tried with a scripted one in real processes."""

import errno
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import attrs
import pytest

from modelapp.app import App, AppInfo, Server
from modelapp.errors import LoadError, PortInUseError, SurroundingsError
from modelapp.foreground import Foreground, Patience
from modelapp.launch import Launch, prepare

STUB = str(Path(__file__).parents[1] / "stubs" / "replica.py")
ANYWHERE = ("127.0.0.1", 0)


def wait_until(holds: Callable[[], Any], seconds: float = 15) -> Any:
    """The first true value of `holds`."""
    until = time.monotonic() + seconds
    while not (value := holds()):
        assert time.monotonic() < until, "it did not come about"
        time.sleep(0.02)
    return value


def get(url: str, path: str) -> dict[str, Any]:
    """What the replica answers; the connection is used once."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=15)
    try:
        connection.request("GET", path)
        return dict(json.loads(connection.getresponse().read()))
    finally:
        connection.close()


def crash(url: str) -> None:
    """Let the replica kill itself."""
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        get(url, "/crash")


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def launch(tmp_path: Path) -> Callable[..., Launch]:
    """Launches the scripted replica in one of its modes."""

    def make(mode: str = "", *, drain_s: float = 10, overrides: tuple[str, ...] = ()) -> Launch:
        app = App(
            app=AppInfo(name="stubbed"), server=Server(drain_s=drain_s), root=tmp_path, path=tmp_path / "app.toml"
        )
        prepared = prepare(app, {}, overrides)
        return attrs.evolve(prepared, program=(STUB,), environment={**prepared.environment, "STUB": mode})

    return make


class Notes(list[str]):
    """Collects what is told."""

    @property
    def text(self) -> str:
        """All of it."""
        return "\n".join(self)


def quiet(_: bytes) -> None:
    """Takes a replica's output."""


def test_it_reports_serves_and_stops(launch: Callable[..., Launch]) -> None:
    """Events come in order with their facts; stop lets the replica end by itself."""
    with Foreground(launch(), address=ANYWHERE, output=quiet) as foreground:
        seen = []
        for event in foreground.events():
            seen.append(event)
            if event.kind == "ready":
                pid = get(foreground.url, "/pid")["pid"]
                foreground.stop()
    assert [event.kind for event in seen] == ["loading", "loaded", "ready", "draining", "stopped"]
    assert seen[1].notes == ("runs one by one",)
    assert seen[2].release == "0123456789abcdef"
    assert not alive(pid)
    assert not foreground.cut_short


def test_the_replica_gets_its_words_and_surroundings(launch: Callable[..., Launch], tmp_path: Path) -> None:
    """The command line names app, socket and overrides; the environment holds token and thread budget."""
    prepared = launch(overrides=("server.drain_s=3",))
    with Foreground(prepared, address=ANYWHERE, output=quiet) as foreground:
        foreground.wait_ready()
        told = get(foreground.url, "/")
    assert told["argv"][told["argv"].index("--app") + 1] == str(tmp_path / "app.toml")
    assert told["argv"][-2:] == ["--set", "server.drain_s=3"]
    assert told["environment"]["MODELAPP_CONTROL_TOKEN"] == foreground.token
    assert told["environment"]["OMP_WAIT_POLICY"] == "PASSIVE"
    assert told["environment"]["OMP_NUM_THREADS"] == str(len(os.sched_getaffinity(0)))
    assert "MODELAPP_LIFELINE" not in told["environment"]


def test_what_the_replica_prints_goes_to_the_output(launch: Callable[..., Launch]) -> None:
    """Its standard output too, so that it cannot mix with results."""
    printed = bytearray()
    with Foreground(launch(), address=ANYWHERE, output=printed.extend) as foreground:
        foreground.wait_ready()
    assert bytes(printed) == b"a line of its own\n"


def test_ctrl_c_does_not_reach_the_replica(launch: Callable[..., Launch]) -> None:
    """A terminal interrupts a whole process group; the replica is in one of its own and is asked by its parent."""
    with Foreground(launch(), address=ANYWHERE, output=quiet) as foreground:
        foreground.wait_ready()
        assert os.getpgid(get(foreground.url, "/pid")["pid"]) != os.getpgid(0)


def test_a_taken_port_is_an_error_at_once(launch: Callable[..., Launch]) -> None:
    """The second on a port is refused before anything is started."""
    with socket.create_server(ANYWHERE) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortInUseError, match=f"port {port} on 127.0.0.1 is taken"):
            Foreground(launch(), address=("127.0.0.1", port))


def test_a_port_of_another_parent_is_taken_too(launch: Callable[..., Launch]) -> None:
    """Two parents cannot share a port, also before their replicas listen."""
    first = Foreground(launch(), address=ANYWHERE, output=quiet)
    with first, pytest.raises(PortInUseError):
        Foreground(launch(), address=("127.0.0.1", urlsplit(first.url).port or 0))


def test_a_replica_that_dies_is_replaced_behind_the_same_socket(launch: Callable[..., Launch]) -> None:
    """The death is told by its signal, and a caller who comes meanwhile is answered by the successor."""
    notes = Notes()
    with Foreground(launch(), address=ANYWHERE, note=notes.append, output=quiet) as foreground:
        foreground.wait_ready()
        before = get(foreground.url, "/pid")["pid"]
        crash(foreground.url)
        after = get(foreground.url, "/pid")["pid"]
    assert before != after
    assert "replica died: SIGKILL (-9)" in notes.text
    assert foreground.failure is None


def test_three_deaths_in_a_minute_end_it(launch: Callable[..., Launch]) -> None:
    """It gives up with the last words, and nobody waits at the door any longer."""
    with Foreground(launch(), address=ANYWHERE, note=Notes().append, output=quiet) as foreground:
        events = foreground.events()
        for _ in range(3):
            assert any(event.kind == "ready" for event in events)
            crash(foreground.url)
        with pytest.raises(SurroundingsError, match=r"died 3 times in 60 s, last: SIGKILL[^$]*a line of its own"):
            list(events)
        with pytest.raises(ConnectionRefusedError):
            get(foreground.url, "/pid")


def test_deaths_long_ago_are_forgotten(launch: Callable[..., Launch]) -> None:
    """Only deaths within the time count."""
    patience = Patience(deaths=2, within_s=0.0)
    with Foreground(launch(), address=ANYWHERE, note=Notes().append, output=quiet, patience=patience) as foreground:
        foreground.wait_ready()
        for _ in range(3):
            crash(foreground.url)
            assert get(foreground.url, "/pid")
    assert foreground.failure is None


def test_a_replica_that_ends_by_itself_is_a_death_too(launch: Callable[..., Launch]) -> None:
    """Exit status 0 without being asked is no success."""
    with (
        Foreground(launch("exits"), address=ANYWHERE, note=Notes().append, output=quiet) as foreground,
        pytest.raises(SurroundingsError, match="exit status 0"),
    ):
        list(foreground.events())


def test_dying_before_ready_ends_it_with_the_last_words(launch: Callable[..., Launch]) -> None:
    """A replica that cannot start is not started again."""
    with (
        Foreground(launch("dies-early"), address=ANYWHERE, output=quiet) as foreground,
        pytest.raises(SurroundingsError, match=r"before it was ready: exit status 3[^$]*it went wrong"),
    ):
        foreground.wait_ready()


def test_a_model_that_does_not_load_is_a_load_error(launch: Callable[..., Launch]) -> None:
    """Reason, help and model come from the replica's own report."""
    with (
        Foreground(launch("fails"), address=ANYWHERE, output=quiet) as foreground,
        pytest.raises(LoadError, match="no such file") as caught,
    ):
        foreground.wait_ready()
    assert (caught.value.model, caught.value.help) == ("m", "make one")


def test_a_second_stop_ends_a_deaf_replica(launch: Callable[..., Launch]) -> None:
    """The first stop waits, the second does not."""
    with Foreground(launch("deaf"), address=ANYWHERE, output=quiet) as foreground:
        foreground.wait_ready()
        pid = get(foreground.url, "/pid")["pid"]
        foreground.stop()
        assert alive(pid)
        foreground.stop()
        list(foreground.events())
    assert not alive(pid)
    assert foreground.cut_short


def test_a_replica_that_overstays_its_drain_is_killed(
    launch: Callable[..., Launch], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told as a failure, since requests may have been lost."""
    monkeypatch.setattr("modelapp.foreground._STOP_MARGIN_S", 0.1)
    with Foreground(launch("deaf", drain_s=0.1), address=ANYWHERE, output=quiet) as foreground:
        foreground.wait_ready()
        foreground.stop()
        with pytest.raises(SurroundingsError, match="did not end when its time to drain was over"):
            list(foreground.events())


@pytest.mark.parametrize("mode", ["", "deaf"])
def test_a_replica_does_not_outlive_a_killed_parent(tmp_path: Path, mode: str) -> None:
    """SIGKILL of the parent leaves no orphan, not even one that ignores SIGTERM, and frees the port."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, STUB, str(tmp_path)], stdout=subprocess.PIPE, env={**os.environ, "STUB": mode}
    )
    assert parent.stdout is not None
    url, pid = parent.stdout.readline().decode().split()
    assert alive(int(pid))
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    wait_until(lambda: not alive(int(pid)))
    # Its first thread may be gone a moment before the last one that holds the socket.
    wait_until(lambda: _refuses(url))


def _refuses(url: str) -> bool:
    try:
        get(url, "/pid")
    except OSError as error:
        return error.errno == errno.ECONNREFUSED
    return False


PARENT = textwrap.dedent(
    """
    import json, os, sys, time, urllib.request
    from pathlib import Path
    import attrs
    from modelapp.app import App, AppInfo
    from modelapp.foreground import Foreground
    from modelapp.launch import prepare
    root = Path(sys.argv[2])
    launch = prepare(App(app=AppInfo(name="stubbed"), root=root, path=root / "app.toml"), {})
    with Foreground(attrs.evolve(launch, program=(sys.argv[1],)), address=("127.0.0.1", 0), output=len) as foreground:
        foreground.wait_ready()
        with urllib.request.urlopen(foreground.url + "/pid") as answer:
            print(foreground.url, json.load(answer)["pid"], flush=True)
        time.sleep(60)
    """
)

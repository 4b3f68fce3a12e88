"""Requests by other doors, and servers on other ports."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from modelapp.admission import Admission
from modelapp.app import App, AppInfo
from modelapp.call import Call
from modelapp.errors import InvalidInput, NotReady, PortInUseError, RequestError
from modelapp.host import ReplicaHost, SideServers
from modelapp.lifecycle import Lifecycle
from modelapp.observing import Observers
from modelapp.routes import HttpRequest, HttpResponse, ProtocolRoutes, Route


class Ended:
    """Keeps the outcomes of requests."""

    def __init__(self) -> None:
        self.outcomes: list[tuple[str, str]] = []

    def request_ended(self, call: Call) -> None:
        """Note it."""
        self.outcomes.append((call.outcome, call.release))

    def run_ended(self, run: Any) -> None:
        """Nothing runs here."""

    def close(self) -> None:
        """Nothing to write."""


def test_every_request_is_counted_and_told_whatever_becomes_of_it() -> None:
    """Admission refused, an error of its own, cancelled, a defect, and well."""
    lifecycle, ended = Lifecycle(), Ended()
    edition: Any = SimpleNamespace(release="r1")
    host = ReplicaHost(lambda: edition, Admission(lifecycle), Observers([ended]))

    def ask(error: BaseException | None = None) -> None:
        with host.request(Call(0.0), "model", "m"):
            assert lifecycle.in_flight == 1
            if error is not None:
                raise error

    with pytest.raises(NotReady):
        ask()
    lifecycle.ready()
    ask()
    for error in (InvalidInput("no"), asyncio.CancelledError(), ZeroDivisionError()):
        with pytest.raises(type(error)):
            ask(error)
    assert lifecycle.in_flight == 0
    assert [outcome for outcome, _ in ended.outcomes] == ["not_ready", "ok", "invalid_input", "cancelled", "internal"]
    assert {release for _, release in ended.outcomes} == {"r1"}


class Port:
    """A server that notes what is done to it."""

    def __init__(self, name: str, log: list[str], *, fails: bool = False) -> None:
        self.name, self.log, self.fails = name, log, fails

    async def start(self) -> str:
        """Listen, or fail."""
        if self.fails:
            raise OSError("taken")
        self.log.append(f"start {self.name}")
        return f"{self.name}://"

    async def stop(self, grace_s: float) -> None:
        """Stop, and fail at it."""
        self.log.append(f"stop {self.name} {grace_s:g}")
        raise RuntimeError("stuck")


def test_side_servers_start_in_order_and_only_those_are_stopped() -> None:
    """One that fails to stop keeps no other from it."""
    log: list[str] = []

    async def live() -> None:
        servers = SideServers([Port("a", log), Port("b", log), Port("c", log, fails=True), Port("d", log)])
        with pytest.raises(OSError, match="taken"):
            await servers.start()
        assert servers.addresses == ["a://", "b://"]
        await servers.stop(2)

    asyncio.run(live())
    assert sorted(log) == ["start a", "start b", "stop a 2", "stop b 2"]


def test_a_side_door_serves_one_protocol_behind_the_same_admission() -> None:
    """Its requests are told to the observers, a taken port is an error that names its key, and it closes."""
    lifecycle, ended = Lifecycle(), Ended()
    app = App(app=AppInfo(name="shop"))
    edition: Any = SimpleNamespace(release="r1", app=app)
    host = ReplicaHost(lambda: edition, Admission(lifecycle), Observers([ended]))

    async def hello(request: HttpRequest) -> HttpResponse:
        return HttpResponse(200, b"hello")

    def refusal(error: RequestError) -> HttpResponse:
        return HttpResponse(error.status, error.code.encode())

    routes = (Route("GET", "/side", hello, always=True), Route("GET", "/side/work", hello))
    protocol = ProtocolRoutes("side", "/side", routes, refusal)

    async def ask(port: int, path: str) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
        return answer.rsplit(b"\r\n", 1)[1]

    async def scenario() -> None:
        door = host.side_door(protocol, port=0, key="server.side_port")
        address = await door.start()
        port = int(address.rsplit(":", 1)[1])
        assert await ask(port, "/side") == b"hello"
        assert await ask(port, "/side/work") == b"not_ready"
        assert await ask(port, "/other") == b"not_found"
        with pytest.raises(PortInUseError) as caught:
            await host.side_door(protocol, port=port, key="server.side_port").start()
        assert f"server.side_port={port + 1}" in caught.value.help
        await door.stop(1.0)
        with pytest.raises(ConnectionError):
            await ask(port, "/side")

    asyncio.run(scenario())
    assert [outcome for outcome, _ in ended.outcomes] == ["ok", "not_ready", "not_found"]
    assert host.in_flight == 0

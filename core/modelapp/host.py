"""The replica's process as plugins see it that serve a port of their own or watch what happens."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from time import monotonic

from modelapp import current, tls
from modelapp.admission import Admission
from modelapp.app import App
from modelapp.call import Call
from modelapp.edge import Edge
from modelapp.edition import Edition
from modelapp.errors import Cancelled, RequestError
from modelapp.listener import listen, url
from modelapp.observing import Observers
from modelapp.routes import Access, ProtocolRoutes, RouteTable
from modelapp.server import HttpServer
from modelapp.service import SideServer


class ReplicaHost:
    """Implements `modelapp.service.Host`. `edition` gives what is served now."""

    def __init__(self, edition: Callable[[], Edition], admission: Admission, observers: Observers) -> None:
        self._edition = edition
        self._admission = admission
        self._observers = observers

    @property
    def service(self) -> Edition:
        """What is served now."""
        return self._edition()

    @property
    def in_flight(self) -> int:
        """Requests in progress, by every door."""
        return self._admission.lifecycle.in_flight

    def side_door(self, protocol: ProtocolRoutes, *, port: int, key: str) -> SideServer:
        """An HTTP server for one protocol on a port of its own, with the same tokens, limits, observers and TLS."""
        table = RouteTable([protocol])  # of no release: the port stays when the app changes
        edge = Edge(table, self._admission, observers=self._observers)
        return _SideDoor(edge, self.service.app, port, key)

    def request(
        self, call: Call, access: Access, name: str = "", *, always: bool = False
    ) -> AbstractContextManager[None]:
        """One request that came by another door, from its admission to its end."""
        return self._request(call, access, name, always=always)

    @contextmanager
    def _request(self, call: Call, access: Access, name: str, *, always: bool) -> Iterator[None]:
        lifecycle = self._admission.lifecycle
        lifecycle.enter()
        call.release = self.service.release
        current.enter(call)
        if self._observers.following:
            self._observers.request_started(call)
        try:
            self._admission.enter(call, access, name, always=always)
            yield
            call.outcome = "ok"
        except RequestError as error:
            call.outcome, call.status = error.code, error.status
            raise
        except (asyncio.CancelledError, GeneratorExit):
            call.outcome, call.status = Cancelled.code, Cancelled.status
            raise
        except BaseException:
            call.outcome, call.status = RequestError.code, RequestError.status
            raise
        finally:
            call.ended_s = monotonic()
            call.close()
            self._admission.leave(call)
            lifecycle.leave()
            self._observers.request_ended(call)
            current.enter(())  # the task may go on, for another request


class _SideDoor:
    """Implements `modelapp.service.SideServer`."""

    def __init__(self, edge: Edge, app: App, port: int, key: str) -> None:
        self._edge = edge
        self._app = app
        self._port = (port, key)

    async def start(self) -> str:
        port, key = self._port
        files = tls.files(self._app)
        self._socket = listen(self._app.server.host, port, key=key)
        self._server = HttpServer(self._edge, self._socket, tls=files)
        await self._server.start()
        return url(self._socket, "https" if files else "http")

    async def stop(self, grace_s: float) -> None:
        await self._server.stop(grace_s)
        self._socket.close()


class SideServers:
    """The servers of a replica beside its HTTP server: started in order, stopped together."""

    def __init__(self, servers: Sequence[SideServer]) -> None:
        self._waiting = list(servers)
        self._started: list[SideServer] = []
        self.addresses: list[str] = []

    async def start(self) -> None:
        """Start all. Raises PortInUseError, or what else keeps one from listening."""
        while self._waiting:
            server = self._waiting.pop(0)
            self.addresses.append(await server.start())
            self._started.append(server)

    async def stop(self, grace_s: float) -> None:
        """Stop those that were started; what one raises keeps no other from it."""
        started, self._started = self._started, []
        await asyncio.gather(*(server.stop(grace_s) for server in started), return_exceptions=True)

"""The HTTP server of a replica: granian, embedded in the replica's own loop, on a socket that somebody else bound."""

import asyncio
import contextlib
import os
import resource
import socket
from pathlib import Path
from typing import Any

from granian._granian import SocketHolder
from granian.constants import HTTPModes, Interfaces, SSLProtocols
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.embed import Server

from modelapp.listener import take_callers, take_no_more

_LAST_CALLERS_S = 0.1
"""How long those who connected last have to send their request."""


class _SocketServer(Server):
    """granian's server on a given socket: its own binding would share a taken port instead of failing."""

    def __init__(self, target: Any, fd: int, **settings: Any) -> None:
        super().__init__(target, **settings)
        self._fd = fd
        self.started = asyncio.Event()

    def startup(self, spawn_target: Any, target_loader: Any) -> None:
        """Called in `serve`, once."""
        super().startup(spawn_target, target_loader)  # type: ignore[no-untyped-call]  # granian is partly untyped
        self.started.set()

    def _init_shared_socket(self) -> None:
        self._ssp = None
        holder: Any = SocketHolder  # its stub tells no constructor
        self._shd = holder(self._fd, False, self.backlog)


class HttpServer:
    """Serves an RSGI application on a listening socket, from `start` to `stop`.

    `max_connections` are served at the same time; more wait until one ends. A client has `header_timeout_s` to send
    its request head, and a silent keep-alive connection is closed after it. Heads over `max_header_bytes` get 431.
    `tls`: the files of certificate and key, for HTTPS by TLS 1.2 or later.
    granian answers what is no HTTP (400), a long URL (414) and a large head (431) by itself, with an empty body.
    """

    def __init__(
        self,
        app: Any,
        listener: socket.socket,
        *,
        backlog: int = 1024,
        max_connections: int = 8192,
        max_header_bytes: int = 64 * 1024,
        header_timeout_s: float = 30.0,
        tls: tuple[Path, Path] | None = None,
    ) -> None:
        self._listener = listener
        listener.setblocking(False)
        http1 = HTTP1Settings(
            header_read_timeout=max(1, round(header_timeout_s * 1000)),
            max_buffer_size=max(8192, max_header_bytes),
        )
        self._server: Any = _SocketServer(
            app,
            os.dup(listener.fileno()),  # granian's own, whatever it does to it
            interface=Interfaces.RSGI,
            http=HTTPModes.http1,  # "auto" would ignore the header timeout on silent connections
            websockets=False,
            backlog=backlog,
            backpressure=max_connections,  # without it connection 129 hangs
            http1_settings=http1,
            log_level=LogLevels.critical,
            ssl_cert=tls[0] if tls else None,
            ssl_key=tls[1] if tls else None,
            ssl_protocol_min=SSLProtocols.tls12,
        )
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Serve. Returns once connections are answered; raises what keeps the server from starting."""
        _raise_open_files()
        take_callers(self._listener)
        loop = asyncio.get_running_loop()
        self._task = loop.create_task(self._server.serve())
        started = loop.create_task(self._server.started.wait())
        await asyncio.wait([self._task, started], return_when=asyncio.FIRST_COMPLETED)
        started.cancel()
        if self._task.done():
            self._task.result()

    async def wait_closed(self) -> None:
        """Wait until the server has ended, by `stop` or by a failure of its own, which is raised."""
        if self._task is not None:
            await asyncio.shield(self._task)

    async def stop(self, timeout_s: float = 5.0) -> bool:
        """Close idle connections and let open answers end, for `timeout_s` at most.

        False where some had to be cut off. The listening socket stays open: it belongs to whoever bound it. Meanwhile
        nobody can connect: granian would close without an answer what it has accepted and not read yet.
        """
        if self._task is None:
            return True
        task, self._task = self._task, None
        take_no_more(self._listener)
        await asyncio.sleep(min(_LAST_CALLERS_S, timeout_s / 2))
        self._server.stop()
        done, _ = await asyncio.wait([task], timeout=timeout_s)
        if not done:
            for worker in list(self._server.wrks):
                worker.kill()
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        take_callers(self._listener)
        return bool(done)


def _raise_open_files() -> None:
    """Every connection is an open file, and the usual limit of 1024 is below `max_connections`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

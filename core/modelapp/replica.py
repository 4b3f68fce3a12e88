"""One process serving one release: it loads models, warms them up, answers requests, and drains when told to stop."""

import argparse
import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from time import monotonic

from modelapp import lifeline, loglines, tls
from modelapp.accesslog import AccessLog
from modelapp.admission import Admission
from modelapp.app import App
from modelapp.edge import Edge
from modelapp.edition import Edition
from modelapp.editions import Editions, calm_collector
from modelapp.errors import LoadError, ModelAppError, ModelDied
from modelapp.functions import Functions
from modelapp.host import ReplicaHost, SideServers
from modelapp.launch import TOKEN_VARIABLE
from modelapp.lifecycle import Lifecycle
from modelapp.loader import load_app
from modelapp.loading import Loading
from modelapp.observing import Observers
from modelapp.plugins import Plugins
from modelapp.pulse import BEAT_S
from modelapp.release import Footprint, footprint
from modelapp.reloader import Reloader
from modelapp.replicaevents import Reporter
from modelapp.served import ServedModel
from modelapp.server import HttpServer
from modelapp.stacks import Stacks
from modelapp.testchecks import UNPROVEN
from modelapp.tokens import Vault

log = logging.getLogger("modelapp")

LAME_DUCK_S = 1.0
"""How long a stopping replica still answers everyone, asking each to close its connection."""
_REFUSING_S = 0.2
"""How long it then refuses politely, at least, before it closes connections."""
_ONE_SIGNAL_S = 1.0
"""Signals to stop that come closer together than this are one."""
_CUT_SHORT = 130  # the exit status of a replica that was told twice
_CLOSE_S = 1.0
"""The least time that models, and the server after them, have to be closed in when requests took all of drain_s."""


class Replica:
    """The life of the process, from start to stop: what it serves is an edition, which a reload may replace."""

    def __init__(self, read: Callable[[], App], plugins: Plugins, reporter: Reporter, stacks: Stacks) -> None:
        self._stacks = stacks
        self.lifecycle = Lifecycle()
        self._plugins = plugins
        self._reporter = reporter
        self._lame_duck_s = LAME_DUCK_S
        self._stop = asyncio.Event()
        self._asked_s = 0.0
        self._status = 0
        self._observers = Observers()
        token = os.environ.pop(TOKEN_VARIABLE, "")  # before any code of the app runs
        self._admission = Admission(self.lifecycle, vault=Vault())
        self._loading = Loading(plugins, reporter, self._observers, self._model_died)
        self.editions = Editions(
            Reloader(partial(self._allowed, read), plugins, self._loading, reporter), plugins, reporter
        )
        first = self._first(footprint(self._allowed(read)))
        self._edge = Edge(first.routes(plugins), self._admission, control_token=token, observers=self._observers)
        self.editions.begin(first, self._edge, self._admission)

    def _allowed(self, read: Callable[[], App]) -> App:
        return self._admission.check(read())

    def _first(self, what: Footprint) -> Edition:
        models = {name: self._loading.served(what.app, model) for name, model in what.app.models.items()}
        functions = Functions(what.app.root, threads=self._loading.threads)
        return Edition(what, models, functions, self.lifecycle, self.editions)

    async def serve(self, listener: socket.socket) -> int:
        """Listen, load, answer until SIGTERM, drain; reload on SIGHUP. The exit status: 0 where it was asked to stop.

        Raises LoadError where it cannot start.
        """
        reload = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._asked_to_stop, LAME_DUCK_S)
        # SIGINT comes from a parent that was the only client: there is nobody to send elsewhere first.
        loop.add_signal_handler(signal.SIGINT, self._asked_to_stop, 0.0)
        loop.add_signal_handler(signal.SIGHUP, reload.set)
        self._stacks.follow(loop, self._facts)
        host = ReplicaHost(lambda: self.editions.current, self._admission, self._observers)
        self._observers.add(AccessLog(lambda: self.editions.current))
        for observer in self._plugins.observers(host):
            self._observers.add(observer)
        server = HttpServer(self._edge, listener, tls=tls.files(self.editions.current.app))
        self._side = SideServers(self._plugins.servers(host))
        await server.start()
        try:
            await self._side.start()
            working = asyncio.ensure_future(self._work(reload))
            stopping = asyncio.ensure_future(self._stop.wait())
            await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                working.result()
            working.cancel()
            await self._drain()
        finally:
            await self._side.stop(_CLOSE_S)
            await server.stop(_CLOSE_S)
            self._observers.close()
            self.editions.current.functions.close()
        self._reporter.tell("stopped")
        return self._status

    async def _work(self, reload: asyncio.Event) -> None:
        """Load and open, then reload whenever it is asked, one after the other; the last state of the files wins."""
        first = self.editions.current
        await self._loading.bring_up(first, list(first.models))
        calm_collector()
        self.lifecycle.ready()
        self._plugins.ready(first)
        self._reporter.tell("ready", release=first.release, servers=self._side.addresses)
        self._beat()
        while True:
            await self.editions.remember()
            await reload.wait()
            reload.clear()
            await self.editions.reload()

    def _facts(self) -> dict[str, object]:
        """What is told with the stacks."""
        edition = self.editions.current
        readiness = edition.readiness()
        return {"state": self.lifecycle.state, "reason": readiness.reason, "release": edition.release}

    def _beat(self) -> None:
        """Tell the parent that the loop turns."""
        self._reporter.tell("beat")
        asyncio.get_running_loop().call_later(BEAT_S, self._beat)

    def _model_died(self, model: ServedModel, error: ModelDied) -> None:
        """A model can answer no more: without one that the app requires this process makes room for another.

        One that was about to be served has failed to load, and its loader says so.
        """
        if self.editions.current.models.get(model.name) is not model or self.lifecycle.state != "ready":
            return
        required = model.model.required
        self._reporter.tell("failed", model=model.name, reason=model.not_ready().message, required=required)
        if required:
            log.error("%s; the replica ends", error.message)
            self._status = LoadError.exit_code
            self._stop.set()

    def _asked_to_stop(self, lame_duck_s: float) -> None:
        """The first signal drains, a later one ends it at once.

        A service manager sends one signal to parent and replica, which the parent then passes on: that is one.
        """
        now_s = monotonic()
        if not self._asked_s:
            self._asked_s = now_s
            self._lame_duck_s = lame_duck_s
            self._stop.set()
        elif now_s - self._asked_s > _ONE_SIGNAL_S:
            os._exit(_CUT_SHORT)

    async def _drain(self) -> None:
        """Answer what is in progress, tell keep-alive clients to go, and take nothing more."""
        self._reporter.tell("draining")
        served = self.lifecycle.state == "ready"
        self.lifecycle.drain()
        try:
            self._plugins.stopping(self.editions.current)
        finally:
            await self._answer_the_rest(self._lame_duck_s if served else 0.0)
            self.lifecycle.stop()

    async def _answer_the_rest(self, lame_duck_s: float) -> None:
        """Within drain_s: wait until every request has its answer, by whatever door it came, then close the models."""
        drain_s = self.editions.current.app.server.drain_s
        until_s = monotonic() + drain_s
        answered_s = until_s - min(_CLOSE_S, drain_s / 4)
        await asyncio.sleep(min(lame_duck_s, drain_s / 2))
        self.lifecycle.refuse()
        side = asyncio.ensure_future(self._side.stop(max(0.0, answered_s - monotonic())))
        if lame_duck_s:  # whoever still comes shall hear that it is over, and not meet a door that is closing
            await asyncio.sleep(min(_REFUSING_S, drain_s / 4))
        if not await self.lifecycle.wait_idle(answered_s - monotonic()):
            log.error("%d requests were still in progress after drain_s = %g", self.lifecycle.in_flight, drain_s)
            self._edge.end_all(self.lifecycle.not_ready())
            if not await self.lifecycle.wait_idle(_CLOSE_S):
                return
        await self._close_models(max(_CLOSE_S, until_s - monotonic()), side)

    async def _close_models(self, timeout_s: float, side: asyncio.Future[None]) -> None:
        # A run that nobody waits for any more may still go on, where its runtime cannot stop it.
        closing: dict[asyncio.Future[None], str] = {
            asyncio.ensure_future(model.close()): name for name, model in self.editions.current.models.items()
        }
        closing[side] = "another server of the replica"
        if self.editions.retiring is not None:
            closing[self.editions.retiring] = "an earlier edition"
        _, late = await asyncio.wait(closing, timeout=timeout_s)
        if late:
            log.error(
                "still in progress after drain_s, and cut off: %s", ", ".join(sorted(closing[one] for one in late))
            )


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve an app on a socket the parent has bound. The exit code is the error's; its text goes to the parent."""
    lifeline.attach()
    stacks = Stacks()
    parser = argparse.ArgumentParser(prog="modelapp.replica")
    parser.add_argument("--app", type=Path, required=True)
    parser.add_argument("--fd", type=int, required=True, help="the listening socket")
    parser.add_argument("--events", type=int, help="a pipe to the parent")
    parser.add_argument("--profile", default="")
    parser.add_argument("--log-format", choices=["text", "json"], default="text")
    parser.add_argument("--set", action="append", default=[])
    options = parser.parse_args(arguments)
    loglines.setup(options.log_format)
    reporter = Reporter(options.events)
    try:
        plugins = Plugins.load(warn=False)  # the parent has said it
        read = partial(load_app, options.app, plugins, profile=options.profile, overrides=options.set, spare=UNPROVEN)
        return run(read, plugins, reporter, socket.socket(fileno=options.fd), stacks)
    except ModelAppError as error:
        place = getattr(error, "place", "")
        reporter.tell("failed", model=getattr(error, "model", ""), reason=error.message, help=error.help, place=place)
        return error.exit_code


def run(read: Callable[[], App], plugins: Plugins, reporter: Reporter, listener: socket.socket, stacks: Stacks) -> int:
    """Serve until told to stop. The exit status."""
    import uvloop

    async def serve() -> int:
        return await Replica(read, plugins, reporter, stacks).serve(listener)

    # Never closed: that would wait for threads, and a load or a handler may never end. The process ends right after.
    return asyncio.Runner(loop_factory=uvloop.new_event_loop).run(serve())


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    # Not sys.exit: a handler function that never returns must not keep the process from ending.
    os._exit(status)

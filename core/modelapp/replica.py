"""One process serving one release: it loads models, warms them up, answers requests, and drains when told to stop."""

import argparse
import asyncio
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from time import monotonic, perf_counter

from modelapp import lifeline
from modelapp.admission import Admission
from modelapp.app import App
from modelapp.edge import Edge
from modelapp.edition import Edition
from modelapp.errors import ModelAppError
from modelapp.functions import Functions
from modelapp.host import ReplicaHost, SideServers
from modelapp.launch import TOKEN_VARIABLE
from modelapp.lifecycle import Lifecycle
from modelapp.loader import load_app
from modelapp.loading import Loading
from modelapp.observing import Observers
from modelapp.plugins import Plugins
from modelapp.release import Footprint, footprint
from modelapp.reload import Plan
from modelapp.reloader import Reloader, discard
from modelapp.replicaevents import Reporter
from modelapp.routes import RouteTable
from modelapp.server import HttpServer
from modelapp.testchecks import UNPROVEN

log = logging.getLogger("modelapp")

LAME_DUCK_S = 1.0
"""How long a stopping replica still answers everyone, asking each to close its connection."""
_RETIRING_POLL_S = 0.05
_CLOSE_S = 1.0
"""The least time that models, and the server after them, have to be closed in when requests took all of drain_s."""


class Replica:
    """The life of the process, from start to stop: what it serves is an edition, which a reload may replace."""

    def __init__(self, read: Callable[[], App], plugins: Plugins, reporter: Reporter) -> None:
        self.lifecycle = Lifecycle()
        self._plugins = plugins
        self._reporter = reporter
        self._lame_duck_s = LAME_DUCK_S
        self._observers = Observers()
        self._admission = Admission(self.lifecycle)
        self._loading = Loading(plugins, reporter, self._observers)
        self._reloader = Reloader(read, plugins, self._loading, self.lifecycle, reporter)
        self._retiring: asyncio.Future[None] | None = None
        self.edition = self._first(footprint(read()))

    def _first(self, what: Footprint) -> Edition:
        models = {name: self._loading.served(what.app, model) for name, model in what.app.models.items()}
        functions = Functions(what.app.root, threads=self._loading.threads)
        return Edition(what, models, functions, self.lifecycle)

    async def serve(self, listener: socket.socket) -> None:
        """Listen, load, answer until SIGTERM, drain; reload on SIGHUP. Raises LoadError where it cannot start."""
        stop, reload = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        loop.add_signal_handler(signal.SIGINT, self._stop_alone, stop)
        loop.add_signal_handler(signal.SIGHUP, reload.set)
        host = ReplicaHost(lambda: self.edition, self._admission, self._observers)
        for observer in self._plugins.observers(host):
            self._observers.add(observer)
        edge = Edge(
            self.edition.routes(self._plugins),
            self._admission,
            control_token=os.environ.get(TOKEN_VARIABLE, ""),
            observers=self._observers,
        )
        server = HttpServer(edge, listener)
        self._side = SideServers(self._plugins.servers(host))
        await server.start()
        try:
            await self._side.start()
            working = asyncio.ensure_future(self._work(edge, reload))
            stopping = asyncio.ensure_future(stop.wait())
            await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                working.result()
            working.cancel()
            await self._drain()
        finally:
            await self._side.stop(_CLOSE_S)
            await server.stop(_CLOSE_S)
            self._observers.close()
            self.edition.functions.close()
        self._reporter.tell("stopped")

    async def _work(self, edge: Edge, reload: asyncio.Event) -> None:
        """Load and open, then reload whenever it is asked, one after the other; the last state of the files wins."""
        await self._loading.bring_up(self.edition, list(self.edition.models))
        _calm_collector()
        self.lifecycle.ready()
        self._plugins.ready(self.edition)
        self._reporter.tell("ready", release=self.edition.release)
        while True:
            for model in self.edition.models.values():  # nobody waits for this
                if model.ready:
                    await model.remember()
            await reload.wait()
            reload.clear()
            started = perf_counter()
            if (found := await self._reloader.next(self.edition)) is not None:
                self._switch(edge, *found)
                seconds, notes = round(perf_counter() - started, 3), found[-1].sentences
                self._reporter.tell("reloaded", release=self.edition.release, seconds=seconds, notes=notes)

    def _switch(self, edge: Edge, new: Edition, table: RouteTable, what: Plan) -> None:
        """From here on requests come to the new edition; the old one answers those it has."""
        for name, action in what.models.items():
            if action != "load":
                new.models[name].adopt(new.app.models[name])
        old, old_table = self.edition, edge.table
        self.edition, edge.table = new, table
        self._retiring = asyncio.ensure_future(self._retire(old, old_table, new, self._retiring))

    async def _retire(
        self, old: Edition, table: RouteTable, new: Edition, before: "asyncio.Future[None] | None"
    ) -> None:
        """Wait for the last answers of an edition, and of those before it, then close what only it had."""
        if before is not None:
            await before
        while table.in_flight:  # noqa: ASYNC110 - no request should pay for telling that it was the last
            await asyncio.sleep(_RETIRING_POLL_S)
        kept = set(new.models.values())
        gone = [model for model in old.models.values() if model not in kept]
        await discard(gone, None if old.functions is new.functions else old.functions)
        _calm_collector()

    def _stop_alone(self, stop: asyncio.Event) -> None:
        """SIGINT comes from a parent that was the only client: there is nobody to send elsewhere first."""
        self._lame_duck_s = 0.0
        stop.set()

    async def _drain(self) -> None:
        """Answer what is in progress, tell keep-alive clients to go, and take nothing more."""
        self._reporter.tell("draining")
        served = self.lifecycle.state == "ready"
        self.lifecycle.drain()
        try:
            self._plugins.stopping(self.edition)
        finally:
            await self._answer_the_rest(self._lame_duck_s if served else 0.0)
            self.lifecycle.stop()

    async def _answer_the_rest(self, lame_duck_s: float) -> None:
        """Within drain_s: wait until every request has its answer, then close the models."""
        drain_s = self.edition.app.server.drain_s
        until_s = monotonic() + drain_s
        await asyncio.sleep(min(lame_duck_s, drain_s / 2))
        self.lifecycle.refuse()
        if not await self.lifecycle.wait_idle(until_s - monotonic()):
            log.error("%d requests were still in progress after drain_s = %g", self.lifecycle.in_flight, drain_s)
            return
        # A run that nobody waits for any more may still go on, where its runtime cannot stop it.
        closing: dict[asyncio.Future[None], str] = {
            asyncio.ensure_future(model.close()): name for name, model in self.edition.models.items()
        }
        if self._retiring is not None:
            closing[self._retiring] = "an earlier edition"
        if closing:
            _, late = await asyncio.wait(closing, timeout=max(_CLOSE_S, until_s - monotonic()))
            if late:
                names = ", ".join(sorted(closing[task] for task in late))
                log.error("models with a run still in progress after drain_s = %g: %s", drain_s, names)


def _calm_collector() -> None:
    """Spare requests the pauses of cyclic garbage collection: what is loaded stays, and a request leaves few cycles.

    Without it the slowest of 64 connections' requests took 14 ms instead of 5.
    """
    gc.unfreeze()  # what an earlier edition left
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 50, 1_000)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve an app on a socket the parent has bound. The exit code is the error's; its text goes to the parent."""
    lifeline.attach()
    parser = argparse.ArgumentParser(prog="modelapp.replica")
    parser.add_argument("--app", type=Path, required=True)
    parser.add_argument("--fd", type=int, required=True, help="the listening socket")
    parser.add_argument("--events", type=int, help="a pipe to the parent")
    parser.add_argument("--profile", default="")
    parser.add_argument("--set", action="append", default=[])
    options = parser.parse_args(arguments)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(message)s")
    reporter = Reporter(options.events)
    try:
        plugins = Plugins.load(warn=False)  # the parent has said it
        read = partial(load_app, options.app, plugins, profile=options.profile, overrides=options.set, spare=UNPROVEN)
        run(read, plugins, reporter, socket.socket(fileno=options.fd))
    except ModelAppError as error:
        place = getattr(error, "place", "")
        reporter.tell("failed", model=getattr(error, "model", ""), reason=error.message, help=error.help, place=place)
        return error.exit_code
    return 0


def run(read: Callable[[], App], plugins: Plugins, reporter: Reporter, listener: socket.socket) -> None:
    """Serve until told to stop."""
    import uvloop

    async def serve() -> None:
        await Replica(read, plugins, reporter).serve(listener)

    # Never closed: that would wait for threads, and a load or a handler may never end. The process ends right after.
    asyncio.Runner(loop_factory=uvloop.new_event_loop).run(serve())


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    # Not sys.exit: a handler function that never returns must not keep the process from ending.
    os._exit(status)

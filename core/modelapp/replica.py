"""One process serving one release: it loads models, warms them up, answers requests, and drains when told to stop."""

import argparse
import asyncio
import gc
import logging
import os
import signal
import socket
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic

from modelapp import lifeline
from modelapp.app import App
from modelapp.edge import Edge
from modelapp.enclosure import remedy
from modelapp.errors import LoadError, ModelAppError
from modelapp.functions import Functions
from modelapp.health import health_protocol
from modelapp.inventory import probe
from modelapp.launch import TOKEN_VARIABLE, thread_budget
from modelapp.lifecycle import Lifecycle
from modelapp.loader import load_app
from modelapp.natural import natural_protocol
from modelapp.openapi import openapi_document
from modelapp.pipeline import Pipeline
from modelapp.plugins import Plugins
from modelapp.release import release_id
from modelapp.replicaevents import Reporter
from modelapp.routes import RouteTable
from modelapp.runtime import Placement, Runtime, RuntimeSpec
from modelapp.served import ServedModel
from modelapp.server import HttpServer
from modelapp.service import Readiness
from modelapp.testchecks import UNPROVEN
from modelapp.warmup import warm_up

log = logging.getLogger("modelapp")

LAME_DUCK_S = 1.0
"""How long a stopping replica still answers everyone, asking each to close its connection."""


_CLOSE_S = 1.0
"""The least time that models, and the server after them, have to be closed in when requests took all of drain_s."""


class Replica:
    """The service that protocols ask, and its life from start to stop. Implements `modelapp.service.Service`."""

    def __init__(self, app: App, plugins: Plugins, reporter: Reporter) -> None:
        self.app = app
        self.release = release_id(app)
        self.lifecycle = Lifecycle()
        self._plugins = plugins
        self._reporter = reporter
        self._threads = thread_budget()
        self._lame_duck_s = LAME_DUCK_S
        self.models: Mapping[str, ServedModel] = {
            name: ServedModel(
                app.root,
                model,
                Placement(device=model.device, threads=model.threads or self._threads, cache_dir=cache_folder()),
            )
            for name, model in app.models.items()
        }
        self._functions = Functions(app.root, threads=self._threads)
        self._pipelines = {
            name: Pipeline(endpoint, self.models, self._functions) for name, endpoint in app.endpoints.items()
        }

    def readiness(self) -> Readiness:
        """Ready: every required model answered its warm-up here, and the replica does not drain."""
        serving = self.lifecycle.state == "ready"
        models = {name: model.ready for name, model in self.models.items()}
        endpoints = {
            name: serving and all(models[used] for used in pipeline.models)
            for name, pipeline in self._pipelines.items()
        }
        return Readiness(serving, self.lifecycle.reason, models, endpoints)

    async def serve(self, listener: socket.socket) -> None:
        """Listen, load, answer until SIGTERM, drain. Raises LoadError where a required model does not load."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        loop.add_signal_handler(signal.SIGINT, self._stop_alone, stop)
        server = HttpServer(self._edge(), listener)
        await server.start()
        try:
            starting = asyncio.ensure_future(self._load_all())
            stopping = asyncio.ensure_future(stop.wait())
            await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
                await stopping
            starting.cancel()
            await self._drain()
        finally:
            await server.stop(_CLOSE_S)
            self._functions.close()
        self._reporter.tell("stopped")

    def _edge(self) -> Edge:
        protocols = [natural_protocol(self.app, self._pipelines), *self._plugins.protocols(self)]
        document = openapi_document(self.app, self.release, protocols)
        table = RouteTable([*protocols, health_protocol(self, document)])
        return Edge(table, self.lifecycle, release=self.release, control_token=os.environ.get(TOKEN_VARIABLE, ""))

    async def _load_all(self) -> None:
        runtimes: dict[str, Runtime] = {}
        for model in self.models.values():
            self._reporter.tell("loading", model=model.name)
            try:
                spec = self._plugins.runtime(model.runtime)
                if model.runtime not in runtimes:
                    runtimes[model.runtime] = await asyncio.to_thread(_open, spec)
                await model.load(runtimes[model.runtime], concurrent="concurrent" in spec.capabilities)
            except ModelAppError as error:
                self._failed(model, error)
        async for outcome in warm_up(self.app, self._pipelines, self.models):
            if isinstance(outcome, LoadError):
                self._failed(self.models[outcome.model], outcome)
            else:
                self._reporter.tell(
                    "loaded",
                    model=outcome.name,
                    seconds=round(outcome.load_s, 3),
                    device=outcome.device,
                    notes=outcome.notes,
                )
        _calm_collector()
        self.lifecycle.ready()
        self._plugins.ready(self)
        self._reporter.tell("ready", release=self.release)

    def _failed(self, model: ServedModel, error: ModelAppError) -> None:
        """A model that may fail alone leaves the rest serving; any other ends the start."""
        failure = error if isinstance(error, LoadError) else LoadError(error.message, model=model.name, help=error.help)
        model.fail(failure)
        if model.model.required:
            raise failure
        self._reporter.tell("failed", model=model.name, reason=error.message, help=error.help)
        log.error("%s; the app serves without it", error.message)

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
            self._plugins.stopping(self)
        finally:
            await self._answer_the_rest(self._lame_duck_s if served else 0.0)
            self.lifecycle.stop()

    async def _answer_the_rest(self, lame_duck_s: float) -> None:
        """Within drain_s: wait until every request has its answer, then close the models."""
        drain_s = self.app.server.drain_s
        until_s = monotonic() + drain_s
        await asyncio.sleep(min(lame_duck_s, drain_s / 2))
        self.lifecycle.refuse()
        if not await self.lifecycle.wait_idle(until_s - monotonic()):
            log.error("%d requests were still in progress after drain_s = %g", self.lifecycle.in_flight, drain_s)
            return
        # A run that nobody waits for any more may still go on, where its runtime cannot stop it.
        closing = {asyncio.ensure_future(model.close()): name for name, model in self.models.items()}
        if closing:
            _, late = await asyncio.wait(closing, timeout=max(_CLOSE_S, until_s - monotonic()))
            if late:
                names = ", ".join(sorted(closing[task] for task in late))
                log.error("models with a run still in progress after drain_s = %g: %s", drain_s, names)


def _open(spec: RuntimeSpec) -> Runtime:
    try:
        return spec.open()
    except ModelAppError:
        raise
    except (Exception, SystemExit) as error:
        said = traceback.format_exception_only(error)[-1].strip()
        raise LoadError(f"the {spec.name} runtime did not open: {said}", help=_missing(spec)) from error


def _missing(spec: RuntimeSpec) -> str:
    """What the runtime lacks here and what brings it, as far as it knows."""
    found = probe(spec)
    return f"it lacks {found.missing}; {remedy(found.fix)}" if found.missing and not found.ok else ""


def _calm_collector() -> None:
    """Spare requests the pauses of cyclic garbage collection: what is loaded stays, and a request leaves few cycles.

    Without it the slowest of 64 connections' requests took 14 ms instead of 5.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 50, 1_000)


def cache_folder() -> Path:
    """Where prepared models may be kept: the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "modelapp"


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
        replica_app = load_app(options.app, plugins, profile=options.profile, overrides=options.set, spare=UNPROVEN)
        run(replica_app, plugins, reporter, socket.socket(fileno=options.fd))
    except ModelAppError as error:
        place = getattr(error, "place", "")
        reporter.tell("failed", model=getattr(error, "model", ""), reason=error.message, help=error.help, place=place)
        return error.exit_code
    return 0


def run(app: App, plugins: Plugins, reporter: Reporter, listener: socket.socket) -> None:
    """Serve until told to stop."""
    import uvloop

    async def serve() -> None:
        await Replica(app, plugins, reporter).serve(listener)

    # Never closed: that would wait for threads, and a load or a handler may never end. The process ends right after.
    asyncio.Runner(loop_factory=uvloop.new_event_loop).run(serve())


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    # Not sys.exit: a handler function that never returns must not keep the process from ending.
    os._exit(status)

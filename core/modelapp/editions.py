"""The edition that a replica serves, and its successors: how each takes its place, one after the other."""

import asyncio
import gc
from time import perf_counter

from modelapp.admission import Admission
from modelapp.edge import Edge
from modelapp.edition import Edition
from modelapp.errors import LoadError, ModelAppError, ModelFailed
from modelapp.plugins import Plugins
from modelapp.reload import Plan
from modelapp.reloader import Reloader, discard
from modelapp.replicaevents import Reporter
from modelapp.routes import RouteTable

_RETIRING_POLL_S = 0.05


class Editions:
    """What is served, and the one place where it changes. Implements `modelapp.edition.Steward`."""

    current: Edition
    edge: Edge
    admission: Admission

    def __init__(self, reloader: Reloader, plugins: Plugins, reporter: Reporter) -> None:
        self._reloader = reloader
        self._plugins = plugins
        self._reporter = reporter
        self._turn = asyncio.Lock()
        self.retiring: asyncio.Future[None] | None = None
        """Done once nothing is left of earlier editions; None where there were none."""

    def begin(self, first: Edition, edge: Edge, admission: Admission) -> None:
        """Serve the first edition. `edge` answers by its routes, `admission` obeys its app."""
        self.current, self.edge, self.admission = first, edge, admission
        admission.configure(first.app)

    async def reload(self) -> None:
        """Take changed files over, or tell why not."""
        started = perf_counter()
        async with self._turn:
            if (found := await self._reloader.next(self.current)) is not None:
                self._switch(*found, seconds=perf_counter() - started)

    async def load(self, name: str) -> None:
        """Load a model anew; the old one answers until the new one is warm. Raises ModelFailed where it does not load,
        and the old one stays.
        """
        started = perf_counter()
        async with self._turn:
            try:
                found = await self._reloader.anew(self.current, name)
            except ModelAppError as error:
                raise ModelFailed(error.message) from error
            self._switch(*found, seconds=perf_counter() - started)
        await self.remember()

    async def unload(self, name: str) -> None:
        """Take no more requests for a model, and return once its memory is given back."""
        async with self._turn:
            model = self.current.models[name]
            model.fail(LoadError(f'model "{name}" is unloaded', model=name))
            await model.close()
            calm_collector()
            self._reporter.tell("unloaded", model=name)

    async def remember(self) -> None:
        """Keep what is known of the models for `check`; nobody waits for this."""
        for model in self.current.models.values():
            if model.ready:
                await model.remember()

    def _switch(self, new: Edition, table: RouteTable, what: Plan, *, seconds: float) -> None:
        """From here on requests come to the new edition; the old one answers those it has."""
        for name, action in what.models.items():
            if action != "load":
                new.models[name].adopt(new.app.models[name])
        old, old_table = self.current, self.edge.table
        self.admission.configure(new.app)
        self.current, self.edge.table = new, table
        self.retiring = asyncio.ensure_future(self._retire(old, old_table, new, self.retiring))
        self._reporter.tell("reloaded", release=new.release, seconds=round(seconds, 3), notes=what.sentences)

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
        calm_collector()


def calm_collector() -> None:
    """Spare requests the pauses of cyclic garbage collection: what is loaded stays, and a request leaves few cycles.

    Without it the slowest of 64 connections' requests took 14 ms instead of 5.
    """
    gc.unfreeze()  # what an earlier edition left
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 50, 1_000)

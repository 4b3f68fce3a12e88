"""Takes changed files over while a replica serves: the new edition is built beside the old, or the old one stays."""

import asyncio
import contextlib
import logging
from collections.abc import Callable

import attrs

from modelapp.app import App
from modelapp.edition import Edition
from modelapp.errors import ModelAppError
from modelapp.functions import Functions
from modelapp.handlers import imported_afresh, imports
from modelapp.loading import Loading
from modelapp.plugins import Plugins
from modelapp.release import Footprint, footprint
from modelapp.reload import Plan, plan
from modelapp.replicaevents import Reporter
from modelapp.routes import RouteTable
from modelapp.served import ServedModel

log = logging.getLogger("modelapp")


class Reloader:
    """Builds the edition that the files describe now. `read` gives their app, or raises."""

    def __init__(
        self,
        read: Callable[[], App],
        plugins: Plugins,
        loading: Loading,
        reporter: Reporter,
    ) -> None:
        self._read = read
        self._plugins = plugins
        self._loading = loading
        self._reporter = reporter

    async def next(self, now: Edition) -> tuple[Edition, RouteTable, Plan] | None:
        """The edition to serve after `now`, ready to answer, the routes to it, and what was done for it.

        None where `now` stays: nothing has changed that an answer could tell, a new process is needed, or the files
        are broken. Which of them is told to the parent.
        """
        try:
            new = await asyncio.to_thread(lambda: footprint(self._read()))
            what = _plan(now, new)
            if what.restart:
                self._reporter.tell("restart", reason=what.restart)
                return None
            if what.same_release:
                self._reporter.tell("unchanged", release=now.release)
                return None
            return *await self._build(now, new, what), what
        except ModelAppError as error:
            place = getattr(error, "place", "")
            self._reporter.tell("kept", reason=f"{place}: {error}" if place else str(error), place=place)
        except Exception as error:  # whatever a file or a plugin brings about, requests are still answered
            log.exception("the changed files could not be taken over")
            self._reporter.tell("kept", reason=f"{type(error).__name__}: {error}")
        return None

    async def anew(self, now: Edition, name: str) -> tuple[Edition, RouteTable, Plan]:
        """The edition after `now` in which the model `name` is loaded again. Raises ModelAppError where it is not.

        What has changed in the app's other files is taken over with it, for an edition is one state of all files;
        app.toml is not read again.
        """
        new = await asyncio.to_thread(footprint, now.app)
        what = _plan(now, new)
        what = attrs.evolve(what, models={**what.models, name: "load"}, same_release=False)
        edition, table = await self._build(now, new, what)
        error = edition.models[name].error
        if error is None:
            return edition, table, what
        await discard([edition.models[name]], edition.functions if what.code else None)
        raise error

    async def _build(self, now: Edition, new: Footprint, what: Plan) -> tuple[Edition, RouteTable]:
        fresh = [name for name, action in what.models.items() if action == "load"]
        models = {
            name: self._loading.served(new.app, new.app.models[name]) if name in fresh else now.models[name]
            for name in new.app.models
        }
        functions = Functions(new.app.root, threads=self._loading.threads) if what.code else now.functions
        try:
            # Not on the loop: what a file of handlers imports may take seconds.
            with imported_afresh(new.app.root) if what.code else contextlib.nullcontext():
                edition = await asyncio.to_thread(now.successor, new, models, functions)
                await self._loading.bring_up(edition, fresh)
                table = edition.routes(self._plugins)
        except BaseException:
            await discard([models[name] for name in fresh], functions if what.code else None)
            raise
        return edition, table


def _plan(now: Edition, new: Footprint) -> Plan:
    return plan(now.footprint, new, lambda file: imports(new.app.root, file))


async def discard(models: list[ServedModel], functions: Functions | None) -> None:
    """Give back what nobody will ask any more."""
    for model in models:
        await model.close()
    if functions is not None:
        functions.close()

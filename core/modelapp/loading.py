"""Models brought up in a replica: opened by their runtimes, loaded, and warmed up before anyone waits for them."""

import asyncio
import logging
import traceback
from collections.abc import Callable, Collection

from modelapp.app import App, Model
from modelapp.digests import cache_dir
from modelapp.edition import Edition
from modelapp.enclosure import remedy
from modelapp.errors import LoadError, ModelAppError, ModelDied
from modelapp.inventory import probe
from modelapp.launch import thread_budget
from modelapp.observing import Observers
from modelapp.plugins import Plugins
from modelapp.replicaevents import Reporter
from modelapp.runtime import Placement, Runtime, RuntimeSpec
from modelapp.served import ServedModel
from modelapp.warmup import warm_up

log = logging.getLogger("modelapp")


class Loading:
    """Loads for one replica. A runtime is opened once and then serves every model that names it.

    `on_death` is called on the loop when a model says that it is dead.
    """

    def __init__(
        self,
        plugins: Plugins,
        reporter: Reporter,
        observers: Observers | None = None,
        on_death: Callable[[ServedModel, ModelDied], None] | None = None,
    ) -> None:
        self.threads = thread_budget()
        self._plugins = plugins
        self._observers = observers
        self._on_death = on_death
        self._reporter = reporter
        self._runtimes: dict[str, Runtime] = {}

    def served(self, app: App, model: Model) -> ServedModel:
        """A model that is not loaded yet."""
        placement = placement_of(model, self.threads)
        found = ServedModel(app.root, model, placement, self._observers)
        found.on_death = self._on_death
        return found

    async def bring_up(self, edition: Edition, fresh: Collection[str]) -> None:
        """Load the models named `fresh`, and warm up all that the edition has. Raises LoadError.

        A fresh model that may fail alone leaves the rest serving.
        """
        for name in fresh:
            model = edition.models[name]
            self._reporter.tell("loading", model=name)
            try:
                spec = self._plugins.runtime(model.runtime)
                if model.runtime not in self._runtimes:
                    self._runtimes[model.runtime] = await asyncio.to_thread(open_runtime, spec)
                await model.load(self._runtimes[model.runtime], concurrent="concurrent" in spec.capabilities)
            except ModelAppError as error:
                self._failed(model, error, fresh)
        async for outcome in warm_up(edition.app, edition.pipelines, edition.models):
            if isinstance(outcome, LoadError):
                self._failed(edition.models[outcome.model], outcome, fresh)
            else:
                self._reporter.tell(
                    "loaded",
                    model=outcome.name,
                    runtime=outcome.runtime,
                    seconds=round(outcome.load_s, 3),
                    device=outcome.device,
                    notes=outcome.notes,
                )

    def _failed(self, model: ServedModel, error: ModelAppError, fresh: Collection[str]) -> None:
        failure = error if isinstance(error, LoadError) else LoadError(error.message, model=model.name, help=error.help)
        if model.name not in fresh:  # it serves already, and goes on as it was
            raise failure
        model.fail(failure)
        if model.model.required:
            raise failure
        self._reporter.tell("failed", model=model.name, reason=error.message, help=error.help)
        log.error("%s; the app serves without it", error.message)


def placement_of(model: Model, threads: int) -> Placement:
    """Where and with how much a model is loaded, in a process that may use so many threads."""
    generation = model.generation
    return Placement(
        device=model.device,
        threads=model.threads or threads,
        cache_dir=cache_dir(),
        slots=model.max_batch_size,
        context_tokens=generation.context_tokens,
        cache_mb=generation.cache_mb,
        reuse_prefixes=generation.reuse_prefixes,
    )


def open_runtime(spec: RuntimeSpec) -> Runtime:
    """The runtime, its library imported. Raises LoadError, which says what it lacks."""
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

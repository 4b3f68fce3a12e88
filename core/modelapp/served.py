"""A model of the app in a replica: loaded by its runtime, warmed up, answering through its lane."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

from modelapp import signaturecache, sources
from modelapp.app import Model
from modelapp.batchlane import BatchLane
from modelapp.blame import blame
from modelapp.call import Call
from modelapp.errors import LoadError, ModelAppError, ModelDied, NotReady
from modelapp.generating import Piece, TextModel
from modelapp.generationlane import GenerationLane
from modelapp.lane import Around, Lane
from modelapp.observing import InProgress, ModelFigures, Observers
from modelapp.runtime import LoadedModel, Placement, Rows, Runtime
from modelapp.signature import Signature
from modelapp.signaturecache import Measured

log = logging.getLogger("modelapp")

State = Literal["waiting", "loading", "warming", "ready", "failed"]


class ServedModel:
    """One model behind its lane. Implements `modelapp.service.ModelService`."""

    def __init__(self, root: Path, model: Model, placement: Placement, observers: Observers | None = None) -> None:
        self.model = model
        self.state: State = "waiting"
        self.error: LoadError | None = None
        self.load_s = 0.0
        self.labels: tuple[str, ...] = ()
        self.notes: list[str] = []
        self._root = root.resolve()  # as the frames of its code name it
        self._placement = placement
        self._observers = observers
        self._loaded: LoadedModel | TextModel | None = None
        self._lane: Lane | None = None
        self._memory: Path | None = None
        self._private = False
        self._closing: asyncio.Future[None] | None = None
        self.on_death: Callable[[ServedModel, ModelDied], None] | None = None
        """Told once, on the loop, when a run says that the model is dead; it takes no more requests then."""

    @property
    def name(self) -> str:
        """Its name in app.toml."""
        return self.model.name

    @property
    def runtime(self) -> str:
        """The name of the runtime that serves it."""
        return self.model.runtime

    @property
    def signature(self) -> Signature | None:
        """What goes in and comes out; None before it is loaded."""
        return None if self._loaded is None else self._loaded.signature

    @property
    def ready(self) -> bool:
        """Whether it answered its warm-up and takes requests."""
        return self.state == "ready"

    @property
    def waiting_rows(self) -> int:
        """Rows in its queue."""
        return 0 if self._lane is None else self._lane.waiting_rows

    @property
    def in_progress(self) -> InProgress | None:
        """What a model that generates works on now; None of any other."""
        return None if self._lane is None else self._lane.in_progress

    @property
    def figures(self) -> ModelFigures:
        """Sums over its runs since it was loaded."""
        return ModelFigures() if self._lane is None else self._lane.figures

    @property
    def streams(self) -> bool:
        """Whether it can answer piece by piece; told once it is loaded."""
        return self._lane is not None and self._lane.streams

    @property
    def private(self) -> bool:
        """Whether an endpoint with sensitive fields works with it, so that no text of an exception may be shown."""
        return self._private

    @property
    def device(self) -> str:
        """The device in use, "" before it is loaded."""
        return "" if self._loaded is None else self._loaded.device

    async def load(self, runtime: Runtime, *, concurrent: bool = True) -> None:
        """Load off the loop. On failure `state` is "failed" and the LoadError is raised and kept.

        `concurrent`: the runtime can run the model on several threads at once.
        """
        self.state = "loading"
        started = perf_counter()
        try:
            self._loaded = await _kept(asyncio.ensure_future(asyncio.to_thread(self._open, runtime)))
            self._lane = self._make_lane(self._loaded, concurrent=concurrent)
        except LoadError as error:
            self.fail(error)
            raise
        if self._private:
            self._lane.hush(self._root)
        self.load_s = perf_counter() - started
        self.notes += [*self._loaded.signature.notes, *self._lane.notes]
        if self.model.concurrency > 1 and not concurrent and not self._lane.streams:
            self.notes.append(f"concurrency has no effect: the {self.runtime} runtime runs a model once at a time.")
        self.state = "warming"

    def _make_lane(self, loaded: LoadedModel | TextModel, *, concurrent: bool) -> Lane:
        around = Around(self._root, loaded.device, self._observers, self._die)
        if isinstance(loaded, TextModel):
            return GenerationLane(loaded, self.model, around)
        return BatchLane(loaded, self.model, around, concurrent=concurrent)

    def hush(self) -> None:
        """Never tell what its code says of a failure: an endpoint that it works for has sensitive fields."""
        self._private = True
        if self._lane is not None:
            self._lane.hush(self._root)

    def adopt(self, model: Model) -> None:
        """Be that model from now on, with the weights that are loaded: it differs in its bounds and surroundings only.

        Requests under way go on, and whoever waits keeps the place.
        """
        self.model = model
        if self._lane is not None:
            self._lane.tune(model)

    def _open(self, runtime: Runtime) -> LoadedModel | TextModel:
        try:
            artefact = sources.artefact(self._root, self.model)
            self.labels = sources.labels(self._root, self.model)
            loaded = runtime.load(artefact, self.model.options, self._placement)
        except ModelAppError as error:
            raise LoadError(f'model "{self.name}": {error.message}', model=self.name, help=error.help) from error
        except (Exception, SystemExit) as error:  # a model's own code may call sys.exit
            log.debug("loading %s failed", self.name, exc_info=error)
            told = f'model "{self.name}" did not load: {blame(error, self._root)}'
            raise LoadError(told, model=self.name) from error
        wanted = self._placement.device
        if wanted != "auto" and loaded.device.split(":")[0] != wanted.split(":")[0]:
            loaded.close()
            raise LoadError(
                f'model "{self.name}" asked for device "{wanted}", the {self.runtime} runtime uses "{loaded.device}"',
                model=self.name,
                help=f'[models.{self.name}] device = "{loaded.device}", or mend the installation of "{wanted}"',
            )
        return loaded

    async def remember(self) -> None:
        """Keep what is known of the model for `check`: what goes in and out, and how long its runs took."""
        if self._lane is None or self.signature is None:
            return
        if self._memory is None:  # told by its files, which may be others when it is closed
            self._memory = await asyncio.to_thread(signaturecache.place, self._root, self.model)
        if self._memory is not None:
            measured = Measured(self.signature, self._lane.least_ms)
            await asyncio.to_thread(signaturecache.keep, self._memory, measured)

    def fail(self, error: LoadError) -> None:
        """Take no requests, and say why."""
        self.state, self.error = "failed", error

    def open_for_requests(self) -> None:
        """The warm-up went well: take requests."""
        self.state = "ready"
        if self._lane is not None:
            self._lane.warm()

    async def infer(self, rows: Rows, call: Call) -> Rows:
        """Check, batch and run; raises RequestError. Answers are in the order of the rows."""
        return await self._open_lane().infer(rows, call)

    def stream(self, row: Mapping[str, Any], call: Call) -> AsyncIterator[Piece]:
        """The answer to one record as it comes into being; only where it `streams`. Raises RequestError."""
        return self._open_lane().stream(row, call)

    def _open_lane(self) -> Lane:
        """The lane, where requests may come. Raises NotReady."""
        if self._lane is None or self.state == "failed":
            raise self.not_ready()
        return self._lane

    def _die(self, error: ModelDied) -> None:
        self.fail(LoadError(f'model "{self.name}" died: {error.message}', model=self.name))
        if self.on_death is not None:
            self.on_death(self, error)

    def stuck(self, now_s: float) -> str:
        """Why it can serve nobody though it is loaded, "" where it can: its runs do not end, and their requests are
        gone for over a second. `now_s` is `time.monotonic`'s."""
        if self._lane is None or not self._lane.is_stuck(now_s):
            return ""
        return f'model "{self.name}" is stuck in a run that nobody waits for any more'

    def not_ready(self) -> NotReady:
        """The error for a request that comes while it takes none."""
        return NotReady(self.error.message if self.error else f'model "{self.name}" is {self.state}', retry_after_s=1)

    async def close(self) -> None:
        """Finish what is queued and give the memory back, once; also where a caller waits no more."""
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        if self._lane is not None:
            await self._lane.close()
        if self._memory is not None:
            await self.remember()
        loaded, self._loaded, self._lane = self._loaded, None, None
        if loaded is not None:
            try:
                loaded.close()
            except (Exception, SystemExit) as error:  # every other model is closed all the same
                log.warning('model "%s" did not close: %s', self.name, blame(error, self._root, private=self._private))


async def _kept(opening: "asyncio.Future[LoadedModel | TextModel]") -> LoadedModel | TextModel:
    """What is being opened on a thread, which goes on where nobody waits any more: then it is closed when it comes."""
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(_close_unwanted)
        raise


def _close_unwanted(opening: "asyncio.Future[LoadedModel | TextModel]") -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()

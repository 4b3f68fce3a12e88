"""Whole requests, run in batches: the lane of every model that does not generate."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

from modelapp.app import Model
from modelapp.batcher import Batcher
from modelapp.batching import Limits
from modelapp.call import Call
from modelapp.dispatching import check_size
from modelapp.errors import InvalidInput, ModelFailed, RequestError
from modelapp.execution import Execution
from modelapp.generating import Piece
from modelapp.lane import Around
from modelapp.observing import ModelFigures
from modelapp.piecelane import PieceLane
from modelapp.runtime import LoadedModel, Rows, Streams


class BatchLane:
    """Implements `modelapp.lane.Lane`. Raises LoadError where app.toml's table does not fit the model.

    `concurrent`: the runtime can run the model on several threads at once.
    """

    in_progress = None

    def __init__(self, loaded: LoadedModel, model: Model, around: Around, *, concurrent: bool) -> None:
        self._execution = Execution(loaded, model)
        self._concurrent = concurrent
        self._warming = True
        self._in_shape = False
        self._batcher = Batcher(
            model.name,
            self._execution,
            self._limits(model),
            root=around.root,
            device=around.device,
            observers=around.observers,
            on_death=around.on_death,
        )
        self._pieces: PieceLane | None = None
        if isinstance(loaded, Streams):
            self._pieces = PieceLane(model.name, loaded, _of_pieces(model), around, self._batcher.figures)
        loop = asyncio.get_running_loop()
        self._execution.shrinking.on_learned = partial(loop.call_soon_threadsafe, self._shrink)

    @property
    def notes(self) -> Sequence[str]:
        """What of app.toml is without effect."""
        if self._execution.model.pad and not self._execution.signature.batched:
            return ("pad has no effect: requests run one at a time.",)
        return ()

    @property
    def streams(self) -> bool:
        """Whether the model answers piece by piece too, by its own code."""
        return self._pieces is not None

    @property
    def waiting_rows(self) -> int:
        """Rows in its queue."""
        waiting = self._batcher.waiting_rows
        return waiting if self._pieces is None else waiting + self._pieces.waiting

    @property
    def figures(self) -> ModelFigures:
        """Sums over its runs so far."""
        return self._batcher.figures

    @property
    def least_ms(self) -> float | None:
        """The least that the model itself took for a run; None until that is known."""
        return self._execution.least_ms

    def is_stuck(self, now_s: float) -> bool:
        """Whether every slot is taken by a run that nobody waits for any more, and that does not end."""
        return self._batcher.is_stuck(now_s) or (self._pieces is not None and self._pieces.is_stuck(now_s))

    def warm(self) -> None:
        """The warm-up is over."""
        self._warming = False

    def hush(self, root: Path) -> None:
        """From now on tell of a failure no more than its class and its place below `root`."""
        self._execution.hush(root)
        if self._pieces is not None:
            self._pieces.private = True

    def tune(self, model: Model) -> None:
        """Obey that table's bounds from now on."""
        self._execution.model = model
        self._batcher.tune(self._limits(model))
        if self._pieces is not None:
            self._pieces.tune(_of_pieces(model))

    def _shrink(self) -> None:
        """Memory is short: smaller runs from now on."""
        self._batcher.tune(self._limits(self._execution.model))

    def _limits(self, model: Model) -> Limits:
        return Limits(
            max_rows=self._execution.max_rows,
            max_cost=model.max_batch_cost,
            padded=model.cost == "padded_tokens",
            max_queue_rows=model.max_queue,
            max_wait_s=model.max_wait_ms / 1000,
            concurrency=model.concurrency if self._concurrent else 1,
            levels=model.priority_levels,
            rerun=model.rerun,
        )

    async def infer(self, rows: Rows, call: Call) -> Rows:
        """Check, batch and run; answers are in the order of the rows. Raises RequestError."""
        execution, batcher = self._execution, self._batcher
        if self._warming and not self._in_shape:
            await self._shape_up(rows)
        part = execution.check(rows)
        if batcher.limits.allow(part.rows, part.tokens, part.longest):
            answer: Rows = await batcher.submit(part, call)
            return answer
        check_size(part.rows, batcher.limits)  # before it is cut into as many pieces
        return execution.join(await batcher.submit_parts(execution.pieces(part), call))

    def stream(self, row: Mapping[str, Any], call: Call) -> AsyncIterator[Piece]:
        """The answer to one record as it comes into being. Raises RequestError."""
        if self._pieces is None:
            raise InvalidInput("this model does not answer piece by piece")
        return self._pieces.stream(row, call)

    async def _shape_up(self, rows: Rows) -> None:
        """Run the warm-up's example in every bucket, once: ready means that no request comes in a new shape."""
        self._in_shape = True
        for shape, example in self._execution.at_buckets(rows):
            try:
                await self._batcher.submit(self._execution.check(example), Call(monotonic()))
            except RequestError as error:
                self._in_shape = False
                raise ModelFailed(f"in the bucket {shape}: {error.message}") from error

    async def close(self) -> None:
        """Take no more, and finish what is queued."""
        if self._pieces is not None:
            await self._pieces.close()
        await self._batcher.close()


def _of_pieces(model: Model) -> Limits:
    """The bounds of answers in pieces: each runs alone, on a thread of its own, whatever the runtime says of runs."""
    return Limits(max_queue_rows=model.max_queue, concurrency=model.concurrency, levels=model.priority_levels)

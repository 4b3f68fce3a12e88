"""The way of a request through one loaded model: who waits, who runs, who is answered. There are two kinds.

A `BatchLane` runs whole requests in batches; a `GenerationLane` lets sequences join and leave at every step.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import attrs

from modelapp.app import Model
from modelapp.call import Call
from modelapp.errors import ModelDied
from modelapp.generating import Piece
from modelapp.observing import InProgress, ModelFigures, Observers
from modelapp.runtime import Rows


@attrs.frozen
class Around:
    """What a lane knows of where it is. `root` is the app's folder; `on_death` is told once when the model is dead."""

    root: Path = Path()
    device: str = ""
    observers: Observers | None = None
    on_death: Callable[[ModelDied], None] | None = None


class Lane(Protocol):
    """One model's lane. Belongs to one event loop."""

    @property
    def notes(self) -> Sequence[str]:
        """Sentences for whoever starts the app."""
        ...

    @property
    def streams(self) -> bool:
        """Whether `stream` may be called."""
        ...

    @property
    def waiting_rows(self) -> int:
        """Rows, or sequences, in its queue."""
        ...

    @property
    def in_progress(self) -> InProgress | None:
        """What a model that generates works on now; None of any other."""
        ...

    @property
    def figures(self) -> ModelFigures:
        """Sums over its runs so far."""
        ...

    @property
    def least_ms(self) -> float | None:
        """The least that the model itself took for a run; None until that is known."""
        ...

    def is_stuck(self, now_s: float) -> bool:
        """Whether nobody can be served because of runs that nobody waits for any more, and that do not end."""
        ...

    def warm(self) -> None:
        """The warm-up is over."""
        ...

    def hush(self, root: Path) -> None:
        """From now on tell of a failure no more than its class and its place below `root`."""
        ...

    def tune(self, model: Model) -> None:
        """Obey that table's bounds from now on."""
        ...

    async def infer(self, rows: Rows, call: Call) -> Rows:
        """The answers, in the order of the rows. Raises RequestError."""
        ...

    def stream(self, row: Mapping[str, Any], call: Call) -> AsyncIterator[Piece]:
        """The answer to one record as it comes into being. Raises RequestError."""
        ...

    async def close(self) -> None:
        """Take no more, and finish what is queued."""
        ...

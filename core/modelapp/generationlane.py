"""Sequences that join and leave at every step: the lane of models that answer token by token."""

from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from modelapp.app import Model
from modelapp.call import Call
from modelapp.errors import NotReady
from modelapp.generating import Piece, TextModel
from modelapp.lane import Around
from modelapp.observing import ModelFigures
from modelapp.runtime import Rows


class GenerationLane:
    """Implements `modelapp.lane.Lane`."""

    streams = True
    waiting_rows = 0
    least_ms: float | None = None
    notes: Sequence[str] = ()

    def __init__(self, loaded: TextModel, model: Model, around: Around) -> None:
        self.figures = ModelFigures()

    def is_stuck(self, now_s: float) -> bool:
        """Whether nobody can be served."""
        return False

    def warm(self) -> None:
        """The warm-up is over."""

    def hush(self, root: Path) -> None:
        """From now on tell of a failure no more than its class and its place below `root`."""

    def tune(self, model: Model) -> None:
        """Obey that table's bounds from now on."""

    async def infer(self, rows: Rows, call: Call) -> Rows:
        """The answers, in the order of the rows. Raises RequestError."""
        raise NotReady("not built yet")

    def stream(self, row: Mapping[str, Any], call: Call) -> AsyncIterator[Piece]:
        """The answer to one record as it comes into being. Raises RequestError."""
        raise NotReady("not built yet")

    async def close(self) -> None:
        """Take no more, and finish what is queued."""

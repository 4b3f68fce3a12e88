"""What stands between records and a model, one class a task; and the loaded model that it makes."""

from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any, Protocol

import attrs
import torch

from modelapp.errors import LoadError, RequestError
from modelapp.runtime import Records, Run
from modelapp.signature import Signature
from modelapp_torch.failures import reason, run_failure
from modelapp_torch.placing import keep_to
from modelapp_torch.pretrained import Pretrained

Row = Mapping[str, Any]


class Adapter(Protocol):
    """One task on one model."""

    @property
    def net(self) -> Pretrained:
        """The model."""
        ...

    @property
    def notes(self) -> Sequence[str]:
        """Sentences for whoever starts the app."""
        ...

    @property
    def alone(self) -> str:
        """Why rows of different requests do not share a run; "" where they do."""
        ...

    def example(self) -> Row:
        """A row for a trial run."""
        ...

    def prepare(self, row: Row) -> Any:
        """What the model is fed for one row. Raises InvalidInput where the row cannot be answered."""
        ...

    def answer(self, prepared: Sequence[Any]) -> Sequence[Row]:
        """Run the model over at least one prepared row, and read one answer a row out of what it says."""
        ...


class TaskModel:
    """A loaded model over the records of a task."""

    def __init__(self, adapter: Adapter, threads: int) -> None:
        notes = (*adapter.net.notes, *adapter.notes, *([adapter.alone] if adapter.alone else []))
        self.signature = Signature(kind="records", batched=not adapter.alone, notes=notes)
        self.device = str(adapter.net.device)
        self._adapter: Adapter | None = adapter
        self._threads = threads

    def infer(self, rows: Records, run: Run) -> list[Any]:
        """One answer a row; a row that cannot be answered gets its InvalidInput in that place, and harms no other.

        Raises OutOfMemory, ModelDied, and what the model itself raises.
        """
        adapter = self._adapter
        if adapter is None:
            raise RuntimeError("the model is closed")
        keep_to(self._threads)
        prepared = [_prepared(adapter, row) for row in rows]
        good = [item for item in prepared if not isinstance(item, RequestError)]
        try:
            with torch.inference_mode():
                answers = iter(adapter.answer(good) if good else ())
        except Exception as error:
            failure = run_failure(error, run)
            if failure is None:
                raise
        else:
            return [item if isinstance(item, RequestError) else next(answers) for item in prepared]
        # Here and not above: the exception's frames hold the run's memory, which the next attempt needs.
        if adapter.net.device.type == "cuda":
            torch.cuda.empty_cache()
        raise failure

    def compile(self, name: str) -> None:
        """Compile the network, and pay for that now: on one row and on two. Raises LoadError where it fails."""
        adapter = self._adapter
        if adapter is None:
            raise RuntimeError("the model is closed")
        started = perf_counter()
        adapter.net.model.compile(dynamic=True)
        row = adapter.example()
        try:
            for rows in ([row, row], [row]):
                self.infer(rows, Run(len(rows)))
        except Exception as error:
            raise LoadError(
                f"models.{name}.torch.compile: {type(adapter.net.model).__name__} does not compile: {reason(error)}",
                model=name,
                help='compile = "off"',
            ) from error
        note = f"torch.compile took {perf_counter() - started:.1f} s."
        self.signature = attrs.evolve(self.signature, notes=(*self.signature.notes, note))

    def close(self) -> None:
        """Let go of the network and its weights."""
        self._adapter = None


def _prepared(adapter: Adapter, row: Row) -> Any:
    try:
        return adapter.prepare(row)
    except RequestError as error:
        return error

"""The contract of a runtime: what a plugin that opens models must offer.

A runtime plugin yields a `RuntimeSpec` from the hook `modelapp_runtimes`. The spec is light: importing it must not
import the library behind it. `RuntimeSpec.open` does, once, in the replica, after `RuntimeSpec.environment` is set.
"""

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

import attrs

from modelapp.signature import Signature

if TYPE_CHECKING:  # numpy takes 80 ms to import, which the command line need not spend
    from numpy.typing import NDArray

    from modelapp.generating import TextModel

Arrays: TypeAlias = Mapping[str, "NDArray[Any]"]
"""Named arrays; axis 0 counts rows where the signature is batched."""
Records: TypeAlias = Sequence[Mapping[str, Any]]
"""Plain values, one mapping a row."""
Rows: TypeAlias = Arrays | Records
"""What a model is handed and hands back: arrays or records, as its signature's kind says."""

API_VERSION = 1
"""The version of this contract; a spec lists those it can serve."""


@attrs.frozen
class Availability:
    """Whether a runtime can work here; `missing` says what is absent and `fix` the command that brings it."""

    ok: bool
    missing: str = ""
    fix: str = ""
    devices: tuple[str, ...] = ("cpu",)


@attrs.frozen
class Placement:
    """Where and with how much a model is loaded. `threads` is the budget for one run; the runtime must keep to it.

    The rest is for models that generate, and binds as `threads` does: `slots` sequences at a time, of `context_tokens`
    each (0: the model's own bound) and with `cache_mb` of memory in all; `reuse_prefixes` says whether what was kept of
    one sequence may serve another.
    """

    device: str = "cpu"
    threads: int = 1
    cache_dir: Path | None = None
    slots: int = 1
    context_tokens: int = 0
    cache_mb: int = 1024
    reuse_prefixes: bool = True


@attrs.frozen
class Artefact:
    """A model's files on this machine. `source` is the main file or folder, or "file.py:Class" below `root`.

    `task` is a word of `modelapp.tasks`, or "".
    """

    name: str
    source: Path
    symbol: str = ""
    root: Path = Path()
    files: Mapping[str, Path] = attrs.Factory(dict)
    task: str = ""


class Run:
    """One execution: its deadline, and the way to stop it. `infer_s` sums the seconds the model itself took.

    A runtime that can stop a run registers how with `on_cancel`; the function is called at most once, from another
    thread.
    """

    __slots__ = ("_callbacks", "_lock", "cancelled", "deadline_s", "infer_s", "rows")

    def __init__(self, rows: int = 1, deadline_s: float | None = None) -> None:
        self.rows = rows
        self.deadline_s = deadline_s
        self.infer_s = 0.0
        self.cancelled = False
        self._callbacks: list[Callable[[], None]] = []
        self._lock = threading.Lock()

    def on_cancel(self, callback: Callable[[], None]) -> None:
        """Call `callback` when the run is cancelled; at once where it already is."""
        with self._lock:
            if not self.cancelled:
                self._callbacks.append(callback)
                return
        callback()

    def cancel(self) -> None:
        """Ask the runtime to stop; without effect on a run that has ended."""
        with self._lock:
            self.cancelled = True
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()


class LoadedModel(Protocol):
    """A model ready to run. `infer` is called from one thread at a time unless the spec claims "concurrent"."""

    @property
    def signature(self) -> Signature:
        """What goes in and comes out, as loaded."""
        ...

    @property
    def device(self) -> str:
        """The device in use, compared with the one that was asked for."""
        ...

    def infer(self, rows: Any, run: Run) -> Rows:
        """Answer `rows` (arrays or records, as the signature says) in their order, one answer a row.

        Among records an InvalidInput or another RequestError may stand in an answer's place: that request fails alone.
        """
        ...

    def close(self) -> None:
        """Give memory back; called once, after the last run has ended."""
        ...


class Runtime(Protocol):
    """Opens models. One instance a replica."""

    def describe(self, artefact: Artefact, options: Any) -> Signature | None:
        """The signature without loading the weights, or None where only loading can tell."""
        ...

    def load(self, artefact: Artefact, options: Any, placement: Placement) -> "LoadedModel | TextModel":
        """Load for `placement`. Raises LoadError, naming file and reason."""
        ...


@runtime_checkable
class Streams(Protocol):
    """A loaded model that also answers piece by piece, beside `infer`."""

    def stream(self, row: Mapping[str, Any], run: Run) -> Iterator[Mapping[str, Any]]:
        """The answer to one record, in pieces whose texts belong one after the other. Ends when `run` is cancelled."""
        ...


@runtime_checkable
class Exports(Protocol):
    """A runtime that can write its models in a format that another runtime opens."""

    @property
    def formats(self) -> Collection[str]:
        """The formats, e.g. "onnx"; each is the name of the runtime that opens it."""
        ...

    def export(
        self, artefact: Artefact, options: Any, placement: Placement, target: Path, format: str
    ) -> Sequence[str]:
        """Write the model into the folder `target`, which is empty; notes for whoever asked.

        The main file is "model.onnx" for "onnx"; a folder with a model that generates holds its tokenizer too. Raises
        LoadError where the model does not load or cannot be written so.
        """
        ...


@runtime_checkable
class Quantizes(Protocol):
    """A runtime that can make a smaller, less precise model of one that it opens."""

    @property
    def precisions(self) -> Collection[str]:
        """The words it takes, e.g. "int8"."""
        ...

    def quantize(self, source: Path, target: Path, precision: str) -> Sequence[str]:
        """Write the model file or folder `source` anew into the folder `target`; notes for whoever asked.

        Raises LoadError.
        """
        ...


def always_available() -> Availability:
    """The probe of a runtime that needs nothing beyond this package."""
    return Availability(ok=True)


@attrs.frozen
class NoOptions:
    """The options class of a plugin that takes none."""


@attrs.frozen
class RawOptions:
    """The options class of a runtime whose keys only the loaded model knows, as those of a user's own class.

    app.toml is read without importing the model, so the table arrives here unchecked; `load` checks it and raises
    LoadError, naming key and fix.
    """

    values: Mapping[str, Any] = attrs.Factory(dict)


@attrs.frozen
class RuntimeSpec:
    """What a runtime plugin yields.

    `options` is an attrs class; [models.N.<name>] in app.toml is read into it, whole and unchecked where the class is
    RawOptions. `capabilities` are words out of
    CAPABILITIES. `environment` must be set before the library is imported; "{threads}" in a value is filled in.
    `numeric_stack`: distributions whose version may change a result; it is kept with every recorded answer, of those
    that are installed. `tasks`: the words of `modelapp.tasks` that it adapts models to; "*" for any, where the model's
    own code keeps to the task.
    """

    name: str
    open: Callable[[], Runtime]
    options: type = NoOptions
    capabilities: frozenset[str] = frozenset()
    environment: Mapping[str, str] = attrs.Factory(dict)
    probe: Callable[[], Availability] = always_available
    api_versions: frozenset[int] = frozenset({API_VERSION})
    numeric_stack: tuple[str, ...] = ()
    tasks: frozenset[str] = frozenset()


CAPABILITIES: Mapping[str, str] = {
    "tensors": "models over named arrays",
    "records": "models over plain records",
    "cancel": "a run in progress can be stopped",
    "concurrent": "one loaded model may run on several threads at once",
    "generate": "models that answer token by token",
    "stream": "models that answer one record piece by piece, each by its own code",
    "scripted": "imitates a model by script, for tests; never counts as coverage of a real one",
}


def row_count(rows: Rows, *, batched: bool = True) -> int:
    """How many rows `rows` holds; 1 where the signature is not batched."""
    if not batched:
        return 1
    if isinstance(rows, Mapping):
        return len(next(iter(rows.values()))) if rows else 0
    return len(rows)

"""Opens a class of handlers.py as a model: builds it once, calls its `predict` for every batch."""

import inspect
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelapp import handlers
from modelapp.errors import Cancelled, LoadError, ModelAppError, ModelFailed
from modelapp.generating import join_pieces
from modelapp.runtime import Arrays, Artefact, Placement, RawOptions, Records, Run
from modelapp.signature import Signature
from modelapp_python.classes import resolved
from modelapp_python.form import Form
from modelapp_python.options import read_options
from modelapp_python.pieces import PieceForm, checked_pieces, forms_of, place_of
from modelapp_python.rows import make_row, plain, plain_rows


class PythonRuntime:
    """Opens classes."""

    def describe(self, artefact: Artefact, options: Any) -> Signature | None:
        """None: the class says what it takes only once its file is imported."""
        return None

    def load(self, artefact: Artefact, options: RawOptions, placement: Placement) -> "PythonModel":
        """Import the class and make its one instance. Raises HandlerError, or LoadError naming class and fix."""
        where = f"{artefact.source.name}:{artefact.symbol}"
        try:
            cls = _imported(artefact)
            form, pieces = forms_of(cls, where)
            instance = _built(cls, artefact, options.values, where)
        except LoadError as error:
            raise LoadError(error.message, model=artefact.name, help=error.help) from error.__cause__
        device = getattr(instance, "device", None)
        used = "cpu" if device is None else str(device)
        if pieces is not None:
            return StreamModel(instance, form, used, pieces)
        kind = ArrayModel if form.signature.kind == "tensors" else RecordModel
        return kind(instance, form, used)


class PythonModel:
    """What models over arrays and over records share."""

    def __init__(self, instance: Any, form: Form, device: str) -> None:
        self.signature = form.signature
        self.device = device
        self._instance = instance
        self._predict: Callable[[Any], Any] | None = getattr(instance, "predict", None)
        self._form = form

    def infer(self, rows: Any, run: Run) -> Any:
        """Call `predict` once with all rows; its exceptions are not touched."""
        raise NotImplementedError

    def _called(self, batch: Any) -> Any:
        assert self._predict is not None  # without it there are pieces
        return self._predict(batch)

    def close(self) -> None:
        """Call the class's `close`, where it has one."""
        close = getattr(self._instance, "close", None)
        if callable(close):
            close()


class ArrayModel(PythonModel):
    """A class over named arrays."""

    def infer(self, rows: Arrays, run: Run) -> Mapping[str, NDArray[Any]]:
        """The answer's arrays. Raises ModelFailed where it is no mapping of arrays."""
        answer = self._called(rows)
        if not isinstance(answer, Mapping):
            raise ModelFailed(f"predict is declared to answer named arrays, it answered {type(answer).__name__}")
        for name, array in answer.items():
            if not isinstance(array, np.ndarray):
                raise ModelFailed(f'predict answered {type(array).__name__} in "{name}", not a numpy array')
        return answer


class RecordModel(PythonModel):
    """A class over plain records."""

    def infer(self, rows: Records, run: Run) -> Sequence[Mapping[str, Any]]:
        """One mapping a row. Raises InvalidInput or ModelFailed where records do not fit the declared class."""
        form = self._form
        # Copies: a failed batch is run again in parts, and `predict` may have changed its rows by then.
        batch = [dict(row) if form.row is None else make_row(form.row, row) for row in rows]
        return plain_rows(self._called(batch), made=form.makes)


class StreamModel(RecordModel):
    """A class over plain records that answers piece by piece, with `predict` beside it or without."""

    def __init__(self, instance: Any, form: Form, device: str, pieces: PieceForm) -> None:
        super().__init__(instance, form, device)
        self._pieces = pieces

    def infer(self, rows: Records, run: Run) -> Sequence[Mapping[str, Any]]:
        """As of any class; where it has no `predict`, the pieces of each row's answer are joined."""
        if self._predict is not None:
            return super().infer(rows, run)
        return [join_pieces(self.stream(row, run)) for row in rows]

    def stream(self, row: Mapping[str, Any], run: Run) -> Iterator[Mapping[str, Any]]:
        """The pieces of one answer, until nobody wants more. Raises InvalidInput or ModelFailed as `infer` does."""
        form = self._pieces
        given = dict(row) if form.row is None else make_row(form.row, row)
        pieces, told = self._instance.stream(given), None
        try:
            for piece in checked_pieces(self._instance, pieces):
                if run.cancelled:
                    raise Cancelled("nobody waits for this answer any more")
                told = plain(piece) if form.makes else piece
                if not isinstance(told, Mapping):
                    what = f"a piece of stream is {type(piece).__name__}, not a record"
                    raise ModelFailed(f"{place_of(self._instance)}: {what}")
                yield told
            if told is None:
                raise ModelFailed(f"{place_of(self._instance)}: stream answered no piece")
        finally:
            close = getattr(pieces, "close", None)
            if callable(close):
                close()


def _imported(artefact: Artefact) -> type:
    if not artefact.symbol:
        raise LoadError(
            f"{artefact.source} names no class",
            help=f'write source = "handlers.py:ClassName" in [models.{artefact.name}]',
        )
    ref = f"{artefact.source.relative_to(artefact.root.resolve()).as_posix()}:{artefact.symbol}"
    loaded = handlers.load(artefact.root, ref)
    if not isinstance(loaded, type):
        raise LoadError(
            f"{ref} is not a class",
            help="a model is a class with `predict`; a function can be a step of an endpoint",
        )
    return loaded


def _built(cls: type, artefact: Artefact, table: Mapping[str, Any], where: str) -> Any:
    """The instance, handed `options` and `files` as far as its `__init__` names them."""
    place = f"models.{artefact.name}.python"
    takes = _init_parameters(cls, where)
    given: dict[str, Any] = {}
    if "options" in takes:
        wanted = takes["options"]
        given["options"] = read_options(table, wanted, place=place, owner=where)
    elif table:
        raise LoadError(
            f"{place}: {where} takes no options, the table has {', '.join(table)}",
            help=f"remove [{place}], or write `def __init__(self, options: Options)`",
        )
    if "files" in takes:
        given["files"] = dict(artefact.files)
    elif artefact.files:
        raise LoadError(
            f"models.{artefact.name}.files: {where} takes no files, app.toml has {', '.join(artefact.files)}",
            help="remove them, or write `def __init__(self, files: Mapping[str, Path])`",
        )
    try:
        return cls(**given)
    except ModelAppError:
        raise
    except Exception as error:
        raise _raised(error, where, artefact.root) from error


def _init_parameters(cls: type, where: str) -> dict[str, Any]:
    """Which of `options` and `files` the constructor takes, each with its type hint (Any where it has none)."""
    init: Any = inspect.getattr_static(cls, "__init__")
    if init is object.__init__:
        return {}
    hints = resolved(init, f"{where}: __init__") if inspect.isfunction(init) else {}
    takes = {}
    for parameter in list(inspect.signature(init).parameters.values())[1:]:
        if parameter.name in ("options", "files") and parameter.kind is not parameter.POSITIONAL_ONLY:
            takes[parameter.name] = hints.get(parameter.name, Any)
        elif parameter.default is parameter.empty and parameter.kind not in (
            parameter.VAR_POSITIONAL,
            parameter.VAR_KEYWORD,
        ):
            raise LoadError(
                f"{where}: __init__ wants `{parameter.name}`, which is nothing a model is given",
                help="it may take `options` ([models.NAME.python]) and `files` (paths by name)",
            )
    return takes


def _raised(error: Exception, where: str, root: Path) -> LoadError:
    """What the class's own code raised, with the last place in the app's files."""
    place = ""
    for frame in traceback.extract_tb(error.__traceback__):
        path = Path(frame.filename)
        if path.is_relative_to(root):
            place = f" ({path.relative_to(root)}:{frame.lineno})"
    said = traceback.format_exception_only(error)[-1].strip()
    return LoadError(f"{where} could not be made: {said}{place}")

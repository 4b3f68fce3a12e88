"""What the declared signature of `stream` says: one record in, its answer in pieces that are records too."""

import inspect
from collections.abc import Generator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

import attrs

from modelapp.errors import LoadError, ModelFailed
from modelapp.signature import Signature
from modelapp_python.classes import is_class, resolved
from modelapp_python.form import Form, argument, form_of, is_row

ACCEPTED = """write
    def stream(self, row: Row) -> Iterator[Piece]:   # each a dict, TypedDict, attrs class or dataclass"""
_ITERATORS = (Iterator, Iterable, Generator)


@attrs.frozen
class PieceForm:
    """How `stream` is called. `row` is the class that its record is made into, or None where it stays a mapping;
    `makes` is whether its pieces are instances of a class."""

    row: type | None = None
    makes: bool = False


def forms_of(cls: type, where: str) -> tuple[Form, PieceForm | None]:
    """How both methods are called; of a class that only streams, as if `predict` took records. Raises LoadError."""
    pieces = piece_form_of(cls, where)
    if pieces is not None and not hasattr(cls, "predict"):
        return Form(Signature(kind="records")), pieces
    form = form_of(cls, where)
    if pieces is not None and form.signature.kind != "records":
        raise LoadError(f"{where}: predict takes arrays, and stream a record", help="let both take records")
    return form, pieces


def piece_form_of(cls: type, where: str) -> PieceForm | None:
    """The form of the class's `stream`, None where it has none. Raises LoadError that shows the accepted one."""
    stream = getattr(cls, "stream", None)
    if not inspect.isroutine(stream):
        return None
    if inspect.iscoroutinefunction(stream) or inspect.isasyncgenfunction(stream):
        raise LoadError(f"{where}: stream is async; it must be a plain method", help=ACCEPTED)
    name = argument(cls, "stream", "one row", where, ACCEPTED)
    hints = resolved(stream, f"{where}: stream")
    if name not in hints or "return" not in hints:
        gap = f'parameter "{name}"' if name not in hints else "answer"
        raise LoadError(f"{where}: the {gap} of stream has no type hint", help=ACCEPTED)
    pieces = _pieces(hints["return"])
    if not is_row(hints[name]) or pieces is None:
        odd = hints["return"] if is_row(hints[name]) else hints[name]
        raise LoadError(f"{where}: stream is declared with {odd}, which is no record, or no records", help=ACCEPTED)
    return PieceForm(hints[name] if is_class(hints[name]) else None, makes=is_class(pieces))


def _pieces(hint: Any) -> Any:
    """What an iterator's hint says it gives, where that is a record."""
    args = get_args(hint)
    return args[0] if get_origin(hint) in _ITERATORS and args and is_row(args[0]) else None


def place_of(instance: Any) -> str:
    """A model's `stream` for whoever mends it: `handlers.py:12: class Teller`."""
    code = getattr(inspect.unwrap(type(instance).stream), "__code__", None)
    at = "" if code is None else f"{Path(code.co_filename).name}:{code.co_firstlineno}: "
    return f"{at}class {type(instance).__name__}"


def checked_pieces(instance: Any, pieces: Any) -> Iterable[Any]:
    """What a call of `stream` gave, as it came. Raises ModelFailed where it is one record, or nothing to go through."""
    if isinstance(pieces, Mapping) or not isinstance(pieces, Iterable):
        what = "a record" if isinstance(pieces, Mapping) or is_class(type(pieces)) else type(pieces).__name__
        raise ModelFailed(
            f"{place_of(instance)}: stream returned {what}; it must yield pieces: write yield, not return"
        )
    return pieces

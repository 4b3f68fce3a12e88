"""What the declared signature of `predict` says: named arrays, or plain records."""

import inspect
import types
from collections.abc import Callable, Mapping, MutableMapping, MutableSequence, Sequence
from typing import Any, Literal, get_args, get_origin, is_typeddict

import attrs
import numpy as np

from modelapp.errors import LoadError
from modelapp.signature import Signature, TensorSpec
from modelapp_python.classes import is_class, resolved

ACCEPTED = """write one of
    def predict(self, batch: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:   # and `inputs`, `outputs`
    def predict(self, batch: list[Row]) -> list[Answer]:   # each a dict, TypedDict, attrs class or dataclass"""
_MAPPINGS = (dict, Mapping, MutableMapping)
_SEQUENCES = (list, Sequence, MutableSequence)


@attrs.frozen
class Form:
    """How `predict` is called. `row` is the class its records are made into, or None where they stay mappings;
    `makes` is whether it answers instances of a class."""

    signature: Signature
    row: type | None = None
    makes: bool = False


def form_of(cls: type, where: str) -> Form:
    """The form of the class's `predict`. Raises LoadError that shows the two accepted ones."""
    predict = getattr(cls, "predict", None)
    if not inspect.isroutine(predict):
        raise LoadError(f"{where} has no method predict, and no method stream", help=ACCEPTED)
    if inspect.iscoroutinefunction(predict) or inspect.isgeneratorfunction(predict) or _is_async_generator(predict):
        raise LoadError(f"{where}: predict is async or a generator; it must be a plain method", help=ACCEPTED)
    name = argument(cls, "predict", "the batch", where, ACCEPTED)
    hints = resolved(predict, f"{where}: predict")
    if name not in hints or "return" not in hints:
        gap = f'parameter "{name}"' if name not in hints else "answer"
        raise LoadError(f"{where}: the {gap} of predict has no type hint", help=ACCEPTED)
    taken, given = _kind(hints[name]), _kind(hints["return"])
    if taken is None or given is None:
        odd = hints[name] if taken is None else hints["return"]
        raise LoadError(f"{where}: predict is declared with {odd}, which is neither arrays nor records", help=ACCEPTED)
    if taken != given:
        raise LoadError(f"{where}: predict is declared to take {taken} and to answer {given}", help=ACCEPTED)
    if taken == "arrays":
        return Form(_arrays(cls, where))
    row, answer = (get_args(hints[hint])[0] for hint in (name, "return"))
    return Form(Signature(kind="records"), row if is_class(row) else None, makes=is_class(answer))


def _is_async_generator(predict: Any) -> bool:
    return inspect.isasyncgenfunction(predict)


def argument(cls: type, method: str, what: str, where: str, accepted: str) -> str:
    """The name of a method's one argument but self, which is `what`. Raises LoadError, whose fix is `accepted`."""
    bound = isinstance(inspect.getattr_static(cls, method), (staticmethod, classmethod))
    called: Callable[..., Any] = getattr(cls, method)
    parameters = list(inspect.signature(called).parameters.values())[0 if bound else 1 :]
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = [
        one for one in parameters if one.default is one.empty and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
    ]
    if len(needed) != 1 or needed[0].kind not in positional:
        told = ", ".join(one.name for one in needed) or "nothing"
        raise LoadError(f"{where}: {method} must take {what} and nothing else, it takes {told}", help=accepted)
    return needed[0].name


def _kind(hint: Any) -> Literal["arrays", "records"] | None:
    origin, args = get_origin(hint), get_args(hint)
    if origin in _MAPPINGS and len(args) == 2:
        return "arrays" if args[0] is str and (get_origin(args[1]) or args[1]) is np.ndarray else None
    if origin in _SEQUENCES and len(args) == 1:
        return "records" if is_row(args[0]) else None
    return None


def is_row(hint: Any) -> bool:
    """Whether a type hint is that of one record."""
    plain = get_origin(hint) or hint
    return plain in _MAPPINGS or is_typeddict(hint) or is_class(hint) or plain is types.MappingProxyType


def _arrays(cls: type, where: str) -> Signature:
    """The signature of a class over arrays, from its attributes `inputs` and `outputs`."""
    specs = {name: getattr(cls, name, None) for name in ("inputs", "outputs")}
    for name, given in specs.items():
        if not isinstance(given, (tuple, list)) or not given or not all(isinstance(one, TensorSpec) for one in given):
            raise LoadError(
                f"{where}: predict takes arrays, so the class needs `{name}`, a tuple of TensorSpec",
                help=f'write {name} = (TensorSpec("x", "float32", ("batch", 4)),)  # from modelapp import TensorSpec',
            )
        names = [one.name for one in given]
        if len(set(names)) < len(names):
            raise LoadError(f"{where}: `{name}` declares a name twice: {', '.join(names)}")
    inputs, outputs = tuple(specs["inputs"] or ()), tuple(specs["outputs"] or ())
    fixed = next((one for one in (*inputs, *outputs) if not one.shape or isinstance(one.shape[0], int)), None)
    if fixed is None:
        return Signature(inputs=inputs, outputs=outputs)
    note = f'"{fixed.name}" is declared without an open axis 0, so requests run one at a time.'
    return Signature(inputs=inputs, outputs=outputs, batched=False, notes=(note,))

"""Attrs classes and dataclasses seen alike: their fields, with types resolved."""

import dataclasses
import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import attrs
import numpy as np

from modelapp.errors import LoadError

#: What an annotation may name without an import where annotations are strings; `Arrays` of modelapp.runtime needs it.
_KNOWN = {"Any": Any, "Mapping": Mapping, "Sequence": Sequence, "np": np, "NDArray": np.typing.NDArray}


@attrs.frozen
class Column:
    """One field of such a class: what its constructor calls it, its type, and whether it must be given."""

    name: str
    type: Any
    required: bool


def is_class(hint: Any) -> bool:
    """Whether `hint` is an attrs class or a dataclass."""
    return isinstance(hint, type) and (attrs.has(hint) or dataclasses.is_dataclass(hint))


@cache
def columns(cls: type) -> Mapping[str, Column]:
    """The fields that the constructor of `cls` takes, by name. Raises LoadError where a type cannot be resolved."""
    hints = resolved(cls, f"class {cls.__name__}")
    if attrs.has(cls):
        given = [
            (field.alias or field.name, field.name, field.default is attrs.NOTHING)
            for field in attrs.fields(cls)
            if field.init
        ]
    else:
        missing = dataclasses.MISSING
        given = [
            (field.name, field.name, field.default is missing and field.default_factory is missing)
            for field in dataclasses.fields(cls)
            if field.init
        ]
    return {alias: Column(alias, hints.get(name, Any), required) for alias, name, required in given}


def resolved(item: "type | Callable[..., Any]", where: str) -> dict[str, Any]:
    """The type hints of a class or function, strings evaluated. Raises LoadError naming what a hint does not find."""
    function = inspect.unwrap(getattr(item, "__func__", item))
    scope = {**_KNOWN, **getattr(function, "__globals__", {})}
    try:
        return typing.get_type_hints(item, globalns=None if isinstance(item, type) else scope)
    except Exception as error:
        raise LoadError(
            f"{where}: a type hint cannot be read: {error}",
            help="import what it names at the top of the file, not below `if TYPE_CHECKING:`",
        ) from error

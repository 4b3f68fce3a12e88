"""Plain TOML values into Python types, strictly: "7" is not 7, true is not 1, and nothing is coerced."""

import math
from collections import abc
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, Union, get_args, get_origin

from modelapp import fieldtype
from modelapp.fieldtype import FieldType
from modelapp.suggestions import closest, closest_value, number_for

if TYPE_CHECKING:
    from cattrs import Converter

_Reader: TypeAlias = Callable[[Any, Any], Any]
"""Takes a value and the wanted type. Raises Refused."""

#: What people call our type words in other languages.
_OTHER_WORDS = {
    "string": "str",
    "text": "str",
    "integer": "int",
    "number": "float",
    "double": "float",
    "boolean": "bool",
    "object": "json",
    "dict": "json",
    "any": "json",
    "binary": "bytes",
    "list": "list[str]",
    "array": "list[str]",
}
_WANTED: dict[type, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a string",
    Path: "a string",
    FieldType: "a type word",
}


class Refused(ValueError):
    """A value is not what its key wants. `fix` is a value that would do, or None where there is no telling."""

    def __init__(self, code: str, message: str, label: str, fix: Any = None, notes: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.code, self.message, self.label, self.fix, self.notes = code, message, label, fix, notes


def structure(value: Any, wanted: Any, key: str) -> Any:
    """`value` as `wanted`, a type that is no table. Raises Refused; `key` names the value and holds its unit."""
    try:
        return _read(value, wanted)
    except Refused as refused:
        if refused.fix is None and refused.code == "MA020":
            refused.fix = remedy(value, wanted, key)
        raise
    except Exception as error:
        # A plugin's own type, read by cattrs or by the type's constructor.
        raise Refused("MA020", f"is not accepted: {error}", describe(value)) from error


def without_none(wanted: Any) -> Any:
    """`X` for `X | None`: TOML has no null, a key is there or it is not."""
    if not _is_union(wanted):
        return wanted
    rest = [part for part in get_args(wanted) if part is not NoneType]
    return rest[0] if len(rest) == 1 else Union[tuple(rest)]  # noqa: UP007 (built at run time)


def describe(value: Any) -> str:
    """What a value is, for the label below it."""
    if isinstance(value, bool):
        return f"this is {str(value).lower()}"
    words = {int: "a whole number", float: "a number", str: "a string", list: "a list", dict: "a table"}
    return f"this is {words.get(type(value), 'a date or time')}"


def _read(value: Any, wanted: Any) -> Any:
    reader = _reader(wanted)
    return _converter().structure(value, wanted) if reader is None else reader(value, wanted)


def _reader(wanted: Any) -> _Reader | None:
    """The reader of a plain type; None for the types of plugins' own options, which are left to cattrs."""
    if get_origin(wanted) is Literal:
        return _choice
    if _is_union(wanted):
        return _first_that_fits
    return _items if (get_origin(wanted) or wanted) in _COLLECTIONS else _READERS.get(wanted)


@cache
def _converter() -> "Converter":
    import cattrs  # 20 ms, spent only where an option is of a type that is not plain

    # One plain exception a value: whoever walks the tables adds the place and collects.
    converter = cattrs.Converter(detailed_validation=False, forbid_extra_keys=True)
    for wanted, reader in _READERS.items():
        converter.register_structure_hook(wanted, reader)
    converter.register_structure_hook_func(lambda wanted: _reader(wanted) is not None, _read)
    return converter


def _exactly(value: Any, wanted: type) -> Any:
    if type(value) is not wanted:
        raise Refused("MA020", f"must be {_WANTED[wanted]}", describe(value))
    return value


def _number(value: Any, _: type) -> float:
    if type(value) not in (int, float):
        raise Refused("MA020", "must be a number", describe(value))
    if not math.isfinite(value):
        raise Refused("MA020", "must be a finite number", "not finite")
    return float(value)


def _is_union(wanted: Any) -> bool:
    return get_origin(wanted) in (Union, UnionType)


def _first_that_fits(value: Any, wanted: Any) -> Any:
    """Of a union, the type that takes the value as it is; the value's own type before one that it would become."""
    parts = sorted(get_args(wanted), key=lambda part: part is not type(value))
    for part in parts:
        try:
            return _read(value, part)
        except Refused:
            continue
    names = [_WANTED.get(part) or str(getattr(part, "__name__", part)) for part in get_args(wanted)]
    raise Refused("MA020", f"must be {' or '.join(names)}", describe(value))


def _choice(value: Any, wanted: Any) -> Any:
    choices = get_args(wanted)
    if any(type(value) is type(choice) and value == choice for choice in choices):
        return value
    listed = ", ".join(f'"{choice}"' if isinstance(choice, str) else str(choice) for choice in choices)
    words = [choice for choice in choices if isinstance(choice, str)]
    near = closest_value(value, words) if isinstance(value, str) else None
    raise Refused("MA022", f"must be one of {listed}", "not one of them", near)


def _field_type(value: Any, _: type) -> FieldType:
    text = _exactly(value, str) if isinstance(value, str) else None
    if text is None:
        raise Refused("MA020", "must be a type word", describe(value))
    try:
        return fieldtype.parse(text)
    except ValueError as error:
        word = str(error)
        near = _OTHER_WORDS.get(word.lower()) or closest(word, fieldtype.WORDS)
        fix = text.replace(word, near) if near else None
        notes = (f"the types: {', '.join((*fieldtype.WORDS, 'list[...]'))}",)
        raise Refused("MA023", f'has the unknown type "{word}"', "no type is called so", fix, notes) from error


def _items(value: Any, wanted: Any) -> Any:
    """A list of TOML as a list, tuple or set; a text is none, though Python would take its characters for items."""
    if not isinstance(value, list):
        raise Refused("MA020", "must be a list", describe(value), None if isinstance(value, dict) else [value])
    make, parts = _COLLECTIONS[get_origin(wanted) or wanted], get_args(wanted)
    if not parts:
        return make(value)
    if make is not tuple or parts[-1] is Ellipsis:
        return make(_read(item, parts[0]) for item in value)
    if len(value) != len(parts):
        raise Refused("MA020", f"must be a list of {len(parts)}", f"this has {len(value)}")
    return make(_read(item, part) for item, part in zip(value, parts, strict=True))


_READERS: Mapping[Any, _Reader] = {
    int: _exactly,
    bool: _exactly,
    str: _exactly,
    float: _number,
    Path: lambda value, _: Path(_exactly(value, str)),
    FieldType: _field_type,
    Any: lambda value, _: value,
}
_COLLECTIONS: Mapping[Any, Callable[..., Any]] = {
    list: list,
    abc.Sequence: list,
    tuple: tuple,
    set: set,
    frozenset: frozenset,
    abc.Set: frozenset,
}


def remedy(value: Any, wanted: Any, key: str) -> Any:
    """The value of the wanted type that was most likely meant, or None."""
    if wanted in (int, float) and isinstance(value, str):
        number = number_for(key, value)
        return number if number is None or wanted is float or number.is_integer() else round(number)
    if wanted is int and isinstance(value, float) and math.isfinite(value):
        return round(value)
    if wanted is bool and value in (0, 1, "0", "1", "true", "false", "yes", "no", "on", "off"):
        return value in (1, "1", "true", "yes", "on")
    if wanted in (str, Path) and isinstance(value, (bool, int, float)):
        return str(value).lower()
    return None

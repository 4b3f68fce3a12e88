"""What is wrong with a value of a request: where it stands, what may stand there, and what came."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import msgspec
from msgspec import inspect

from modelapp.errors import InvalidInput
from modelapp.mismatch import kind_of, quoted

_PLACED = re.compile(r".* - at `\$(.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(\w+)`")
_STEP = re.compile(r"\.?(?P<name>\w+)|\[(?P<number>\d+)\]|\[\.\.\.\]")
_SHOWN_CHARS = 20


def misfit(document: Mapping[str, Any], kind: type[msgspec.Struct], complaint: str) -> InvalidInput:
    """The error for a document that msgspec does not take as `kind`; `complaint` is its ValidationError's text.

    Numbers are told as they came, and words where one of a few is wanted; of other texts their length alone.
    """
    spot = _Spot("", "", inspect.type_info(kind), document)
    if placed := _PLACED.fullmatch(complaint):
        for step in _STEP.finditer(placed[1]):
            spot = spot.below(step["name"], step["number"])
    if missing := _MISSING.match(complaint):
        field = spot.of(missing[1])
        return InvalidInput(f"{field} is missing", field=field)
    told = f"{spot.place} must be {_wanted(spot.kind)}, not {_given(spot.kind, spot.value)}"
    return InvalidInput(told, field=spot.field)


@attrs.frozen
class _Spot:
    """A value in a document; `field` is its `place` without names that the caller chose."""

    field: str
    place: str
    kind: inspect.Type
    value: Any

    def of(self, name: str) -> str:
        """The place of one of its fields."""
        return f"{self.field}.{name}".lstrip(".")

    def below(self, name: str | None, number: str | None) -> "_Spot":
        """A field, an item, or with neither the value of an object that does not fit."""
        for one in _ways(self.kind):
            if isinstance(one, inspect.StructType) and name:
                kinds = {field.encode_name: field.type for field in one.fields}
                return _Spot(self.of(name), self.of(name), kinds[name], self.value[name])
            if isinstance(one, inspect.ListType) and number:
                step = f"[{number}]"
                return _Spot(self.field + step, self.place + step, one.item_type, self.value[int(number)])
            if isinstance(one, inspect.DictType) and not (name or number):
                for key, value in self.value.items():
                    if not _fits(one.value_type, value):
                        return _Spot(self.field, f"{self.place}.{key[:_SHOWN_CHARS]}", one.value_type, value)
        return self


def _ways(kind: inspect.Type) -> Sequence[inspect.Type]:
    """What a value may be; null, which asks for nothing, needs no word."""
    kinds = kind.types if isinstance(kind, inspect.UnionType) else (kind,)
    return [one for one in kinds if not isinstance(one, inspect.NoneType)]


def _fits(kind: inspect.Type, value: Any) -> bool:
    """Whether it is a number within the bounds; requests have no other objects with free names."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not isinstance(kind, inspect.FloatType):
        return False
    return (kind.ge is None or value >= kind.ge) and (kind.le is None or value <= kind.le)


def _wanted(kind: inspect.Type) -> str:
    return " or ".join(map(_words, _ways(kind)))


def _words(kind: inspect.Type) -> str:
    match kind:
        case inspect.LiteralType():
            return "one of " + ", ".join(quoted(str(word)) for word in kind.values)
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType():
            return "a whole number" + _bounds(kind)
        case inspect.FloatType():
            return "a number" + _bounds(kind)
        case inspect.StrType():
            return "a string" + _length(kind)
        case inspect.ListType():
            return _list(kind)
        case inspect.DictType():
            return f"an object in which each value is {_wanted(kind.value_type)}"
        case _:
            return "an object" + _needs(kind)


def _bounds(kind: inspect.IntType | inspect.FloatType) -> str:
    if kind.gt is not None:
        return f" over {kind.gt}"
    if kind.ge is None:
        return ""
    return f" from {kind.ge} {'on' if kind.le is None else f'to {kind.le}'}"


def _length(kind: inspect.StrType) -> str:
    if kind.max_length is not None:
        return f" of {kind.min_length or 0} to {kind.max_length} characters"
    return " that is not empty" if kind.min_length else ""


def _list(kind: inspect.ListType) -> str:
    item = kind.item_type
    if isinstance(item, inspect.StructType):
        of = "objects" + _needs(item)
    else:
        of = {inspect.StrType: "strings", inspect.IntType: "whole numbers"}.get(type(item), "")
    if not of:
        return "a list"
    return f"a list of {'one or more ' if kind.min_length else ''}{of}"


def _needs(kind: inspect.Type) -> str:
    """The fields that an object must have."""
    fields = kind.fields if isinstance(kind, inspect.StructType) else ()
    names = [field.encode_name for field in fields if field.required]
    return f" with {' and '.join(names)}" if names else ""


def _given(kind: inspect.Type, value: Any) -> str:
    ways = {type(one) for one in _ways(kind)}
    if isinstance(value, str) and inspect.LiteralType in ways:
        return quoted(value)
    if isinstance(value, str) and inspect.StrType in ways:
        return f"one of {len(value)} characters" if value else "an empty one"
    return "an empty list" if value == [] else kind_of(value)

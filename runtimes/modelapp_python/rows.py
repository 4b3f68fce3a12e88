"""Plain records into the class a model asks for, and its answers back into plain mappings."""

import dataclasses
import types
from collections.abc import Mapping, Sequence
from typing import Any, Union, get_args, get_origin

import attrs

from modelapp.errors import InvalidInput, ModelFailed
from modelapp_python.classes import columns, is_class


def make_row(cls: type, row: Mapping[str, Any], place: str = "") -> Any:
    """`row` as an instance of `cls`, nested ones too. Raises InvalidInput naming the field that does not fit.

    Values are taken as they come: they were checked against the endpoint's declared input.
    """
    known = columns(cls)
    for key in row:
        if key not in known:
            raise InvalidInput(
                f'"{place}{key}" is no field of {cls.__name__}: {", ".join(known)}', field=f"{place}{key}"
            )
    for name, column in known.items():
        if column.required and name not in row:
            raise InvalidInput(f'"{place}{name}" is missing, which {cls.__name__} wants', field=f"{place}{name}")
    values = {key: _value(known[key].type, value, f"{place}{key}") for key, value in row.items()}
    try:
        return cls(**values)
    except (TypeError, ValueError) as error:  # the class's own validators
        raise InvalidInput(f"{cls.__name__} refused its values: {error}", field=place.rstrip(".")) from error


def _value(hint: Any, value: Any, place: str) -> Any:
    if is_class(hint) and isinstance(value, Mapping):
        return make_row(hint, value, f"{place}.")
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        chosen = next((one for one in args if is_class(one)), None)
        return _value(chosen, value, place) if chosen is not None else value
    if origin in (list, tuple, Sequence) and args and is_class(args[0]) and isinstance(value, (list, tuple)):
        made = [_value(args[0], item, f"{place}[{index}]") for index, item in enumerate(value)]
        return tuple(made) if origin is tuple else made
    return value


def plain_rows(answers: Any, *, made: bool) -> Sequence[Mapping[str, Any]]:
    """The answers of `predict`, one mapping each; `made`: they are instances of a class. Raises ModelFailed."""
    if not isinstance(answers, Sequence) or isinstance(answers, (str, bytes)):
        raise ModelFailed(f"predict is declared to answer a list of records, it answered {type(answers).__name__}")
    rows = [plain(answer) for answer in answers] if made else answers
    for index, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise ModelFailed(f"answer {index} of predict is {type(row).__name__}, not a record")
    return rows


def plain(value: Any) -> Any:
    """Instances of attrs classes and dataclasses as dicts, in lists and dicts too; arrays and the rest as they are."""
    kind = type(value)
    if kind in (str, int, float, bool):
        return value
    if attrs.has(kind):
        return {field.name: plain(getattr(value, field.name)) for field in attrs.fields(kind)}
    if dataclasses.is_dataclass(kind):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if kind is dict:
        return {key: plain(item) for key, item in value.items()}
    if kind in (list, tuple):
        return [plain(item) for item in value]
    return value

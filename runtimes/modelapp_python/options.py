"""The table [models.NAME.python], read into the class that the model's own `__init__` asks for."""

from collections.abc import Mapping, Sequence
from typing import Any, get_args, get_origin

from modelapp.errors import LoadError
from modelapp.strict import Refused, structure, without_none
from modelapp.suggestions import closest, toml
from modelapp_python.classes import columns, is_class

_LISTS: Mapping[Any, Any] = {list: list, tuple: tuple, Sequence: list, set: set, frozenset: frozenset}
"""What a TOML list may be declared as, and what it becomes."""


def read_options(table: Mapping[str, Any], wanted: Any, *, place: str, owner: str) -> Any:
    """`table` as an instance of `wanted`, or as it is where `wanted` is a plain mapping.

    `place` is the table's name in app.toml, `owner` the class that takes it. Raises LoadError naming key and fix.
    """
    if wanted is Any or wanted is dict or get_origin(wanted) is dict or _is_mapping(wanted):
        return dict(table)
    if not is_class(wanted):
        raise LoadError(
            f"{owner}: `options` of __init__ is annotated with {_told(wanted)}",
            help="annotate it with an attrs class, a dataclass, or Mapping[str, Any]",
        )
    return _instance(table, wanted, place)


def _is_mapping(wanted: Any) -> bool:
    return (get_origin(wanted) or wanted) is Mapping


def _instance(table: Mapping[str, Any], wanted: type, place: str) -> Any:
    known = columns(wanted)
    for key in table:
        if key not in known:
            near = closest(key, known)
            listed = f"its keys: {', '.join(known)}" if known else "it takes no keys"
            raise LoadError(
                f'{place}: unknown key "{key}"', help=f'did you mean "{near}"? {listed}' if near else listed
            )
    for name, column in known.items():
        if column.required and name not in table:
            raise LoadError(
                f'{place}: "{name}" is missing', help=f"add {name} = ... ({_told(column.type)}) to [{place}]"
            )
    values = {key: _value(value, known[key].type, f"{place}.{key}") for key, value in table.items()}
    try:
        return wanted(**values)
    except Exception as error:
        raise LoadError(f"{place}: {wanted.__name__} refused its values: {error}") from error


def _value(value: Any, hint: Any, place: str) -> Any:
    wanted = without_none(hint)
    kind = get_origin(wanted) or wanted
    if is_class(wanted):
        if not isinstance(value, Mapping):
            raise LoadError(
                f"{place} must be a table, not {toml(value)}", help=f"write [{place}] and its keys below it"
            )
        return _instance(value, wanted, place)
    if kind in _LISTS:
        return _items(value, wanted, place)
    if kind in (dict, Mapping):
        if not isinstance(value, Mapping):
            raise LoadError(f"{place} must be a table, not {toml(value)}", help=f"it wants {_told(wanted)}")
        inner = (*get_args(wanted), Any, Any)[1]
        return {key: _value(item, inner, f"{place}.{key}") for key, item in value.items()}
    if wanted is Any:
        return value
    name = place.rpartition(".")[2]
    try:
        return structure(value, wanted, name)
    except Refused as refused:
        fix = f"it wants {_told(wanted)}" if refused.fix is None else f"write {name} = {toml(refused.fix)}"
        raise LoadError(f"{place} {refused.message}, not {toml(value)}", help=fix) from refused


def _items(value: Any, wanted: Any, place: str) -> Any:
    kind, args = _LISTS[get_origin(wanted) or wanted], get_args(wanted)
    if not isinstance(value, (list, tuple)):
        raise LoadError(f"{place} must be a list, not {toml(value)}", help=f"write [{toml(value)}]")
    if kind is tuple and args and args[-1] is not Ellipsis:
        if len(value) != len(args):
            raise LoadError(f"{place} must hold {len(args)} values, not {len(value)}", help=f"it wants {_told(wanted)}")
        inner = list(args)
    else:
        inner = [args[0] if args else Any] * len(value)
    return kind(_value(item, hint, f"{place}[{i}]") for i, (item, hint) in enumerate(zip(value, inner, strict=True)))


def _told(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint).replace("typing.", "")

"""Right keys and tables in the wrong arrangement: a level too high, in a list, with and without a name."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias, get_args

import attrs

from modelapp.document import Sources, key_name, related, table_name
from modelapp.problems import Edit, Problem
from modelapp.spans import KeyPath, Span
from modelapp.suggestions import toml, toml_key

Columns: TypeAlias = Callable[[type], Mapping[str, "attrs.Attribute[Any]"]]
KEPT_BELOW = "in TOML a key belongs to the last [header] above it"
_FIRST_STEP = 10
"""The share of the traffic that a canary gets first where a number of replicas was meant, in percent."""


def table_class(wanted: Any) -> type | None:
    """The class of a table, of an optional table, or of the tables of a mapping; None for anything else."""
    parts = (*get_args(wanted), wanted)
    return next((part for part in parts if isinstance(part, type) and attrs.has(part)), None)


def too_high(
    sources: Sources, columns: Columns, cls: type, name: str, table: Mapping[str, Any], path: KeyPath
) -> Problem | None:
    """A key that one of the tables below this one has: [deploy] drain_s is [deploy.rollout] drain_s."""
    if len(path) != 1:  # further down a table of the same key is an accident
        return None
    for inner, one in columns(cls).items():
        below = table_class(one.type)
        if below is not None and name in columns(below):
            return _moved_down(sources, name, (*path, name), (*path, inner))
    if path == ("deploy",) and name == "canary":
        return _canary(sources, table[name], (*path, name))
    return None


def beside(sources: Sources, place: KeyPath, name: KeyPath) -> KeyPath:
    """Where a path is written that stands in the same text as `place`: below the profile, if that says `place`."""
    layer = sources.layer(place)
    return name if layer is None else (*layer.below, *name)


def header_of(sources: Sources, place: KeyPath, home: KeyPath) -> Span | None:
    """The header of `home` in the profile, or in the rest of app.toml, that says `place`."""
    own = sources.located(place)[0] is sources.base
    return sources.base.spans.headers.get(beside(sources, place, home)) if own else None


def _moved_down(sources: Sources, name: str, place: KeyPath, home: KeyPath) -> Problem:
    where, inner = table_name(beside(sources, place, home)), str(home[-1])
    header, key = header_of(sources, place, home), sources.written(place, "key")
    inline = beside(sources, place, home) in sources.base.spans.values
    edit = _moved_inside(sources, place, home) if inline else moved(sources, place, home)
    if header is None and key is not None and not inline:
        edit = Edit(start=key.start, end=key.end, text=f"{inner}.{toml_key(name)}")
    advice = f"write {inner}.{name} = ..., or begin {where}"
    if header or inline:
        advice = f"move this line to directly under {where}" if header else f"move it into {inner} = {{ ... }}"
    return wrong_table(sources, name, place, home, advice, edit)


def wrong_table(sources: Sources, name: str, place: KeyPath, home: KeyPath, advice: str, edit: Edit | None) -> Problem:
    """The problem of a key that stands at `place` and belongs to the table `home`."""
    header = header_of(sources, place, home)
    return sources.problem(
        "MA012",
        f'"{name}" is in the wrong table',
        place,
        f"it is a key of {table_name(home)}",
        at="key",
        help=advice,
        related=(related(sources.base.text, header, "it belongs here"),) if header else (),
        edit=edit,
    )


def _canary(sources: Sources, value: Any, place: KeyPath) -> Problem:
    """Other systems count replicas; here a canary is a strategy, and its size shares of the traffic."""
    rollout: KeyPath = ("deploy", "rollout")
    wanted = f'strategy = "canary" and steps = [{_FIRST_STEP}, 100]'
    key, pair = sources.written(place, "key"), sources.written(place, "pair")
    edit = None
    if key and pair and not sources.base.holds(beside(sources, place, rollout)):
        text = f'rollout = {{ strategy = "canary", steps = [{_FIRST_STEP}, 100] }}'
        edit = Edit(start=key.start, end=pair.end, text=text)  # a dotted key keeps its head
    if value in (0, False):
        edit, wanted = sources.remove(place), "nothing: without it there is no canary"
    return sources.problem(
        "MA012",
        '"canary" is in the wrong table',
        place,
        "a canary is a strategy of [deploy.rollout]",
        at="key",
        help=f"write {wanted}" + (" in [deploy.rollout]" if edit is None or value else ""),
        notes=("steps are shares of the traffic, in percent",),
        edit=edit,
    )


def moved(sources: Sources, place: KeyPath, home: KeyPath) -> Edit | None:
    """The edit that takes the lines of a key to directly below a header; None where it shares them, or another text."""
    text, lines = sources.base.text, sources.lines(place)
    header = header_of(sources, place, home)
    if lines is None or header is None:
        return None
    below = text.find("\n", header.end) + 1 or len(text)
    newline = "\r\n" if "\r\n" in text else "\n"
    line = text[lines.start : lines.end].rstrip("\r\n") + newline
    if below <= lines.start:
        return Edit(start=below, end=lines.end, text=line + text[below : lines.start])
    between = text[lines.end : below]
    return Edit(start=lines.start, end=below, text=between + ("" if between.endswith("\n") else newline) + line)


def _moved_inside(sources: Sources, place: KeyPath, home: KeyPath) -> Edit | None:
    """The edit that takes a key into an inline table beside it."""
    text, pair, key = sources.base.text, sources.written(place, "pair"), sources.written(place, "key")
    out = sources.remove(place)
    into = sources.insert(home, text[key.start : pair.end]) if key and pair else None
    if out is None or into is None:
        return None
    first, second = sorted((out, into), key=lambda one: one.start)
    between = text[first.end : second.start]
    return Edit(start=first.start, end=second.end, text=first.text + between + second.text)


def in_a_list(sources: Sources, value: list[Any], path: KeyPath) -> Iterator[Problem]:
    """[[guarantees.latency]]: tables of this kind have names, so that a profile can change one of them."""
    taken: set[str] = set()
    for number, item in enumerate(value):
        place = (*path, number)
        header = sources.written(place, "header")
        if header is None or not isinstance(item, dict):
            yield sources.problem("MA013", f'"{key_name(path)}" must be tables', path, "these have no names")
            return
        name = _name_for(item, number, taken)
        taken.add(name)
        home = beside(sources, place, path)
        written = table_name(home if len(value) == 1 else (*home, name))
        label = "two pairs of brackets make a list of tables"
        yield sources.problem(
            "MA013",
            f'"{key_name(path)}" must be {"one table" if len(value) == 1 else "tables with names"}',
            place,
            label,
            at="header",
            help=f"write {written}" + ("" if len(value) == 1 else ", or another name"),
            edit=Edit(start=header.start, end=header.end, text=written),
        )


def _name_for(item: Mapping[str, Any], number: int, taken: set[str]) -> str:
    """What the table is about; a number where two are about the same."""
    name = next((str(item[key]) for key in ("endpoint", "model", "arm") if isinstance(item.get(key), str)), "")
    name = name or f"load-{number + 1}"
    return name if name not in taken else f"{name}-{number + 1}"


def mixed(sources: Sources, value: Mapping[str, Any], path: KeyPath, known: Mapping[str, Any]) -> Problem | None:
    """One table with keys of its own and named tables below it; whichever lies over the other is told."""
    below = {name: item for name, item in value.items() if isinstance(item, dict) and name not in known}
    named = [name for name, item in below.items() if item.keys() <= known.keys()]
    flat = [name for name, item in value.items() if not isinstance(item, dict) and name in known]
    if not named or not flat:
        return None
    layer_named, layer_flat = sources.layer((*path, named[0])), sources.layer((*path, flat[0]))
    message = f"{table_name(path)} is one table, and tables with names"
    if layer_flat is not None and layer_flat is not layer_named:
        return _flat_over_named(sources, message, path, flat[0], named[0])
    if layer_named is not None and layer_named is not layer_flat:
        return _named_over_flat(sources, message, path, named[0], value[named[0]])
    if header_of(sources, (*path, flat[0]), path) is None:
        return _flat_over_named(sources, message, path, flat[0], named[0])
    fresh = next(name for name in ("main", "first", "whole", *(f"main-{n}" for n in range(2, 99))) if name not in value)
    written = table_name((*beside(sources, (*path, flat[0]), path), fresh))
    return sources.problem(
        "MA013",
        message,
        path,
        "a name is missing",
        at="header",
        help=f"write {written}, or another name",
        related=sources.related((*path, named[0]), "this one has a name", "header"),
        edit=sources.replace(path, written, "header"),
    )


def _flat_over_named(sources: Sources, message: str, path: KeyPath, flat: str, named: str) -> Problem:
    place, written = (*path, flat), f"{toml_key(named)}.{toml_key(flat)}"
    return sources.problem(
        "MA013",
        message,
        place,
        "which of the tables?",
        at="key",
        help=f"write {path[-1]}.{written}",
        related=sources.related((*path, named), "this one has a name", "header"),
        edit=sources.replace(place, written, "key"),
    )


def _named_over_flat(sources: Sources, message: str, path: KeyPath, named: str, item: Mapping[str, Any]) -> Problem:
    place = (*path, named)
    key, inner = sources.written(place, "key"), sources.written((*place, next(iter(item), "")), "key")
    dotted = key and inner and sources.written(place, "header") is None and sources.written(place, "value") is None
    edit = Edit(start=key.start, end=inner.start, text="") if key and inner and dotted and len(item) == 1 else None
    return sources.problem(
        "MA013",
        message,
        place,
        "there are no names elsewhere",
        at="key",
        help=f"leave {toml(named)} out",
        related=sources.related(path, "one table", "header"),
        edit=edit,
    )

"""Where a key is at home that stands in a table which lacks it, and the edit that takes it there."""

from collections.abc import Iterator, Mapping
from typing import Any

from modelapp import arrangements
from modelapp.app import App, Model
from modelapp.arrangements import Columns, table_class
from modelapp.document import Sources, table_name
from modelapp.problems import Edit, Problem
from modelapp.spans import KeyPath
from modelapp.suggestions import toml_key


def at_home_elsewhere(
    sources: Sources, columns: Columns, name: str, table: Mapping[str, Any], path: KeyPath
) -> Problem | None:
    """[app] port is [server] port, a batch size in an endpoint its model's; None unless there is exactly one home."""
    homes = list(_homes(columns, name, table, path))
    if len(homes) != 1:
        return None
    place, home = (*path, name), homes[0]
    where = table_name(home)
    if arrangements.header_of(sources, place, home):
        advice, edit = f"move this line to directly under {where}", arrangements.moved(sources, place, home)
    else:
        advice, edit = f"begin {where} with it", _moved_to_the_end(sources, place, home)
    return arrangements.wrong_table(sources, name, place, home, advice, edit)


def singular(sources: Sources, name: str, near: str, table: Mapping[str, Any], place: KeyPath) -> Problem | None:
    """[endpoint.x] beside [endpoints.y]: tables that were to be among those; None where one could hide another."""
    mine, theirs = table.get(name), table.get(near)
    if not isinstance(mine, Mapping) or not isinstance(theirs, Mapping) or not mine.keys().isdisjoint(theirs):
        return None
    header = sources.written((*place, next(iter(mine), "")), "header")
    edit = None
    if header is not None and len(mine) == 1 and not _has_tables(next(iter(mine.values()))):
        start = sources.base.text.index(name, header.start, header.end)
        edit = Edit(start=start, end=start + len(name), text=toml_key(near))
    return sources.problem(
        "MA010",
        f'{table_name(place[:-1])} has no key "{name}"',
        place,
        "unknown key",
        at="key",
        help=f'did you mean "{near}"?',
        edit=edit,
    )


def _has_tables(table: Any) -> bool:
    """Whether it holds tables, which may have headers of their own."""
    return isinstance(table, Mapping) and any(isinstance(inner, Mapping) for inner in table.values())


def _homes(columns: Columns, name: str, table: Mapping[str, Any], path: KeyPath) -> Iterator[KeyPath]:
    if path[:1] == ("endpoints",) and len(path) == 2:
        model = table.get("model")
        if isinstance(model, str) and name in columns(Model):
            yield ("models", model)
            return
    for top, one in columns(App).items():
        inner = table_class(one.type)
        if inner is one.type and inner is not None and (top,) != path and name in columns(inner):
            yield (top,)


def _moved_to_the_end(sources: Sources, place: KeyPath, home: KeyPath) -> Edit | None:
    """The edit that begins a table of its own for the key, below all others; None where the table is there."""
    pair, key, out = sources.written(place, "pair"), sources.written(place, "key"), sources.remove(place)
    layer = sources.layer(place)
    if pair is None or key is None or out is None or layer is not None or sources.base.holds(home):
        return None
    text = sources.base.text
    newline = "\r\n" if "\r\n" in text else "\n"
    rest = text[out.end :]
    gap = "" if rest.endswith("\n") or not rest else newline
    written = f"{rest}{gap}{newline}{table_name(home)}{newline}{text[key.start : pair.end]}{newline}"
    return Edit(start=out.start, end=len(text), text=out.text + written)

"""Guarantees that a profile or an override loosens. Whoever shows a result names them beside it."""

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from modelapp.arrangements import table_class
from modelapp.document import Sources
from modelapp.guarantees import Guarantees
from modelapp.spans import KeyPath
from modelapp.suggestions import toml
from modelapp.tables import are_named, columns


@attrs.frozen
class Loosened:
    """A limit of app.toml that holds less than app.toml says. `by`: "profile laptop", "--set"."""

    key: str
    stated: Any
    now: Any
    by: str

    def __str__(self) -> str:
        return f"{self.key} {self.change}"

    @property
    def change(self) -> str:
        """What was done to it: "250 -> 2000 by profile laptop"."""
        stated = "none" if self.stated is None else toml(self.stated)
        return f"{stated} -> {toml(self.now)} by {self.by}"


def loosened(stated: Mapping[str, Any], now: Mapping[str, Any], sources: Sources) -> tuple[Loosened, ...]:
    """What `now`, the merged data, demands less than `stated`, the data of app.toml alone."""
    return tuple(
        Loosened(".".join(map(str, path)), before, after, layer.origin)
        for path, before, after, direction in _changed(
            Guarantees, stated.get("guarantees"), now.get("guarantees"), ("guarantees",)
        )
        if (layer := sources.layer(path)) is not None and _is_looser(before, after, direction)
    )


def _changed(cls: type, before: Any, after: Any, path: KeyPath) -> Iterator[tuple[KeyPath, Any, Any, str]]:
    """Every key whose value differs in a table that app.toml has too; a table it lacks promises nothing."""
    if not isinstance(before, Mapping) or not isinstance(after, Mapping):
        return
    for name, one in columns(cls).items():
        inner = table_class(one.type)
        if inner is None:
            stated = before.get(name, one.default)
            if name in after and after[name] != stated:
                yield (*path, name), stated, after[name], one.metadata.get("looser", "")
        elif one.metadata.get("one_or_named") and are_named(before.get(name)):
            for each, table in before[name].items():
                yield from _changed(inner, table, _below(after.get(name), each), (*path, name, each))
        else:
            yield from _changed(inner, before.get(name), after.get(name), (*path, name))


def _below(table: Any, name: str) -> Any:
    return table.get(name) if isinstance(table, Mapping) else None


def _is_looser(before: Any, after: Any, direction: str) -> bool:
    """Whether less is demanded. `direction`: "more" or "less" of the number is, or the word or truth value is.

    "other" is for what a guarantee is about: nothing is promised of the rest any more.
    """
    if direction == "other":
        return bool(after != "")
    if before is None or before is attrs.NOTHING or type(before) not in (int, float):
        return str(after).lower() == direction
    if type(after) not in (int, float):
        return False
    return bool(after > before) if direction == "more" else direction == "less" and bool(after < before)

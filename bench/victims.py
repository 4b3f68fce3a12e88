"""A valid app file that is to be broken, and where in it stand the keys that the file format owns."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

import attrs

from modelapp.app import App
from modelapp.document import position
from modelapp.loader import parse
from modelapp.plugins import Plugins
from modelapp.runtime import RawOptions
from modelapp.spans import KeyPath, Span, index
from modelapp.strict import without_none
from modelapp.tables import columns, plugin_column


@attrs.frozen
class Site:
    """A key that the file format owns, as it stands in a text. `cls`: the class of its table."""

    path: KeyPath
    cls: type
    one: "attrs.Attribute[Any] | None"
    complete: bool
    """Whether its table must have all that is required; that of a profile need not."""


class Victim:
    """A valid app file with all its sites."""

    def __init__(self, file: Path, plugins: Plugins) -> None:
        self.file, self.plugins = file, plugins
        self.text = file.read_text(encoding="utf-8")
        self.spans = index(self.text)
        self.data = parse(file, self.text)
        self.sites = list(self._table(App, self.data, (), complete=True))
        self.headers = {path: cls for path, cls in self._classes(App, self.data, ()) if path in self.spans.headers}

    def _table(self, cls: type, table: Mapping[str, Any], path: KeyPath, *, complete: bool) -> Iterator[Site]:
        keys = columns(cls)
        for name, value in table.items():
            place = (*path, name)
            if name in keys:
                yield Site(place, cls, keys[name], complete)
            for inner, below, at in self._below(cls, name, value, table, place):
                if inner is not None:
                    yield from self._table(inner, below, at, complete=complete and at[0] != "profiles")
            if self._options(cls, name, table) is not None:
                yield Site(place, cls, None, complete)

    def _below(
        self, cls: type, name: str, value: Any, table: Mapping[str, Any], place: KeyPath
    ) -> Iterator[tuple[type | None, Any, KeyPath]]:
        """The tables that a key's value is or holds."""
        one = columns(cls).get(name)
        if one is None:
            if (options := self._options(cls, name, table)) is not None and isinstance(value, dict):
                yield options, value, place
            return
        if cls is App and name == "profiles":
            for profile, below in value.items():
                yield App, {key: item for key, item in below.items() if key != "extends"}, (*place, profile)
            return
        wanted = without_none(one.type)
        inner = next((part for part in (*get_args(wanted), wanted) if isinstance(part, type) and _is_table(part)), None)
        if inner is None:
            return
        if isinstance(value, list):
            for number, item in enumerate(value):
                yield inner, item, (*place, number)
        elif get_origin(wanted) is None or (one.metadata.get("one_or_named") and not _are_tables(value)):
            if isinstance(value, dict):
                yield inner, value, place
        else:
            for each, item in value.items():
                if isinstance(item, dict):
                    yield inner, item, (*place, each)

    def _options(self, cls: type, name: str, table: Mapping[str, Any]) -> type | None:
        """The options class that a table of a plugin is read into, if its keys are known."""
        plugin = plugin_column(cls)
        if plugin is None or name != table.get(plugin.metadata["plugin"]):
            return None
        specs = self.plugins.runtimes if plugin.metadata["plugin"] == "runtime" else self.plugins.schedulers
        found = specs[name].options if name in specs else RawOptions
        return None if found is RawOptions else found

    def _classes(self, cls: type, table: Mapping[str, Any], path: KeyPath) -> Iterator[tuple[KeyPath, type]]:
        for name, value in table.items():
            for inner, below, at in self._below(cls, name, value, table, (*path, name)):
                if inner is not None:
                    yield at, inner
                    yield from self._classes(inner, below, at)

    def place(self, offset: int) -> tuple[int, int]:
        """Line and column."""
        return position(self.text, offset)

    def replaced(self, span: Span, text: str) -> str:
        """The text with other characters in the place of some."""
        return self.text[: span.start] + text + self.text[span.end :]


def _is_table(cls: type) -> bool:
    return attrs.has(cls) and bool(columns(cls))


def _are_tables(value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and all(isinstance(item, dict) for item in value.values())

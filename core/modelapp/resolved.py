"""The app as it is with a profile and overrides laid over it: every key with its value, and where that comes from."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from modelapp.app import App, Field
from modelapp.document import Sources, position, table_name
from modelapp.fieldtype import FieldType
from modelapp.profiles import PROFILES
from modelapp.runtime import RawOptions
from modelapp.spans import KeyPath
from modelapp.suggestions import toml_key
from modelapp.tables import columns, plugin_column
from modelapp.tomlstyle import Style

DEFAULT = "default"
_DEEPEST_HEADER = 3
"""How many words a header has at most; what lies deeper is written with dotted keys."""
_STYLE = Style()


@attrs.frozen
class Resolved:
    """One key with its value. `origin`: "app.toml:12", "profile prod, app.toml:40", "--set" or "default"."""

    path: KeyPath
    value: Any
    origin: str

    @property
    def key(self) -> str:
        """The path in words: models.story.runtime, tests[0].name."""
        words = [f"[{part}]" if isinstance(part, int) else f".{toml_key(part)}" for part in self.path]
        return "".join(words).removeprefix(".")


@attrs.frozen
class Table:
    """A table under a header of its own, with the keys right below it."""

    path: KeyPath
    keys: Sequence[Resolved]


def resolve(app: App, data: Mapping[str, Any], sources: Sources) -> list[Table]:
    """The tables of `data`, the merged file, in its order; `app` is what they were read into and knows the defaults.

    Profiles are left out: they have been laid over it, or have no say.
    """
    walk = _Walk(sources)
    walk.table(app, {name: value for name, value in data.items() if name != PROFILES}, ())
    return walk.tables


def document(tables: Sequence[Table]) -> str:
    """The tables as TOML, one key a line, each with its origin as a comment. It reads back as the same app."""
    return "\n".join("\n".join(_lines(table)) + "\n" for table in tables)


def _lines(table: Table) -> Iterator[str]:
    yield table_name(table.path)
    for one in table.keys:
        key = _STYLE.key(str(part) for part in one.path[len(table.path) :])
        yield f"{key} = {_STYLE.value(one.value)}  # {one.origin}"


class _Walk:
    """Collects tables; each knows what the file says of it, and the object that it was read into."""

    def __init__(self, sources: Sources) -> None:
        self.tables: list[Table] = []
        self._sources = sources

    def table(self, read: Any, data: Mapping[str, Any], path: KeyPath) -> None:
        """A table with a header, and those below it."""
        place = len(self.tables)
        inner: list[tuple[Any, Any, KeyPath]] = []
        keys = list(self._keys(read, data, path, inner))
        if keys or (path and not inner):
            self.tables.insert(place, Table(path, keys))
        for one, content, below in inner:
            if isinstance(content, list):
                for number, item in enumerate(content):
                    self.table(one[number], item, (*below, number))
            else:
                self.table(one, content, below)

    def _keys(
        self, read: Any, data: Mapping[str, Any], path: KeyPath, inner: list[tuple[Any, Any, KeyPath]]
    ) -> Iterator[Resolved]:
        """The keys of a table, those of small tables in it included; tables with headers go to `inner`."""
        has_headers = not any(isinstance(part, int) for part in path)
        for name, value, stated in _contents(read, data):
            below, one = (*path, name), _inside(read, name)
            is_table = isinstance(value, Mapping) and (stated or not value)
            if below == ("tests",) or (is_table and has_headers and len(below) <= _DEEPEST_HEADER):
                inner.append((one, value, below))
            elif is_table and (value or _defaults(one, value)):
                yield from self._keys(one, value, below, inner)
            else:
                yield Resolved(below, value, self._origin(below) if stated else DEFAULT)

    def _origin(self, path: KeyPath) -> str:
        layer = self._sources.layer(path)
        text, full = self._sources.located(path)
        if layer is not None and text is not self._sources.base:
            return layer.origin
        line = position(text.text, text.span(full, "key").start)[0]
        place = f"{text.file.name}:{line}"
        return place if layer is None else f"{layer.origin}, {place}"


def _contents(read: Any, data: Mapping[str, Any]) -> Iterator[tuple[str, Any, bool]]:
    """Key, value and whether the file states it: what stands in a table, then what is true of it without being said."""
    for name, value in data.items():
        yield name, value, True
    for name, value in _defaults(read, data).items():
        yield name, value, False


def _defaults(read: Any, data: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults worth telling: values, not their absence. {} stands for a table whose keys are all defaults."""
    if not attrs.has(type(read)) or isinstance(read, FieldType):
        return {}
    cls: type = type(read)
    of = {name: getattr(read, one.name) for name, one in columns(cls).items() if _has_meaning(read, name)}
    if (plugin := plugin_column(cls)) is not None:
        of.setdefault(getattr(read, plugin.metadata["plugin"]), _options(read, plugin))
    plain = {name: _plain(value) for name, value in of.items() if name not in data and name != PROFILES}
    return {
        name: value
        for name, value in plain.items()
        if value not in (None, "", [], {}) or (value == {} and _defaults(of[name], {}))
    }


def _has_meaning(read: Any, name: str) -> bool:
    """Whether a default says something of this table: the only one of a field belongs to tensors."""
    return not isinstance(read, Field) or (name == "dtype" and read.type.innermost == "tensor")


def _plain(value: Any) -> Any:
    """A default as TOML has it; None for what it cannot say, or need not."""
    if isinstance(value, str | int | float):
        return value
    if isinstance(value, tuple | list):
        items = [_plain(item) for item in value]
        return None if None in items else items
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        plain = {name: _plain(item) for name, item in value.items()}
        return None if None in plain.values() or not plain else plain
    return {} if attrs.has(type(value)) and not isinstance(value, FieldType) else None


def _inside(read: Any, name: str) -> Any:
    """What a key of a table was read into; None where that is a plain value or unknown."""
    if isinstance(read, Mapping):
        return read.get(name)
    if not attrs.has(type(read)):
        return None
    cls: type = type(read)
    one = columns(cls).get(name)
    if one is not None:
        found = getattr(read, one.name)
        is_only_one = one.metadata.get("one_or_named") and isinstance(found, Mapping) and found.keys() == {""}
        return found[""] if is_only_one else found
    plugin = plugin_column(cls)
    return _options(read, plugin) if plugin and getattr(read, plugin.metadata["plugin"]) == name else None


def _options(read: Any, plugin: "attrs.Attribute[Any]") -> Any:
    """The options of the plugin that a table chooses; None where they were not read into a class of their own."""
    found = getattr(read, plugin.name)
    return None if isinstance(found, RawOptions) else found

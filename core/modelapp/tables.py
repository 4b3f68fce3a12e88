"""The tables of app.toml read into their classes. All that is wrong is collected; what is right is kept."""

from collections.abc import Collection, Mapping, Sequence
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, get_args, get_origin

import attrs

from modelapp import strict
from modelapp.app import Field
from modelapp.document import Sources
from modelapp.fieldtype import FieldType
from modelapp.problems import Problem
from modelapp.runtime import RawOptions
from modelapp.spans import KeyPath
from modelapp.suggestions import closest

if TYPE_CHECKING:
    from modelapp.complaints import Around, Complaints

BROKEN: Any = object()
"""Stands for a value that was refused."""

_SHORTHAND: Mapping[type, str] = {Field: "type"}
"""Classes that a bare string stands for: it is the value of that one key."""
_LEAVES = (FieldType,)
NOTHING_MENTIONED: Mapping[str, Collection[str]] = {}
NOTHING_CHOSEN: Mapping[KeyPath, Collection[str]] = {}


@cache
def columns(cls: type) -> Mapping[str, "attrs.Attribute[Any]"]:
    """The attributes of a class that are keys of its table, by key; with resolved types."""
    resolved = attrs.fields(attrs.resolve_types(cls))
    special = {"from_header", "from_position", "plugin"}
    return {
        one.metadata.get("key", one.name): one for one in resolved if one.init and not special & one.metadata.keys()
    }


@cache
def plugin_column(cls: type) -> "attrs.Attribute[Any] | None":
    """The attribute that holds a plugin's options; its metadata says which key names the plugin."""
    return next((one for one in attrs.fields(cls) if "plugin" in one.metadata), None)


def are_named(value: Any) -> bool:
    """Whether what stands where one table or named ones may are named ones."""
    return isinstance(value, dict) and bool(value) and all(isinstance(item, dict) for item in value.values())


class Reader:
    """Reads tables. `plugins`: kind ("runtime") -> name -> options class.

    `mentioned`: kind -> names that the file chooses somewhere, in a profile perhaps; a table may bear such a name
    though no plugin of the name is installed. `choices`: the names that each table chooses itself.
    """

    def __init__(
        self,
        sources: Sources,
        plugins: Mapping[str, Mapping[str, type]],
        mentioned: Mapping[str, Collection[str]] = NOTHING_MENTIONED,
        choices: Mapping[KeyPath, Collection[str]] = NOTHING_CHOSEN,
    ) -> None:
        self.problems: list[Problem] = []
        self.pending: list[KeyPath] = []
        """What the file says that is read and not acted on yet; of a table and its keys, the table alone."""
        self.unchecked: list[KeyPath] = []
        """Options tables of plugins that are not installed."""
        self.unused: list[KeyPath] = []
        """Options tables of installed plugins that nothing chooses."""
        self._unsound: set[KeyPath] = set()
        """The paths of all that was refused, and of all that it stands in."""
        self._sources = sources
        self._plugins = plugins
        self._mentioned = mentioned
        self._choices = choices

    @cached_property
    def _complaints(self) -> "Complaints":
        from modelapp.complaints import Complaints  # spent only on a file with problems

        return Complaints(self._sources, columns)

    def read(self, cls: type, data: Mapping[str, Any], **given: Any) -> Any:
        """The whole file as an instance of `cls`, without what is broken; BROKEN where nothing is left."""
        return self._table(cls, data, (), (), given)

    def read_tables(self, cls: type, data: Mapping[str, Any]) -> Mapping[str, Any]:
        """A whole file of tables with names, or of what stands for one, without what is broken."""
        read: Mapping[str, Any] = self._mapping(cls, data, (), ())
        return read

    def is_sound(self, path: KeyPath) -> bool:
        """Whether nothing at or below a path was refused."""
        return path not in self._unsound

    def refuse(self, path: KeyPath, problem: Problem) -> Any:
        """Take up a problem of what a path says; gives BROKEN."""
        self._unsound.update(path[:length] for length in range(len(path) + 1))
        self.problems.append(problem)
        return BROKEN

    def _table(
        self, cls: type, value: Any, path: KeyPath, around: "Around", given: Mapping[str, Any], owner: str = ""
    ) -> Any:
        if not isinstance(value, dict):
            return self.refuse(path, self._complaints.no_table(cls, value, path))
        keys, plugin = columns(cls), plugin_column(cls)
        arguments = {**self._from_place(cls, path), **given}
        inside = (*around, (cls, path))
        if plugin is not None:
            arguments |= self._options(plugin, value, path, inside)
        strangers = [n for n in value if n not in keys and not (plugin and self._is_plugins(plugin, n, value, path))]
        for name in strangers:
            problem = self._complaints.unknown(cls, name, value, path, around, self._names(plugin), owner)
            self.refuse((*path, name), problem)
        for name, one in keys.items():
            if name in value:
                self._note_pending(one, (*path, name))
                read = self._value(one.type, value[name], (*path, name), inside, one)
                if read is not BROKEN:
                    arguments[one.alias or name] = read
            elif one.default is attrs.NOTHING and not any(closest(stranger, [name]) for stranger in strangers):
                # A misspelt key was told already; that it is missing too would be the same mistake twice.
                self.refuse((*path, name), self._missing(cls, name, value, path, inside))
        return self._built(cls, arguments, path)

    def _missing(self, cls: type, name: str, table: Mapping[str, Any], path: KeyPath, inside: "Around") -> Problem:
        """A key that must be there, and perhaps stands below the header of a plugin's options instead."""
        below = (key for key, item in table.items() if key not in columns(cls) and isinstance(item, dict))
        strayed = next((key for key in below if name in table[key]), None)
        if strayed is not None and plugin_column(cls) is not None:
            place = (*path, strayed)
            if problem := self._complaints.misplaced(name, (*place, name), inside, place):
                return problem
        return self._complaints.missing(cls, name, table, path)

    def _note_pending(self, one: "attrs.Attribute[Any]", path: KeyPath) -> None:
        if one.metadata.get("pending") and not any(path[: len(above)] == above for above in self.pending):
            self.pending.append(path)

    def _from_place(self, cls: type, path: KeyPath) -> dict[str, Any]:
        """The attributes that come from where the table stands."""
        names = {one.name: one.metadata for one in attrs.fields(cls)}
        found: dict[str, Any] = {}
        if "from_header" in names.get("name", {}):
            found["name"] = path[-1]
        if "from_position" in names.get("line", {}):
            found["line"] = self._sources.base.line(path)
        return found

    def _built(self, cls: type, arguments: Mapping[str, Any], path: KeyPath) -> Any:
        needed = (one.alias for one in attrs.fields(cls) if one.init and one.default is attrs.NOTHING)
        if any(name not in arguments for name in needed):
            return BROKEN
        try:
            return cls(**arguments)
        except (TypeError, ValueError) as error:
            # A validator of the class; those of attrs name the attribute.
            blamed = next((part.name for part in error.args[1:] if isinstance(part, attrs.Attribute)), None)
            place = path if blamed is None else (*path, blamed)
            return self.refuse(place, self._complaints.invalid(str(error.args[0] if error.args else error), place))

    def _names(self, plugin: "attrs.Attribute[Any] | None") -> Sequence[str]:
        return sorted(self._plugins.get(plugin.metadata["plugin"], {})) if plugin else ()

    def _is_plugins(self, plugin: "attrs.Attribute[Any]", name: str, table: Mapping[str, Any], path: KeyPath) -> bool:
        """Whether a key of a table is the options table of a plugin: of one installed, or of one that is chosen."""
        kind, place = plugin.metadata["plugin"], (*path, name)
        installed = name in self._names(plugin)
        chosen = name == table.get(kind) or name in self._mentioned.get(kind, ())
        if not installed and not chosen:
            return False
        if not isinstance(table[name], dict):
            self.refuse(place, self._complaints.no_table(None, table[name], place))
        elif not installed:
            self.unchecked.append(place)
        elif name != table.get(kind) and name not in self._choices.get(path, ()):
            self.unused.append(place)
        return True

    def _options(
        self, plugin: "attrs.Attribute[Any]", table: Mapping[str, Any], path: KeyPath, inside: "Around"
    ) -> dict[str, Any]:
        kind = plugin.metadata["plugin"]
        chosen = table.get(kind)
        cls = self._plugins.get(kind, {}).get(chosen) if isinstance(chosen, str) else None
        if cls is None or chosen is None or not isinstance(table.get(chosen, {}), dict):
            return {}
        options = table.get(chosen, {})
        if cls is RawOptions:
            return {plugin.name: RawOptions(values=options)}
        read = self._table(cls, options, (*path, chosen), inside, {}, f"the {chosen} {kind}")
        return {} if read is BROKEN else {plugin.name: read}

    def _value(
        self, wanted: Any, value: Any, path: KeyPath, around: "Around", one: "attrs.Attribute[Any] | None"
    ) -> Any:
        wanted = strict.without_none(wanted)
        origin, parts = get_origin(wanted), get_args(wanted)
        if wanted is Any:
            return value
        if one is not None and one.metadata.get("one_or_named"):
            return self._one_or_named(parts[1], value, path, around)
        if attrs.has(wanted) and wanted not in _LEAVES:
            short = _SHORTHAND.get(wanted)
            if short is None or not isinstance(value, str):
                return self._table(wanted, value, path, around, {})
            if self._leaf(columns(wanted)[short].type, value, path, None) is BROKEN:
                return BROKEN
            return self._table(wanted, {short: value}, path, around, {})
        if isinstance(origin, type) and issubclass(origin, Mapping):
            return self._mapping(parts[1], value, path, around)
        if origin in (list, Sequence) or (origin is tuple and parts[-1] is Ellipsis):
            return self._items(origin, parts[0], value, path, around)
        return self._leaf(wanted, value, path, one)

    def _one_or_named(self, cls: type, value: Any, path: KeyPath, around: "Around") -> Any:
        """One table, which is called "", or tables with names below it."""
        if are_named(value):
            return self._mapping(cls, value, path, around)
        if isinstance(value, list) and value:
            for problem in self._complaints.in_a_list(value, path):
                self.refuse(path, problem)
            return BROKEN
        named = isinstance(value, dict) and any(isinstance(item, dict) for item in value.values())
        if named and isinstance(value, dict) and (mixed := self._complaints.mixed(cls, value, path)):
            return self.refuse(path, mixed)
        read = self._table(cls, value, path, around, {})
        return read if read is BROKEN else {"": read}

    def _mapping(self, wanted: Any, value: Any, path: KeyPath, around: "Around") -> Any:
        if not isinstance(value, dict):
            return self.refuse(path, self._complaints.no_table(None, value, path))
        plain = len(path) == 1 and not all(isinstance(item, dict) for item in value.values())
        if plain and (problem := self._complaints.unnamed(wanted, value, path)):
            self.refuse(path, problem)
            value = {name: item for name, item in value.items() if isinstance(item, dict)}
        read: dict[str, Any] = {}
        for name, item in value.items():
            place = (*path, name)
            if not self._fits(wanted, item) and (problem := self._complaints.misplaced(name, place, around, path)):
                self.refuse(place, problem)
            elif (one := self._value(wanted, item, place, around, None)) is not BROKEN:
                read[name] = one
        return read

    def _fits(self, wanted: Any, item: Any) -> bool:
        """Whether an item of an open table can be what the table holds; if not, its key may belong elsewhere."""
        wanted = strict.without_none(wanted)
        if attrs.has(wanted) and wanted not in _LEAVES:
            short = _SHORTHAND.get(wanted)
            return isinstance(item, dict) or (short is not None and self._fits(columns(wanted)[short].type, item))
        if wanted is Any or get_origin(wanted) is not None:
            return True
        try:
            strict.structure(item, wanted, "")
        except strict.Refused:
            return False
        return True

    def _items(self, make: Any, wanted: Any, value: Any, path: KeyPath, around: "Around") -> Any:
        if not isinstance(value, list):
            return self.refuse(path, self._complaints.no_list(wanted, value, path))
        read = [self._value(wanted, item, (*path, number), around, None) for number, item in enumerate(value)]
        kept = [item for item in read if item is not BROKEN]
        return kept if make in (list, Sequence) else tuple(kept)

    def _leaf(self, wanted: Any, value: Any, path: KeyPath, one: "attrs.Attribute[Any] | None") -> Any:
        try:
            read = strict.structure(value, wanted, next(part for part in reversed(path) if isinstance(part, str)))
        except strict.Refused as refused:
            return self.refuse(path, self._complaints.refused(refused, path, one))
        beyond = one is not None and _is_beyond(read, one.metadata)
        if beyond and one and (problem := self._complaints.out_of_bounds(read, path, one)):
            return self.refuse(path, problem)
        return read


def _is_beyond(value: Any, bounds: Mapping[str, Any]) -> bool:
    low, high = bounds.get("min"), bounds.get("max")
    return (low is not None and value < low) or (high is not None and value > high)

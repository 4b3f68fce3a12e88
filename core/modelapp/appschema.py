"""The JSON Schema of app.toml, for editors: made from the classes it is read into and the installed plugins' options.

Draft 7, which every TOML editor reads. It refuses nothing that `modelapp check` accepts; what no schema can say (a
dangling reference, an unbalanced bracket in a type word) is left to `check`.
"""

import inspect
import json
import math
import re
from collections.abc import Collection, Mapping, Sequence, Set
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Protocol, TypeAlias, Union, get_args, get_origin

import attrs

from modelapp import fieldtype
from modelapp.app import App, Field
from modelapp.document import Document, problem_at
from modelapp.fieldtype import FieldType
from modelapp.problems import Problem
from modelapp.runtime import RawOptions, RuntimeSpec
from modelapp.scheduler import SchedulerSpec
from modelapp.spans import Span
from modelapp.strict import without_none
from modelapp.tables import NOTHING_MENTIONED, columns, plugin_column

Schema: TypeAlias = dict[str, Any]
FILE = "app.schema.json"
COMMAND = "modelapp schema --write"
DIRECTIVE = f"#:schema ./{FILE}"
"""The line at the top of app.toml by which an editor finds the schema."""

_DIRECTIVE = re.compile(rf"#:schema[ \t]+(\./)?{re.escape(FILE)}")
_ROOM = "#/definitions/"
_ANY_TABLE: Schema = {"type": "object", "additionalProperties": True}
_WORD = "|".join(fieldtype.WORDS)
_PLAIN: Mapping[Any, Schema] = {
    Any: {},
    str: {"type": "string"},
    Path: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    # Whether the brackets match is beyond a pattern.
    FieldType: {"type": "string", "pattern": rf"^\s*(list\[\s*)*({_WORD})(\s*\?)?(\s*\]\s*(\?)?)*\s*$"},
}
_LISTS = (tuple, list, Sequence, set, frozenset, Set)
_TABLES: Mapping[str, str] = {
    "App": "A model app: its models, its endpoints, and the tests that prove them.",
    "AppInfo": "What the app is called, and what it needs.",
    "Model": "A model: where it lies, which runtime opens it, and how requests share its runs.",
    "Endpoint": "A route that calls one model, a list of steps, or one of several models.",
    "AppTest": "An input and what must come out.",
    "Server": "Where the app listens, and what it lets in.",
    "Guarantees": "The numbers the app promises.",
    "Job": "Work beside requests: a batch over files, or a task.",
    "Deploy": "Where the app runs, and how a new release replaces the one that serves.",
}


class Installed(Protocol):
    """The plugins whose options the schema knows."""

    @property
    def runtimes(self) -> Mapping[str, RuntimeSpec]:
        """Runtime name -> its record."""
        ...

    @property
    def schedulers(self) -> Mapping[str, SchedulerSpec]:
        """Scheduler name -> its record."""
        ...


def app_schema(plugins: Installed, mentioned: Mapping[str, Collection[str]] = NOTHING_MENTIONED) -> Schema:
    """The schema of app.toml as plain JSON values.

    `mentioned`: kind -> plugins that the file chooses; of one that is not installed any options are allowed.
    """
    made = _Maker({"runtime": plugins.runtimes, "scheduler": plugins.schedulers}, mentioned)
    whole = made.table(App)
    whole["properties"]["profiles"] = {
        "description": "Keys laid over the rest of the file where --profile asks for them.",
        "type": "object",
        "additionalProperties": made.profile(),
    }
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$comment": f"Written by `{COMMAND}` from the installed plugins; not to be edited.",
        "title": "app.toml",
        **whole,
        "definitions": made.definitions,
    }


def schema_document(plugins: Installed, mentioned: Mapping[str, Collection[str]] = NOTHING_MENTIONED) -> str:
    """The schema as the text of a file: the same bytes wherever the same plugins are installed."""
    return json.dumps(app_schema(plugins, mentioned), indent=2, ensure_ascii=False) + "\n"


def stale(
    app_file: Document, plugins: Installed, mentioned: Mapping[str, Collection[str]] = NOTHING_MENTIONED
) -> Problem | None:
    """The warning for an app.toml whose first comments name a schema that is not there, or is not what it would be."""
    at = 0
    for line in app_file.text.splitlines(keepends=True):
        bare = line.removeprefix("\ufeff")
        if _DIRECTIVE.fullmatch(bare.rstrip()):
            break
        if bare.strip() and not bare.startswith("#"):
            return None
        at += len(line)
    else:
        return None
    message, label = f"{FILE} is not what it would be now", "written by another modelapp, or with other plugins"
    try:
        # As data: line ends and indentation may be another's choice.
        if json.loads(app_file.file.with_name(FILE).read_bytes()) == app_schema(plugins, mentioned):
            return None
    except OSError:
        message, label = f"there is no {FILE}", "editors refuse the whole file without it"
    except (ValueError, RecursionError):
        label = "it is not JSON"
    span = Span(at + len(line) - len(bare), at + len(line.rstrip()))
    return problem_at(app_file.file, app_file.text, span, "MA016", message, label, command=COMMAND, severity="warning")


class _Maker:
    """Makes schemas; tables that may be named from several places, or hold themselves, become `definitions`."""

    def __init__(
        self,
        plugins: Mapping[str, Mapping[str, RuntimeSpec] | Mapping[str, SchedulerSpec]],
        mentioned: Mapping[str, Collection[str]],
    ) -> None:
        self.definitions: dict[str, Schema] = {}
        self._plugins = plugins
        self._mentioned = mentioned
        self._names: dict[tuple[type, bool], str] = {}

    def profile(self) -> Schema:
        """A part of a whole file, which may extend another part."""
        part = self.table(App, partial=True)
        for name in ("tests", "profiles"):
            del part["properties"][name]
        extends = {"description": "the profile that comes first", "type": "string"}
        part["properties"] = {"extends": extends, **part["properties"]}
        return {**part, "description": "What is different elsewhere."}

    def table(self, cls: type, *, partial: bool = False) -> Schema:
        """The schema of a class's table; a partial one needs no key."""
        keys, plugin = columns(cls), plugin_column(cls)
        schema: Schema = {"description": _about(cls), "type": "object"}
        schema["properties"] = {name: self._key(one, partial) for name, one in keys.items()}
        needed = [name for name, one in keys.items() if one.default is attrs.NOTHING]
        if needed and not partial:
            schema["required"] = needed
        if plugin is not None:
            # A table's own key comes before a plugin of its name.
            schema["properties"] = self._options(plugin.metadata["plugin"], partial) | schema["properties"]
        schema["additionalProperties"] = False
        return schema

    def _options(self, kind: str, partial: bool) -> Schema:
        installed, found = self._plugins[kind], {}
        for name in sorted({*installed, *self._mentioned.get(kind, ())}):
            told = {"description": f'the options of the {kind} "{name}"'}
            if name not in installed or installed[name].options is RawOptions:
                found[name] = {**told, **_ANY_TABLE}
            else:
                found[name] = {**told, **self._named(installed[name].options, partial, f"{kind}-{name}")}
        return found

    def _key(self, one: "attrs.Attribute[Any]", partial: bool) -> Schema:
        if one.metadata.get("one_or_named"):
            schema = self._one_or_named(get_args(one.type)[1], partial)
        else:
            schema = self._value(one.type, partial)
        low, high = one.metadata.get("min"), one.metadata.get("max")
        bounds = {name: bound for name, bound in (("minimum", low), ("maximum", high)) if bound is not None}
        told = {"description": _doc(one)} if _doc(one) else {}
        default = _default(one)
        return {**told, **schema, **bounds, **({} if default is None else {"default": default})}

    def _one_or_named(self, cls: type, partial: bool) -> Schema:
        one = self._named(cls, partial)
        several = {"type": "object", "minProperties": 1, "additionalProperties": one}
        return {"oneOf": [one, several]}

    def _value(self, wanted: Any, partial: bool) -> Schema:
        wanted = without_none(wanted)
        origin, parts = get_origin(wanted), get_args(wanted)
        if wanted in _PLAIN:
            return dict(_PLAIN[wanted])
        if origin is Literal:
            return {"enum": list(parts)}
        if origin in (Union, UnionType):
            return {"anyOf": [self._value(part, partial) for part in parts]}
        if isinstance(origin, type) and issubclass(origin, Mapping):
            return {"type": "object", "additionalProperties": self._value(parts[1], partial) or True}
        if origin in _LISTS or wanted in _LISTS:
            return self._list(parts)
        if wanted is Field:
            return {"oneOf": [self._value(FieldType, partial), self._named(Field, partial)]}
        if attrs.has(wanted):
            return self._named(wanted, partial)
        return {}  # a plugin's own type, which its plugin reads

    def _list(self, parts: tuple[Any, ...]) -> Schema:
        """A profile replaces a list whole, so its items are never partial."""
        items = [self._value(part, partial=False) for part in parts if part is not Ellipsis]
        if len(items) == 1:
            return {"type": "array", "items": items[0]} if items[0] else {"type": "array"}
        return {"type": "array", "items": {"anyOf": items}} if items else {"type": "array"}

    def _named(self, cls: type, partial: bool, name: str = "") -> Schema:
        """A reference to the schema of a class's table."""
        partial = partial and _needs_a_key(cls)
        if (cls, partial) not in self._names:
            wanted = ("profile-" if partial else "") + (name or cls.__name__)
            taken = sum(re.fullmatch(rf"{re.escape(wanted)}(-\d+)?", known) is not None for known in self.definitions)
            self._names[cls, partial] = unique = f"{wanted}-{taken + 1}" if taken else wanted
            self.definitions[unique] = {}  # its place, should it hold itself
            self.definitions[unique] = self.table(cls, partial=partial)
        return {"$ref": _ROOM + self._names[cls, partial]}


def _needs_a_key(cls: type, around: tuple[type, ...] = ()) -> bool:
    """Whether a table, or one in it, has a key that must be there, so that a part of it is another schema."""
    if plugin_column(cls) is not None or any(one.default is attrs.NOTHING for one in columns(cls).values()):
        return True
    kinds = (without_none(one.type) for one in columns(cls).values())
    inner = ((get_args(kind) or (kind,))[-1] for kind in kinds)
    return any(attrs.has(one) and one not in (*around, cls) and _needs_a_key(one, (*around, cls)) for one in inner)


def _about(cls: type) -> str:
    """What a table is for, in one sentence."""
    first = (inspect.getdoc(cls) or "").partition("\n")[0]
    return _TABLES.get(cls.__name__, first) if cls.__module__.startswith("modelapp.") else first


def _doc(one: "attrs.Attribute[Any]") -> str:
    doc = str(one.metadata.get("doc", ""))
    return f"{doc} (no effect yet)" if doc and one.metadata.get("pending") else doc


def _default(one: "attrs.Attribute[Any]") -> Any:
    """The default as JSON; None where there is none, or an empty one, or one that JSON cannot hold."""
    value: Any = one.default
    if isinstance(value, attrs.Factory):  # type: ignore[arg-type] # attrs types it as a function
        value = None if value.takes_self else value.factory()
    if isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value)):
        return None if value == "" else value
    if not isinstance(value, tuple | list | dict) or not value:
        return None
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError):
        return None

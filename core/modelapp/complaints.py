"""What is said about a key or a value that app.toml may not have, and the edit that mends it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias, get_origin

import attrs

from modelapp import arrangements, homes
from modelapp.app import App
from modelapp.arrangements import Columns
from modelapp.document import Sources, key_name, table_name
from modelapp.problems import Edit, Problem
from modelapp.spans import KeyPath
from modelapp.strict import Refused, describe
from modelapp.suggestions import closest, tidy, toml, toml_key, unit_twin

Around: TypeAlias = tuple[tuple[type, KeyPath], ...]
"""The tables around a table, outermost first: class and path of each."""


class Complaints:
    """Builds problems about keys and values. `columns` gives the keys of a class."""

    def __init__(self, sources: Sources, columns: Columns) -> None:
        self._sources = sources
        self._columns = columns

    def unknown(
        self,
        cls: type,
        name: str,
        table: Mapping[str, Any],
        path: KeyPath,
        around: Around,
        plugins: Sequence[str] = (),
        owner: str = "",
    ) -> Problem:
        """A key that its table does not have. `plugins` are tables it may have, `owner` a plugin that reads it."""
        place, known = (*path, name), self._columns(cls)
        message = f'{table_name(path)} has no key "{name}"'
        twin = unit_twin(name, known)
        if twin and type(table[name]) in (int, float):
            return self._other_unit(message, place, twin.key, tidy(table[name] * twin.factor))
        if problem := self.misplaced(name, place, around, path):
            return problem
        near = closest(name, [word for word in (*known, *plugins) if self._is_free(word, table, place)])
        if not near and (found := self._strayed(cls, name, table, path)):
            return found
        notes = (f"these options belong to {owner}",) if owner else ()
        if near:
            return self._key_problem(
                "MA010", message, place, "unknown key", f'did you mean "{near}"?', self._rename(place, near), notes
            )
        notes = (f"its keys: {', '.join(known) or 'none'}", *notes, *self._elsewhere(name))
        return self._key_problem(
            "MA010", message, place, "unknown key", "remove it", self._sources.remove(place), notes
        )

    def _strayed(self, cls: type, name: str, table: Mapping[str, Any], path: KeyPath) -> Problem | None:
        """A key, or a table, that is at home somewhere else."""
        taken = closest(name, list(self._columns(cls)))
        if taken and (found := homes.singular(self._sources, name, taken, table, (*path, name))):
            return found
        return arrangements.too_high(self._sources, self._columns, cls, name, table, path) or homes.at_home_elsewhere(
            self._sources, self._columns, name, table, path
        )

    def _is_free(self, word: str, table: Mapping[str, Any], place: KeyPath) -> bool:
        """Whether a key may yet be written where `place` is: what another text says of it, this one may change."""
        twin = (*place[:-1], word)
        return word not in table or self._sources.layer(twin) is not self._sources.layer(place)

    def _elsewhere(self, name: str) -> Iterator[str]:
        """A hint where other tables have a key of that name."""
        for table, one in self._columns(App).items():
            wanted = arrangements.table_class(one.type)
            if wanted and name in self._columns(wanted):
                last: KeyPath = {tuple: (0,), type(None): ()}.get(get_origin(one.type) or type(None), ("NAME",))
                yield f"{table_name((table, *last))} has a key of this name"

    def _other_unit(self, message: str, place: KeyPath, twin: str, value: float) -> Problem:
        text = f"{twin} = {toml(value)}"
        key, pair = self._sources.written(place, "key"), self._sources.written(place, "pair")
        edit = Edit(start=key.start, end=pair.end, text=text) if key and pair else None  # a dotted key keeps its head
        return self._key_problem("MA011", message, place, f"this setting is called {twin}", f"write {text}", edit)

    def misplaced(self, name: str, place: KeyPath, around: Around, table: KeyPath) -> Problem | None:
        """A key of a table further out, typed below the header of an inner one."""
        home = next((path for cls, path in reversed(around) if path and name in self._columns(cls)), None)
        if home is None or home == table:
            return None
        where, what = table_name(home), {"input": "a request field", "output": "an answer field"}.get(str(table[-1]))
        return self._sources.problem(
            "MA012",
            f'"{name}" is in the wrong table',
            place,
            f'here it declares {what} called "{name}"' if what else f"here it is a key of {table_name(table)}",
            at="key",
            help=f"move this line up, directly under {where}",
            notes=(arrangements.KEPT_BELOW,),
            related=self._sources.related(home, "it belongs here"),
            edit=arrangements.moved(self._sources, place, home),
        )

    def missing(self, cls: type, name: str, table: Mapping[str, Any], path: KeyPath) -> Problem:
        """A key that must be there."""
        if not path:
            text = f'[{name}]\nname = "my-app"\n\n'
            start = 1 if self._sources.base.text.startswith("\ufeff") else 0
            edit = Edit(start=start, end=start, text=text)
            return self._sources.problem("MA014", f"[{name}] is missing", path, help=f"begin with [{name}]", edit=edit)
        guess = _guess(name, table, path)
        line = f"{name} = {guess or '...'}"
        return self._sources.problem(
            "MA014",
            f'{table_name(path)} needs "{name}"',
            path,
            f"{name} is missing",
            at="header",
            help=f"add {line}",
            notes=(f"{name}: {self._columns(cls)[name].metadata['doc']}",)
            if "doc" in self._columns(cls)[name].metadata
            else (),
            edit=self._sources.insert(path, line) if guess else None,
        )

    def refused(self, refused: Refused, path: KeyPath, one: "attrs.Attribute[Any] | None") -> Problem:
        """A value of the wrong type, or one that its key does not allow."""
        fix, default = refused.fix, one.default if one is not None else attrs.NOTHING
        note = ""
        if fix is None and isinstance(default, (bool, int, float, str)):
            fix, note = default, ", the default"
        if fix is not None:
            return self._replace(refused.code, refused.message, path, refused.label, fix, note, refused.notes)
        leave_out = default is None and self._sources.remove(path)
        return self._sources.problem(
            refused.code,
            f'"{key_name(path)}" {refused.message}',
            path,
            refused.label,
            help="remove it, it may be left out" if leave_out else "",
            edit=leave_out or None,
            notes=refused.notes,
        )

    def out_of_bounds(self, value: Any, path: KeyPath, one: "attrs.Attribute[Any]") -> Problem | None:
        """A number beyond the `min` or `max` of its key."""
        low, high = one.metadata.get("min"), one.metadata.get("max")
        if low is not None and value < low:
            return self._replace("MA021", f"must be at least {toml(low)}", path, "too small", low)
        if high is not None and value > high:
            return self._replace("MA021", f"must be at most {toml(high)}", path, "too large", high)
        return None

    def invalid(self, message: str, path: KeyPath) -> Problem:
        """A validator of a class said no."""
        return self._sources.problem("MA032", message, path, "refused")

    def no_table(self, cls: type | None, value: Any, path: KeyPath) -> Problem:
        """Something else where a table must stand."""
        header = self._sources.written((*path, 0), "header")
        edit, written = None, table_name(arrangements.beside(self._sources, (*path, 0), path))
        if header and isinstance(value, list) and len(value) == 1:
            edit = Edit(start=header.start, end=header.end, text=written)
        return self._sources.problem(
            "MA013" if header else "MA020",
            f'"{key_name(path)}" must be {"one table" if header else "a table"}',
            (*path, 0) if header else path,
            "two pairs of brackets make a list of tables" if header else describe(value),
            at="header" if header else "value",
            help=f"write {written}" if header or not cls else f"write {key_name(path)} = {{ ... }}",
            edit=edit,
        )

    def in_a_list(self, value: list[Any], path: KeyPath) -> Iterator[Problem]:
        """A list of tables where tables have names, or there is one alone; a problem for each header."""
        yield from arrangements.in_a_list(self._sources, value, path)

    def mixed(self, cls: type, value: Mapping[str, Any], path: KeyPath) -> Problem | None:
        """Named tables beside keys that stand in a table without a name; None where it is one or the other."""
        return arrangements.mixed(self._sources, value, path, self._columns(cls))

    def no_list(self, wanted: Any, value: Any, path: KeyPath) -> Problem:
        """Something else where a list must stand."""
        if isinstance(value, dict) and attrs.has(wanted):
            many = table_name((*arrangements.beside(self._sources, path, path), 0))
            single = self._sources.written(path, "header")
            label = "one pair of brackets makes a single table" if single else "these are named tables"
            return self._sources.problem(
                "MA013",
                f'"{key_name(path)}" must be a list of tables',
                path,
                label,
                at="header" if single else "key",
                help=f"write {many}" if single else f"write {many}, and the name below it",
                edit=self._sources.replace(path, many, "header"),
            )
        if isinstance(value, (str, bool, int, float)):
            return self._replace("MA020", "must be a list", path, describe(value), [value])
        return self._sources.problem("MA020", f'"{key_name(path)}" must be a list', path, describe(value))

    def unnamed(self, wanted: Any, value: Mapping[str, Any], path: KeyPath) -> Problem | None:
        """The keys of a named table, typed below a header without the name: [models] instead of [models.NAME]."""
        if not attrs.has(wanted) or self._sources.written(path, "header") is None or len(path) > 1:
            return None
        known, plain = self._columns(wanted), [name for name, item in value.items() if not isinstance(item, dict)]
        if not plain or any(name not in known for name in plain):
            return None
        fresh = next(name for name in ("main", "second", "third") if name not in value)
        named = table_name((*arrangements.beside(self._sources, path, path), fresh))
        return self._sources.problem(
            "MA013",
            f"{table_name(path)} holds tables with names",
            path,
            "a name is missing",
            at="header",
            help=f"write {named}, or another name",
            edit=self._sources.replace(path, named, "header"),
        )

    def _key_problem(
        self,
        code: str,
        message: str,
        place: KeyPath,
        label: str,
        advice: str,
        edit: Edit | None,
        notes: tuple[str, ...] = (),
    ) -> Problem:
        return self._sources.problem(code, message, place, label, at="key", help=advice, edit=edit, notes=notes)

    def _replace(
        self,
        code: str,
        message: str,
        path: KeyPath,
        label: str,
        value: Any,
        note: str = "",
        notes: tuple[str, ...] = (),
    ) -> Problem:
        key, text = key_name(path), toml(value)
        return self._sources.problem(
            code,
            f'"{key}" {message}',
            path,
            label,
            help=f"write {toml_key(path[-1])} = {text}{note}" if isinstance(path[-1], str) else f"write {text}{note}",
            edit=self._sources.replace(path, text),
            notes=notes,
        )

    def _rename(self, place: KeyPath, name: str) -> Edit | None:
        return self._sources.replace(place, toml_key(name), "key")


def _guess(name: str, table: Mapping[str, Any], path: KeyPath) -> str:
    """A value for a missing key where one suggests itself, in TOML; "" where none does."""
    source = str(table.get("source", ""))
    if name == "runtime":
        return next((toml(word) for end, word in ((".onnx", "onnx"), (".py", "python")) if end in source), "")
    if name == "name" and path == ("app",):
        return '"my-app"'
    if name == "name" and path[0] == "tests":
        return toml(f"test-{int(path[1]) + 1}")
    return ""

"""`fields_from`: the fields of a record in a TOML file of their own, one entry a field."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import tomli

from modelapp import fieldchecks, syntax
from modelapp.app import App, Endpoint, Field
from modelapp.document import Document, Sources, problem_at
from modelapp.errors import AppFileError
from modelapp.examination import Examination, InstalledPlugins
from modelapp.problems import Problem
from modelapp.spans import KeyPath, Span, index
from modelapp.tables import Reader


def _all(fields: Mapping[str, Field]) -> Iterator[Field]:
    for field in fields.values():
        yield field
        yield from _all(field.fields)


def filled(app: App, plugins: InstalledPlugins, reader: Reader) -> App:
    """The app with those fields read in. What is wrong in a file is told there, and noted with `reader`."""
    filler = _Filler(app, plugins, reader)
    endpoints = {name: filler.endpoint(one) for name, one in app.endpoints.items()}
    return attrs.evolve(app, endpoints=endpoints)


class _Filler:
    def __init__(self, app: App, plugins: InstalledPlugins, reader: Reader) -> None:
        self._app, self._plugins, self._reader = app, plugins, reader
        self._known: dict[str, Mapping[str, Field]] = {}

    def endpoint(self, endpoint: Endpoint) -> Endpoint:
        home: KeyPath = ("endpoints", endpoint.name)
        taken, given = self._fields(endpoint.input, (*home, "input")), self._fields(endpoint.output, (*home, "output"))
        return attrs.evolve(endpoint, input=taken, output=given)

    def _fields(self, fields: Mapping[str, Field], path: KeyPath) -> dict[str, Field]:
        return {name: self._field(field, (*path, name)) for name, field in fields.items()}

    def _field(self, field: Field, path: KeyPath) -> Field:
        if not field.fields_from or field.type.innermost != "record" or field.fields:
            return attrs.evolve(field, fields=self._fields(field.fields, (*path, "fields"))) if field.fields else field
        if field.fields_from not in self._known:
            self._known[field.fields_from] = self._read(field.fields_from, (*path, "fields_from"))
        return attrs.evolve(field, fields=self._known[field.fields_from])

    def _read(self, name: str, path: KeyPath) -> Mapping[str, Field]:
        file = self._app.root / name
        try:
            if not file.resolve().is_relative_to(self._app.root.resolve()):
                return {}  # told where the path stands
            document, data = _parsed(file)
        except (OSError, ValueError, RuntimeError):  # missing; a NUL; a circle of links
            return {}  # as above
        except AppFileError as error:
            self._note(path, error.problems)
            return {}
        inner = Reader(Sources(document), {})
        fields: Mapping[str, Field] = inner.read_tables(Field, data)
        exam = Examination(self._app, data, Sources(document), self._plugins, inner.is_sound)
        for one in fields.values():
            fieldchecks.check(exam, one, (one.name,))
        nested = [_nested(document, one) for one in _all(fields) if one.fields_from]
        problems = [*inner.problems, *(nested or exam.problems)]
        self._note(path, problems if data else [_empty(document)])
        return fields

    def _note(self, path: KeyPath, problems: Any) -> None:
        for problem in problems:
            self._reader.refuse(path, problem)


def _parsed(file: Path) -> tuple[Document, dict[str, Any]]:
    """Text and data. Raises OSError, and AppFileError where it is no TOML."""
    raw = file.read_bytes()
    try:
        text = raw.decode()
        data = tomli.loads(text.removeprefix("\ufeff"))
    except UnicodeDecodeError:
        message, advice = "the file is not UTF-8", "save it as UTF-8"
        raise AppFileError([Problem(code="MA003", message=message, file=file, line=0, column=0, help=advice)]) from None
    except (ValueError, RecursionError) as error:
        raise AppFileError([syntax.problem_of(file, raw.decode(), error)]) from None
    return Document(file, text, index(text)), data


def _nested(document: Document, field: Field) -> Problem:
    path = next(path for path in document.spans.keys if path[-1] == "fields_from" and field.name in path)
    message, label = "a file of fields names another", "its own fields stand here"
    return problem_at(document.file, document.text, document.span(path, "key"), "MA026", message, label)


def _empty(document: Document) -> Problem:
    message, label = "the file declares no field", 'one line a field, e.g. age = "int"'
    return problem_at(document.file, document.text, Span(0, 0), "MA014", message, label)

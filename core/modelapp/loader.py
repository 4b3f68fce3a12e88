"""Reads app.toml: text -> data -> classes -> checked references. Every problem found is told at once."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli

from modelapp import references
from modelapp.app import App
from modelapp.document import Document, Sources
from modelapp.errors import AppFileError, UsageError
from modelapp.examination import InstalledPlugins
from modelapp.problems import OVERRIDE, Problem, in_order
from modelapp.spans import Spans, index
from modelapp.tables import BROKEN, Reader

_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_NO_FILE = "go to the app's folder, or name it: modelapp -C DIR ..."


def load_app(path: Path, plugins: InstalledPlugins, *, overrides: Sequence[str] = ()) -> App:
    """Read app.toml with `overrides` ("server.port=8001", values in TOML) laid over it.

    Raises AppFileError with all that is wrong, UsageError for an override that cannot be read.
    """
    sources, data = read_sources(path, overrides)
    reader = Reader(sources, {"runtime": {name: spec.options for name, spec in plugins.runtimes.items()}})
    root = path.resolve().parent
    app: App = reader.read(App, data, root=root, path=path)
    if app is BROKEN:
        raise AppFileError(in_order(reader.problems))
    found = references.check(app, data, sources, plugins, reader.is_sound)
    if problems := [*reader.problems, *found]:
        raise AppFileError(in_order(problems))
    return app


def read_sources(path: Path, overrides: Sequence[str] = ()) -> tuple[Sources, dict[str, Any]]:
    """The texts an app is made of, indexed, and their merged data. Raises as `load_app` does, on the first fault."""
    text = _read(path)
    data = parse(path, text)
    documents = []
    for override in overrides:
        document, values = _override(override)
        documents.append(document)
        data = _merged(data, values)
    return Sources(Document(path, text, index(text)), documents), data


def parse(file: Path, text: str) -> dict[str, Any]:
    """The data of a TOML text. Raises AppFileError with its first syntax error."""
    try:
        return tomli.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError) as error:
        from modelapp import syntax  # 5 ms, spent only on a broken text

        raise AppFileError([syntax.problem_of(file, text, error)]) from None


def _read(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise _unreadable(path, f"there is no {path.name} in {path.parent.resolve()}", _NO_FILE) from None
    except IsADirectoryError:
        raise _unreadable(path, "this is a folder, not an app file", f"name the folder: modelapp -C {path}") from None
    except OSError as error:
        raise _unreadable(path, f"it cannot be read: {error.strerror}", "look at its permissions") from None
    if raw.startswith(_UTF16):
        raise _unreadable(path, "the file is UTF-16, TOML is UTF-8", "save it as UTF-8")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        column = len(raw[raw.rfind(b"\n", 0, error.start) + 1 : error.start].decode(errors="replace")) + 1
        message = f"the byte 0x{raw[error.start]:02x} is not UTF-8"
        source = raw.splitlines()[line - 1].decode(errors="replace")
        more = {"code": "MA003", "line": line, "column": column, "source": source, "label": "this byte"}
        raise _unreadable(path, message, "save it as UTF-8", **more) from None


def _unreadable(path: Path, message: str, advice: str, **more: Any) -> AppFileError:
    values = {"code": "MA000", "line": 0, "column": 0, **more}
    return AppFileError([Problem(message=message, file=path, help=advice, **values)])


def _override(text: str) -> tuple[Document, dict[str, Any]]:
    """One "key=value" of the command line. Raises UsageError that names it."""
    key, equals, value = text.partition("=")
    try:
        values = tomli.loads(text) if equals else {}
    except (tomli.TOMLDecodeError, RecursionError, ValueError) as error:
        quoted = f'{key.strip()}="{value.strip()}"'
        raise UsageError(
            f"--set {text} cannot be read: {getattr(error, 'msg', error)}",
            help=f"values are TOML, a text has quotes: --set '{quoted}'",
        ) from None
    spans = index(text) if values else Spans()
    if not spans.pairs or spans.headers:
        raise UsageError(f"--set {text} sets nothing", help="write --set KEY=VALUE, e.g. --set server.port=8001")
    if "tests" in values:
        raise UsageError(f"--set {text}: tests cannot be overridden", help="change them in app.toml")
    return Document(OVERRIDE, text, spans), values


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Tables merge, everything else is replaced."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged

"""Reads app.toml: text -> data -> classes -> checked references. Every problem found is told at once."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import attrs
import tomli

from modelapp import notices, profiles, references
from modelapp.app import SCHEMA_VERSION, App
from modelapp.document import Document, Layer, Sources
from modelapp.errors import AppFileError, UsageError
from modelapp.examination import InstalledPlugins
from modelapp.loosening import Loosened, loosened
from modelapp.mentions import choices, mentioned
from modelapp.problems import OVERRIDE, Problem, in_order
from modelapp.spans import Spans, index
from modelapp.tables import BROKEN, Reader

_UTF16 = (b"\xff\xfe", b"\xfe\xff")
Spare: TypeAlias = Collection[str]
_NO_FILE = "go to the app's folder, or name it: modelapp -C DIR ..."


@attrs.frozen(kw_only=True)
class Reading:
    """A valid app.toml as it was read. `data` are its merged tables, `profile` the one laid over it ("": none)."""

    app: App
    data: Mapping[str, Any]
    sources: Sources
    profile: str = ""
    notices: tuple[Problem, ...] = ()
    """What is worth saying about a file that is valid."""
    loosened: tuple[Loosened, ...] = ()
    """Guarantees that hold less than app.toml says."""


def load_app(
    path: Path, plugins: InstalledPlugins, *, profile: str = "", overrides: Sequence[str] = (), spare: Spare = ()
) -> App:
    """The app of `read_app`, which see."""
    return read_app(path, plugins, profile=profile, overrides=overrides, spare=spare).app


def read_app(
    path: Path, plugins: InstalledPlugins, *, profile: str = "", overrides: Sequence[str] = (), spare: Spare = ()
) -> Reading:
    """Read app.toml with a profile and then `overrides` ("server.port=8001", values in TOML) laid over it.

    Problems whose code is in `spare` are not held against it. Raises AppFileError with all that is wrong, UsageError
    for a profile that does not exist or an override that cannot be read.
    """
    base, data = read_data(path)
    return _read(base, data, plugins, profile, overrides, spare)


def check_app(path: Path, plugins: InstalledPlugins, *, profile: str = "", overrides: Sequence[str] = ()) -> Reading:
    """As `read_app`, and every profile of the file must be valid too. Raises as it does."""
    return check_data(*read_data(path), plugins, profile=profile, overrides=overrides)


def check_data(
    base: Document,
    data: dict[str, Any],
    plugins: InstalledPlugins,
    *,
    profile: str = "",
    overrides: Sequence[str] = (),
) -> Reading:
    """As `check_app`, of a text and what it says, which need not lie in the file yet."""
    problems = [*profiles.forbidden(base, data)]
    reading = None
    for each in dict.fromkeys((profile, "", *profiles.names(data))):
        try:
            found = _read(base, data, plugins, each, overrides if each == profile else ())
            reading = found if each == profile else reading
        except AppFileError as error:
            problems += [problem for problem in error.problems if problem not in problems]
    if problems or reading is None:
        raise AppFileError(in_order(problems))
    if "#:schema" in base.text:
        from modelapp import appschema  # 10 ms with the schema, spent only where one is kept

        if stale := appschema.stale(base, plugins, mentioned(data)):
            return attrs.evolve(reading, notices=tuple(in_order([stale, *reading.notices])))
    return reading


def read_data(path: Path, *, any_format: bool = False) -> tuple[Document, dict[str, Any]]:
    """app.toml as it stands, unchecked: its text and what that says.

    Raises AppFileError where it is no TOML, and, but for `any_format`, where its schema_version is another.
    """
    text = _text(path)
    data = parse(path, text)
    base = Document(path, text, index(text))
    if not any_format:
        _check_format(Sources(base), data)
    return base, data


def format_of(data: Mapping[str, Any]) -> Any:
    """The schema_version that a file states, of whatever type; 1 where it states none."""
    table = data.get("app")
    return table.get("schema_version", 1) if isinstance(table, dict) else 1


def _check_format(sources: Sources, data: Mapping[str, Any]) -> None:
    """Raise AppFileError where the format is older or newer; what else is wrong cannot be judged then."""
    version = format_of(data)
    if type(version) is int and version >= 1 and version != SCHEMA_VERSION:
        from modelapp import upgrade  # spent only where there is something to say

        raise AppFileError([upgrade.problem(sources, version, SCHEMA_VERSION)])


def _read(
    base: Document,
    data: dict[str, Any],
    plugins: InstalledPlugins,
    profile: str,
    overrides: Sequence[str],
    spare: Spare = (),
) -> Reading:
    sources, merged = _laid_over(base, data, profile, overrides)
    _check_format(sources, merged)
    options = {
        "runtime": {name: spec.options for name, spec in plugins.runtimes.items()},
        "scheduler": {name: spec.options for name, spec in plugins.schedulers.items()},
    }
    reader = Reader(sources, options, mentioned(data), choices(data))
    path = base.file
    app: App = reader.read(App, merged, root=path.resolve().parent, path=path)
    if app is BROKEN:
        raise AppFileError(in_order(reader.problems))
    if "fields_from" in base.text or overrides:
        from modelapp import fieldfiles  # spent only where there may be such a file

        app = fieldfiles.filled(app, plugins, reader)
    found = references.check(app, merged, sources, plugins, reader.is_sound)
    problems = [one for one in (*reader.problems, *found) if one.severity == "error" and one.code not in spare]
    if problems:
        raise AppFileError(in_order(problems))
    return Reading(
        app=app,
        data=merged,
        sources=sources,
        profile=profile,
        notices=tuple(in_order([*notices.all_of(sources, reader, merged), *_lesser(found)])),
        loosened=loosened(data, merged, sources) if sources.layers else (),
    )


def _lesser(found: Sequence[Problem]) -> list[Problem]:
    """Those that leave the file valid."""
    return [one for one in found if one.severity != "error"]


def _laid_over(
    base: Document, data: dict[str, Any], profile: str, overrides: Sequence[str]
) -> tuple[Sources, dict[str, Any]]:
    """All layers in their order, and the merged data. Raises as `read_app` does."""
    found, merged = [], dict(data)
    if profile:
        for layer, table in profiles.layers(base, data, profiles.known(data, profile)):
            found.append(layer)
            merged = _merged(merged, table)
    for override in overrides:
        document, values = _override(override)
        found.append(Layer(document, "--set"))
        merged = _merged(merged, values)
    return Sources(base, found), merged


def parse(file: Path, text: str) -> dict[str, Any]:
    """The data of a TOML text. Raises AppFileError with its first syntax error."""
    try:
        return tomli.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError) as error:
        from modelapp import syntax  # 5 ms, spent only on a broken text

        raise AppFileError([syntax.problem_of(file, text, error)]) from None


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise _unreadable(path, f"there is no {path.name} in {path.parent.resolve()}", _NO_FILE) from None
    except IsADirectoryError:
        raise _unreadable(path, "this is a folder, not an app file", f"name the folder: modelapp -C {path}") from None
    except NotADirectoryError:
        folder = path.parent.parent
        told = f"{path.parent} is a file, and -C takes the folder that it lies in"
        raise _unreadable(path, told, f"name the folder: modelapp -C {folder}") from None
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

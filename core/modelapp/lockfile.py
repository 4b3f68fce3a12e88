"""app.lock: the files, package files, recorded outputs and plugins that an app was last known to work with.

Sorted TOML with one block an item, so that branches merge; no time, no place and no digest of the whole, so that it is
the same wherever it is made.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import attrs
import tomli

from modelapp.document import At, Document, Sources, problem_at
from modelapp.errors import AppFileError, SurroundingsError
from modelapp.problems import Problem, in_order, shown
from modelapp.spans import KeyPath, Span, index
from modelapp.tomlstyle import Style
from modelapp.writeback import replace_file

LOCK = "app.lock"
LOCK_VERSION = 1
COMMAND = "modelapp lock"
"""What makes the file anew, whatever is in it."""
_HEAD = f"# Kept by `{COMMAND}`.\nlock_version = {LOCK_VERSION}\n"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_CONFLICT = re.compile(r"^(<{7}|={7}|>{7}|\|{7})( |\r?$)", re.MULTILINE)
_VERSION = re.compile(r"^lock_version[ \t]*=[ \t]*(\d+)[ \t]*\r?$", re.MULTILINE)


@attrs.frozen
class LockedFile:
    """[[file]]: a file beside app.toml; `path` is relative to it, with forward slashes."""

    path: str
    sha256: str
    size_bytes: int


@attrs.frozen
class LockedSource:
    """[[source]]: a file or folder in an installed package; `file` is its name in the model's `files`, "" the source.

    `sha256` of a folder covers its files and their names, `size_bytes` is their sum. `distribution` is "" where none
    claims the file.
    """

    model: str
    file: str
    source: str
    distribution: str
    version: str
    sha256: str
    size_bytes: int


@attrs.frozen
class Recorded:
    """[[recorded]]: the `expect_file` of a test, and what made it; `made_with` is empty where that is not known."""

    test: str
    sha256: str
    made_with: tuple[str, ...] = ()


@attrs.frozen
class LockedPlugin:
    """[[plugin]]: a distribution, other than modelapp, whose plugin the app uses."""

    name: str
    version: str


Block: TypeAlias = LockedFile | LockedSource | Recorded | LockedPlugin
B = TypeVar("B", LockedFile, LockedSource, Recorded, LockedPlugin)


@attrs.frozen
class Lock:
    """A whole app.lock. Its order means nothing; `render` sorts."""

    files: tuple[LockedFile, ...] = ()
    sources: tuple[LockedSource, ...] = ()
    recorded: tuple[Recorded, ...] = ()
    plugins: tuple[LockedPlugin, ...] = ()


TABLES: Mapping[str, str] = {"file": "files", "source": "sources", "recorded": "recorded", "plugin": "plugins"}
"""Table of app.lock -> attribute of Lock."""
_MAY_BE_ABSENT = ("file", "distribution", "version", "made_with")


def key_of(block: Block) -> tuple[str, ...]:
    """What a block is about; no two of a table are about the same."""
    if isinstance(block, LockedFile):
        return (block.path,)
    if isinstance(block, LockedSource):
        return (block.model, block.file, block.source)
    return (block.test,) if isinstance(block, Recorded) else (block.name,)


def read_lock(root: Path) -> Lock | None:
    """The app.lock of the folder `root`, None where there is none. Raises AppFileError for one that cannot be read."""
    path = root / LOCK
    text = read_text(path)
    return None if text is None else parse(path, text)


def read_text(path: Path) -> str | None:
    """The text of an app.lock, None where there is none. Raises AppFileError."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        return None
    except IsADirectoryError:
        raise AppFileError([_whole(path, "MA080", "app.lock is a folder", help="move it away")]) from None
    except OSError as error:
        message = f"app.lock cannot be read: {error.strerror}"
        raise AppFileError([_whole(path, "MA080", message, help="look at its permissions")]) from None
    except UnicodeDecodeError:
        raise AppFileError([_whole(path, "MA080", "app.lock is not UTF-8")]) from None


def parse(path: Path, text: str) -> Lock:
    """The lock that a text is. Raises AppFileError with all that is wrong with it."""
    check_version(path, text)
    if marker := _CONFLICT.search(text):
        raise AppFileError([_at_line(path, text, marker.start(), "app.lock holds the conflict of a merge")])
    try:
        data = tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        raise AppFileError([_at_line(path, text, error.pos, f"app.lock is no TOML: {error.msg}")]) from None
    except (ValueError, RecursionError) as error:
        raise AppFileError([_whole(path, "MA081", f"app.lock is no TOML: {error}")]) from None
    faults = _Faults()
    lock = _lock(data, faults)
    if faults.found:
        raise AppFileError(in_order(faults.placed(path, text)))
    return lock


def check_version(path: Path, text: str) -> None:
    """Raises AppFileError for an app.lock of a later format, also where the rest of it cannot be read."""
    for found in _VERSION.finditer(text):
        if int(found[1]) > LOCK_VERSION:
            problem = _at_line(path, text, found.start(), f"app.lock has the format {found[1]}, of a later modelapp")
            advice = f"this one knows the format {LOCK_VERSION}"
            raise AppFileError([attrs.evolve(problem, code="MA082", help=advice, command="pip install -U modelapp")])


def recorded_of(table: Any) -> Recorded | None:
    """A [[recorded]] block out of a file that is broken elsewhere; None where it is broken itself."""
    return _block(Recorded, table, (), _Faults())


def render(lock: Lock) -> str:
    """The text of app.lock."""
    parts = [_HEAD]
    for table, attribute in TABLES.items():
        for block in sorted(getattr(lock, attribute), key=key_of):
            values = {name: value for name, value in attrs.asdict(block).items() if value or name not in _MAY_BE_ABSENT}
            lines = [f"[[{table}]]", *(f"{name} = {Style().value(value)}" for name, value in values.items())]
            parts.append("".join(f"{line}\n" for line in lines))
    return "\n".join(parts)


def write_lock(root: Path, lock: Lock) -> None:
    """Write app.lock, whole or not at all. Raises SurroundingsError."""
    path = (root / LOCK).resolve()  # a link stays a link
    try:
        replace_file(path, render(lock).encode())
    except OSError as error:
        raise SurroundingsError(f"{shown(path)} cannot be written: {error.strerror}") from None


class _Faults:
    """What is wrong with the data of an app.lock; placed in its text only where there is something."""

    def __init__(self) -> None:
        self.found: list[tuple[KeyPath, At, str, str]] = []

    def add(self, path: KeyPath, message: str, label: str, at: At = "value") -> None:
        """Note one."""
        self.found.append((path, at, message, label))

    def placed(self, file: Path, text: str) -> Iterator[Problem]:
        """Each as a problem."""
        sources = Sources(Document(file, text, index(text)))
        for path, at, message, label in self.found:
            yield sources.problem("MA083", message, path, label, at=at, command=COMMAND)


def _lock(data: Mapping[str, Any], faults: _Faults) -> Lock:
    if type(data.get("lock_version")) is not int or data["lock_version"] < 1:
        faults.add(("lock_version",), "app.lock must say lock_version", "a whole number from 1")
    for name in data:
        if name not in (*TABLES, "lock_version"):
            faults.add((name,), f'app.lock has no "{name}"', "not known", "key")
    return Lock(
        files=_blocks(LockedFile, data, "file", faults),
        sources=_blocks(LockedSource, data, "source", faults),
        recorded=_blocks(Recorded, data, "recorded", faults),
        plugins=_blocks(LockedPlugin, data, "plugin", faults),
    )


def _blocks(kind: type[B], data: Mapping[str, Any], name: str, faults: _Faults) -> tuple[B, ...]:
    path: KeyPath = (name,)
    tables = data.get(name, [])
    if not isinstance(tables, list):
        faults.add(path, f'"{name}" must be a list of tables', f"write [[{name}]]")
        return ()
    found: dict[tuple[str, ...], B] = {}
    for number, table in enumerate(tables):
        block = _block(kind, table, (*path, number), faults)
        if block is not None and key_of(block) in found:
            faults.add((*path, number), f"app.lock has this [[{name}]] twice", "again here", "header")
        if block is not None:
            found[key_of(block)] = block
    return tuple(found.values())


def _block(kind: type[B], table: Any, path: KeyPath, faults: _Faults) -> B | None:
    if not isinstance(table, Mapping):
        faults.add(path, "app.lock holds something else than tables", "not a table")
        return None
    before = len(faults.found)
    values: dict[str, Any] = {}
    for field in attrs.fields(kind):
        if field.name in table:
            values[field.name] = _value(field.name, table[field.name], (*path, field.name), faults)
        elif field.name in _MAY_BE_ABSENT and kind is not LockedPlugin:
            values[field.name] = () if field.name == "made_with" else ""
        else:
            faults.add(path, f'"{field.name}" is missing', "not complete", "header")
    for name in table.keys() - {field.name for field in attrs.fields(kind)}:
        faults.add((*path, name), f'app.lock has no key "{name}" here', "not known", "key")
    return kind(**values) if len(faults.found) == before else None


def _value(name: str, value: Any, path: KeyPath, faults: _Faults) -> Any:
    if name == "size_bytes":
        sound, wanted = type(value) is int and value >= 0, "a whole number from 0"
    elif name == "made_with":
        sound, wanted = isinstance(value, list) and all(isinstance(one, str) for one in value), "a list of strings"
    elif name == "sha256":
        sound, wanted = isinstance(value, str) and _SHA256.fullmatch(value) is not None, "64 of 0-9 and a-f"
    else:
        sound, wanted = isinstance(value, str), "a string"
    if not sound:
        faults.add(path, f'"{name}" must be {wanted}', f"not {wanted}")
    return tuple(value) if isinstance(value, list) else value


def _at_line(path: Path, text: str, start: int, message: str) -> Problem:
    """A problem with the text as a whole, told at one of its lines."""
    end = text.find("\n", start)
    return problem_at(path, text, Span(start, len(text) if end < 0 else end), "MA081", message, command=COMMAND)


def _whole(path: Path, code: str, message: str, **more: Any) -> Problem:
    values = {"line": 0, "column": 0, "command": "" if "help" in more else COMMAND, **more}
    return Problem(code=code, message=message, file=path, **values)

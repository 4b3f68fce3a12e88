"""Edits of a TOML file that leave every other byte as it is: text is spliced, no document is written anew."""

import contextlib
import copy
import difflib
import itertools
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli

from modelapp import splicing
from modelapp.document import Document
from modelapp.errors import SurroundingsError
from modelapp.problems import shown
from modelapp.rewriting import Rewriting, found, identical, is_tables, parsed
from modelapp.spans import KeyPath, index
from modelapp.tomlstyle import Style


class Draft:
    """A document being edited. Every edit is proven: the text must read back as exactly the data meant.

    Paths are those of the span index: keys, and numbers for items. Nothing reaches the disk before `write`.
    """

    def __init__(self, document: Document) -> None:
        self._file = document.file
        self._read = self._text = document.text
        self._data = parsed(document.text)

    @property
    def text(self) -> str:
        """The text with all edits so far."""
        return self._text

    @property
    def data(self) -> Mapping[str, Any]:
        """What the text says; not to be changed."""
        return self._data

    @property
    def document(self) -> Document:
        """The text as it is now, with its index."""
        return Document(self._file, self._text, index(self._text))

    def set(self, path: KeyPath, value: Any) -> None:
        """Replace a value in its place, or add the key at the end of its table, which is made where there is none.

        Raises ValueError for a path that leads through something else than tables and existing items, and for a
        value that TOML cannot hold.
        """
        meant: Any = copy.deepcopy(self._data)
        around = meant
        for part, following in itertools.pairwise(path):
            if isinstance(around, dict) and isinstance(following, str):
                around.setdefault(part, {})
            around = _below(around, part, path)
        if not isinstance(around, dict) or not isinstance(path[-1], str):
            _below(around, path[-1], path)
            if path in index(self._text).headers and not isinstance(value, Mapping):
                raise ValueError(f"{_name(path)} is a table")
        Style().value(value)
        around[path[-1]] = copy.deepcopy(value)
        text = Rewriting(self._text)
        text.put(path, value)
        self._accept(text.text, meant)

    def remove(self, path: KeyPath) -> None:
        """Take out a key, a table with all below it, or an item. A comment above a key stays, one above a table goes.

        A table or list that only what is gone made goes too. Raises ValueError where there is nothing.
        """
        meant: Any = copy.deepcopy(self._data)
        chain = [meant]
        for part in path:
            chain.append(_below(chain[-1], part, path))
        text = Rewriting(self._text)
        written = text.spans.headers.keys() | text.spans.values.keys()
        for length in range(len(path), 0, -1):
            del chain[length - 1][path[length - 1]]
            if chain[length - 1] or path[: length - 1] in written:
                break
        text.take(path)
        self._accept(text.text, meant)

    def move(self, path: KeyPath, to: KeyPath) -> None:
        """Give a key or a table another name or place. A table with headers of its own keeps all that is written in it.

        Raises ValueError where there is nothing, and where something is at the new place.
        """
        if found(self._data, to) is not None:
            raise ValueError(f"{_name(to)} is there already")
        plain = copy.copy(self)
        plain.set(to, _at(self._data, path))
        plain.remove(path)
        text, spans = self._text, index(self._text)
        for edit in splicing.renaming(text, spans, path, to):
            text = edit.apply(text)
        try:
            kept = identical(parsed(text), plain.data)
        except tomli.TOMLDecodeError:
            kept = False
        self._accept(text if kept else plain.text, dict(plain.data))

    def append(self, table: str, values: Mapping[str, Any]) -> None:
        """Add an item to a list of tables: a [[table]] block after the last one, or an item of an inline list.

        Raises ValueError where the name is taken by something else, and for values that TOML cannot hold.
        """
        meant = copy.deepcopy(self._data)
        if not is_tables(meant.setdefault(table, [])):
            raise ValueError(f"{table} is no list of tables")
        Style().value(values)
        meant[table].append(copy.deepcopy(dict(values)))
        text = Rewriting(self._text)
        text.add_item((table,), values)
        self._accept(text.text, meant)

    def _accept(self, text: str, meant: dict[str, Any]) -> None:
        if not identical(parsed(text), meant):
            raise RuntimeError(f"an edit of {self._file} would not read back as it was meant")
        self._text, self._data = text, meant

    def diff(self) -> str:
        """What the edits change, as a unified diff; "" where nothing."""
        before, after = (text.replace("\r\n", "\n").removesuffix("\n").split("\n") for text in (self._read, self._text))
        name = shown(self._file)
        return "\n".join(difflib.unified_diff(before, after, name, name, lineterm=""))

    def check(self) -> None:
        """Raise SurroundingsError where the file is no longer what was read, or cannot be read."""
        try:
            unchanged = self._file.read_bytes() == self._read.encode()
        except OSError as error:
            raise self._unwritable(error) from None
        if not unchanged:
            message = f"{shown(self._file)} has changed on disk since it was read"
            raise SurroundingsError(message, help="nothing was written: run it again")

    def write(self) -> None:
        """Put the text in the file's place, whole or not at all, with the file's permissions. Raises as `check`."""
        self.check()
        if self._text == self._read:
            return
        try:
            replace_file(self._file.resolve(), self._text.encode())  # a link stays a link
        except OSError as error:
            raise self._unwritable(error) from None
        self._read = self._text

    def _unwritable(self, error: OSError) -> SurroundingsError:
        return SurroundingsError(f"{shown(self._file)} cannot be written: {error.strerror}")


def replace_file(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; one that is there keeps its permissions. Raises OSError."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        with contextlib.suppress(FileNotFoundError):
            umask = 0o777 & ~path.stat().st_mode
        Path(name).chmod((0o777 if path.exists() else 0o666) & ~umask)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _at(data: Any, path: KeyPath) -> Any:
    for part in path:
        data = _below(data, part, path)
    return data


def _below(around: Any, part: str | int, path: KeyPath) -> Any:
    if isinstance(around, dict) and isinstance(part, str) and part in around:
        return around[part]
    if isinstance(around, list) and isinstance(part, int) and 0 <= part < len(around):
        return around[part]
    raise ValueError(f"there is no {_name(path)}: nothing is at {part!r}")


def _name(path: KeyPath) -> str:
    return ".".join(map(str, path))

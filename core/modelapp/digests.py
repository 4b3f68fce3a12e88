"""SHA-256 of files and folders, remembered by path, size and times, so that a large model is read once."""

import contextlib
import errno
import hashlib
import json
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path

_SETTLED_NS = 2_000_000_000
"""A file changed within this time may change again without its times showing it; it is not remembered."""


SIGNATURES = "signatures"
"""The folder below `cache_dir` for what is known of models that ran here."""


def cache_dir() -> Path:
    """The folder for what may be thrown away at any time: XDG_CACHE_HOME or ~/.cache, and modelapp."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "modelapp"


def files_below(folder: Path) -> Iterator[Path]:
    """Every file of a folder and the folders below it, sorted, symbolic links followed, those to nowhere included.

    Hidden ones and __pycache__ are left out: file managers, editors and Python put them there, differently on each
    machine.
    """
    seen: set[str] = set()
    found: list[Path] = []
    for parent, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(parent)
        if real in seen:  # a link that leads back up
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not name.startswith(".") and name != "__pycache__"]
        paths = (Path(parent, name) for name in files if not name.startswith("."))
        found += [path for path in paths if path.is_file() or not path.exists()]
    yield from sorted(found)


class Digests:
    """Digests with a memory in `path`. A memory that cannot be read or written costs time, never correctness.

    A file larger than `most_bytes` that is not remembered is not read: it raises OSError.
    """

    def __init__(self, path: Path | None = None, *, most_bytes: float = math.inf) -> None:
        self._path = path or cache_dir() / "digests.json"
        self._most_bytes = most_bytes
        self._known = self._read()
        self._changed = False

    def _read(self) -> dict[str, list[str]]:
        try:
            known = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return known if isinstance(known, dict) else {}

    def file(self, path: Path) -> str:
        """The SHA-256 of a file, in hexadecimal. Raises OSError."""
        stat = path.stat()
        key = str(path.resolve())
        stamp = f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_ino}"
        match self._known.get(key):
            case [known_stamp, str(known)] if known_stamp == stamp:
                return known
        if stat.st_size > self._most_bytes:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if time.time_ns() - max(stat.st_mtime_ns, stat.st_ctime_ns) > _SETTLED_NS:
            self._known[key] = [stamp, digest]
            self._changed = True
        return digest

    def tree(self, path: Path) -> str:
        """The digest of a file, or of a folder's files and their names below it. Raises OSError."""
        if path.is_file():
            return self.file(path)
        digest = hashlib.sha256(b"folder\n")
        for below in files_below(path):
            digest.update(f"{below.relative_to(path).as_posix()}\0{self.file(below)}\n".encode())
        return digest.hexdigest()

    def save(self) -> None:
        """Write the memory, whole or not at all."""
        if not self._changed:
            return
        draft = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            draft.write_text(json.dumps(self._known), encoding="utf-8")
            draft.replace(self._path)

"""Which files of an app's folder change. Told in bunches, each after a moment of quiet."""

import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

_QUIET_MS = 50
"""How long nothing must happen, twice: editors empty a file and then write it, or write beside it and rename."""
_IGNORED = frozenset({"__pycache__", "node_modules", "venv"})


def changes(root: Path, stop: threading.Event) -> Iterator[frozenset[str]]:
    """The files changed since the last time, as paths below `root`, until `stop` is set. Raises OSError.

    A link changes with what it leads to, wherever that lies.
    """
    from watchfiles import watch  # a library with threads of its own, for whoever watches

    home = root.resolve()
    links = _links(home)
    while not stop.is_set():
        outside = {real for real in links.values() if real.exists() and not real.is_relative_to(home)}
        watched = watch(
            home, *sorted(outside), watch_filter=None, step=_QUIET_MS, stop_event=stop, raise_interrupt=False
        )
        with closing(watched) as bunches, _told_as_oserror():
            for bunch in bunches:
                paths = {Path(path) for _, path in bunch}
                before, links = links, _links(home)
                if names := frozenset(_names(paths, home, links, before)):
                    settle(home, names, stop)
                    yield names
                # A file that was replaced is watched no more; and links may lead elsewhere now.
                if links != before or not outside.isdisjoint(paths):
                    break


@contextmanager
def _told_as_oserror() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # what the library has for limits of the system
        raise OSError(str(error)) from None


def is_wanted(path: Path) -> bool:
    """Whether a file below the app's folder may matter: not hidden, not a cache, not an editor's draft."""
    hidden = any(part.startswith(".") or part in _IGNORED for part in path.parts)
    return not hidden and not path.name.endswith(("~", ".swp", ".tmp"))


def _links(home: Path) -> dict[Path, Path]:
    """Every link below the folder -> the file or folder it leads to in the end."""
    return {path: Path(os.path.realpath(home / path)) for path in _below(home, home) if (home / path).is_symlink()}


def _below(folder: Path, home: Path) -> Iterator[Path]:
    """The files below a folder of the app's that may matter, and links to folders."""
    for parent, folders, files in os.walk(folder):
        here = Path(parent).relative_to(home)
        folders[:] = [name for name in folders if is_wanted(Path(name))]
        linked = [name for name in folders if Path(parent, name).is_symlink()]
        yield from (here / name for name in (*linked, *files) if is_wanted(Path(name)))


def _names(paths: Iterable[Path], home: Path, links: Mapping[Path, Path], before: Mapping[Path, Path]) -> Iterator[str]:
    """What changed paths are called below the folder; of a folder, the files in it."""
    found = {path.relative_to(home) for path in paths if path.is_relative_to(home)}
    for link, real in links.items():
        found |= {link / path.relative_to(real) for path in paths if path.is_relative_to(real)}
        if before.get(link) != real:
            found.add(link)
    for name in filter(is_wanted, found):
        if (home / name).is_dir():
            yield from (path.as_posix() for path in _below(home / name, home))
        else:
            yield name.as_posix()


def settle(home: Path, names: Iterable[str], stop: threading.Event) -> None:
    """Wait until nobody writes to the files any more: a large one takes its time."""
    seen: list[tuple[int, int] | None] = []
    while (now := [_stamp(home / name) for name in names]) != seen and not stop.wait(_QUIET_MS / 1000):
        seen = now


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_size, stat.st_mtime_ns

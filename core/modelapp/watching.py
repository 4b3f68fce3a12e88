"""Which files of an app's folder change. Told in bunches, each after a moment of quiet."""

import threading
from collections.abc import Iterator
from pathlib import Path

_QUIET_MS = 100
"""How long nothing must happen: editors empty a file and then write it, or write beside it and rename."""
_IGNORED = frozenset({"__pycache__", "node_modules", "venv"})


def changes(root: Path, stop: threading.Event) -> Iterator[frozenset[str]]:
    """The files changed since the last time, as paths below `root`, until `stop` is set. Raises OSError."""
    from watchfiles import watch  # a library with threads of its own, for whoever watches

    home = root.resolve()
    for found in watch(home, watch_filter=None, step=_QUIET_MS, stop_event=stop, raise_interrupt=False):
        paths = {Path(path).relative_to(home) for _, path in found if Path(path).is_relative_to(home)}
        if wanted := frozenset(path.as_posix() for path in paths if is_wanted(path)):
            yield wanted


def is_wanted(path: Path) -> bool:
    """Whether a file below the app's folder may matter: not hidden, not a cache, not an editor's draft."""
    hidden = any(part.startswith(".") or part in _IGNORED for part in path.parts)
    return not hidden and not path.name.endswith(("~", ".swp", ".tmp"))

"""What a replica tells its parent: one JSON object a line, on a pipe of its own."""

import json
import os
from typing import Any, Literal, get_args

import attrs

Kind = Literal[
    "loading", "loaded", "failed", "ready", "reloaded", "unchanged", "kept", "restart", "draining", "stopped"
]
"""After SIGHUP one of: reloaded, unchanged (no answer differs), kept (the files are broken), restart (is needed)."""
_KINDS = get_args(Kind)
_TEXTS = ("model", "runtime", "device", "release", "reason", "help", "place")


@attrs.frozen(kw_only=True)
class Event:
    """One event. `model` is "" where it is about the whole replica; `seconds` is how long the model took to load.

    `place` is the file:line at fault in the app's own code.
    """

    kind: Kind
    model: str = ""
    runtime: str = ""
    seconds: float = 0.0
    device: str = ""
    notes: tuple[str, ...] = ()
    release: str = ""
    reason: str = ""
    help: str = ""
    place: str = ""


def parse(line: bytes) -> Event | None:
    """Read one line; None for what is no event, so that a newer replica's events do not break an older parent."""
    try:
        found: Any = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or found.get("event") not in _KINDS:
        return None
    texts = {name: str(found[name]) for name in _TEXTS if found.get(name)}
    seconds, notes = found.get("seconds"), found.get("notes")
    return Event(
        kind=found["event"],
        seconds=float(seconds) if isinstance(seconds, int | float) else 0.0,
        notes=tuple(map(str, notes)) if isinstance(notes, list) else (),
        **texts,
    )


class Reporter:
    """The replica's end of the pipe; without one, nothing is told."""

    def __init__(self, fd: int | None) -> None:
        self._fd = fd

    def tell(self, kind: Kind, **facts: Any) -> None:
        """Tell one event; `facts` are the fields of `Event`. A parent that is gone is the lifeline's business."""
        if self._fd is None:
            return
        try:
            os.write(self._fd, json.dumps({"event": kind, **facts}).encode() + b"\n")
        except OSError:
            self._fd = None

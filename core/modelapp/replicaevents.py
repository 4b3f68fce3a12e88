"""What a replica tells its parent: one JSON object a line, on a pipe of its own."""

import json
import os
from typing import Any, Literal, get_args

import attrs

Kind = Literal[
    "loading", "loaded", "failed", "ready", "beat", "reloaded", "unloaded", "unchanged", "kept", "restart", "draining",
    "stopped",
]  # fmt: skip
"""`beat` comes again and again while the event loop turns. After SIGHUP comes one of: reloaded, unchanged (no answer
differs), kept (the files are broken), restart (is needed)."""
_KINDS = get_args(Kind)
_TEXTS = ("model", "runtime", "device", "release", "reason", "help", "place")


@attrs.frozen(kw_only=True)
class Event:
    """One event. `model` is "" where it is about the whole replica; `seconds` is how long the model took to load.

    `place` is the file:line at fault in the app's own code. `required`: the app needs the model that failed.
    `servers` are the addresses beside the app's own.
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
    required: bool = False
    servers: tuple[str, ...] = ()


def parse(line: bytes) -> Event | None:
    """Read one line; None for what is no event, so that a newer replica's events do not break an older parent."""
    try:
        found: Any = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or found.get("event") not in _KINDS:
        return None
    texts = {name: str(found[name]) for name in _TEXTS if found.get(name)}
    seconds = found.get("seconds")
    return Event(
        kind=found["event"],
        seconds=float(seconds) if isinstance(seconds, int | float) else 0.0,
        notes=_words(found.get("notes")),
        required=found.get("required") is True,
        servers=_words(found.get("servers")),
        **texts,
    )


def _words(found: Any) -> tuple[str, ...]:
    return tuple(map(str, found)) if isinstance(found, list) else ()


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

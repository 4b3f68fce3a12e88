"""What can still be known from an app.lock that a merge or a hand has broken: what recorded outputs were made with.

Everything else in the file can be computed anew.
"""

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tomli

from modelapp.lockfile import LOCK, Lock, check_version, read_text, recorded_of

_HEADER = re.compile(r"^[ \t]*\[", re.MULTILINE)
_MARKER = re.compile(r"(?P<kind><{7}|\|{7}|={7}|>{7})(?: .*)?")


def remains(root: Path) -> Lock:
    """What app.lock tells that only it can tell; a test has several blocks where the sides of a merge differ.

    Raises AppFileError for a file of a later format, and for one that is no text at all.
    """
    path = root / LOCK
    text = (read_text(path) or "").replace("\r\n", "\n")
    check_version(path, text)
    blocks = [block for side in sides(text) for block in _tables(side)]
    recorded = (recorded_of(table["recorded"][0]) for table in blocks if isinstance(table.get("recorded"), list))
    return Lock(recorded=tuple(dict.fromkeys(one for one in recorded if one)))


def sides(text: str) -> list[str]:
    """The versions of a text that holds the conflicts of a merge: ours, theirs, and what they began with if shown.

    A text without conflicts has one.
    """
    kept: dict[str, list[str]] = {"<": [], ">": [], "|": []}
    now = ""
    shown = set[str]()
    for line in text.splitlines(keepends=True):
        if marker := _MARKER.fullmatch(line.rstrip("\r\n")):
            now = {"<": "<", "|": "|", "=": ">", ">": ""}[marker["kind"][0]]
            shown.add(now)
            continue
        for side in now or kept:
            kept[side].append(line)
    return ["".join(kept[side]) for side in kept if side in shown or (side == "<" and not shown)]


def _tables(text: str) -> Iterator[dict[str, Any]]:
    """Each table that can be read by itself."""
    bounds = [*(found.start() for found in _HEADER.finditer(text)), len(text)]
    for start, end in itertools.pairwise(bounds):
        try:
            yield tomli.loads(text[start:end])
        except (ValueError, RecursionError):
            continue

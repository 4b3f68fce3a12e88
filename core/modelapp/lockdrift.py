"""How what is there differs from what app.lock says, told by one line a difference."""

from collections.abc import Iterator
from typing import Any, Literal

import attrs

from modelapp.lockfile import TABLES, Block, Lock, LockedFile, LockedSource, Recorded, key_of

_SHOWN_DIGITS = 12
_SIGNS = {"added": "+", "removed": "-", "changed": "~", "missing": "!"}


@attrs.frozen(kw_only=True)
class Difference:
    """One difference. `locked` is what app.lock has, `now` what is there; "" for nothing.

    "missing" is what app.toml names and what is not there; then `now` is a sentence.
    """

    change: Literal["added", "removed", "changed", "missing"]
    table: str
    name: str
    locked: str = ""
    now: str = ""

    @property
    def line(self) -> str:
        """As a line of a diff: what `modelapp lock` changes."""
        values = " -> ".join(filter(None, (self.locked, self.now)))
        return f"{_SIGNS[self.change]} {self.table} {self.name}   {values}"

    def __str__(self) -> str:
        """As a sentence: what does not hold."""
        if self.change == "added":
            return f"{self.name} is not in app.lock"
        if self.change == "missing":
            return self.now
        if self.change == "removed":
            return f"{self.name} is in app.lock, and is no part of the app any more"
        there = {"file": "the file is", "recorded": "the file is"}.get(self.table, "installed is")
        return f"{self.name}: app.lock has {self.locked}, {there} {self.now}"

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {**attrs.asdict(self), "message": str(self)}


def differences(locked: Lock, now: Lock) -> list[Difference]:
    """All of them, in the order of the file. What a recorded output was made with is knowledge, not a difference."""
    found: list[Difference] = []
    for table, attribute in TABLES.items():
        before = {key_of(block): block for block in getattr(locked, attribute)}
        after = {key_of(block): block for block in getattr(now, attribute)}
        for key in sorted(before.keys() | after.keys()):
            found += _difference(table, before.get(key), after.get(key))
    return found


def drift(locked: Lock, now: Lock) -> list[str]:
    """Each difference as a sentence."""
    return [str(one) for one in differences(locked, now)]


def _difference(table: str, locked: Block | None, now: Block | None) -> Iterator[Difference]:
    if locked is None:
        assert now is not None  # one of both is there
        yield Difference(change="added", table=table, name=_name(now), now=_value(now))
    elif now is None:
        yield Difference(change="removed", table=table, name=_name(locked), locked=_value(locked))
    elif _compared(locked) != _compared(now):
        before, after = _values(locked, now)
        yield Difference(change="changed", table=table, name=_name(now), locked=before, now=after)


def _compared(block: Block) -> Block:
    return attrs.evolve(block, made_with=()) if isinstance(block, Recorded) else block


def _name(block: Block) -> str:
    if isinstance(block, LockedFile):
        return block.path
    if isinstance(block, LockedSource):
        return block.source
    return f'the expect_file of "{block.test}"' if isinstance(block, Recorded) else block.name


def _value(block: Block) -> str:
    if isinstance(block, LockedFile | Recorded):
        return _short(block.sha256)
    if isinstance(block, LockedSource):
        return f"{_shipped(block)} {_short(block.sha256)}".strip()
    return block.version


def _values(locked: Block, now: Block) -> tuple[str, str]:
    """What differs, of two blocks about the same."""
    if isinstance(locked, LockedSource) and isinstance(now, LockedSource):
        if locked.sha256 == now.sha256:
            return _shipped(locked), f"{_shipped(now)}, with the same bytes"
        if _shipped(locked) == _shipped(now):
            return _value(locked), f"{_shipped(now)} with other bytes, {_short(now.sha256)}"
    before, after = _value(locked), _value(now)
    if before == after and isinstance(locked, LockedFile) and isinstance(now, LockedFile):
        return f"{locked.size_bytes} bytes", f"{now.size_bytes} bytes"
    return before, after


def _shipped(block: LockedSource) -> str:
    return f"{block.distribution} {block.version}".strip() or "no distribution"


def _short(sha256: str) -> str:
    return f"{sha256[:_SHOWN_DIGITS]}..."

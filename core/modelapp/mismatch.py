"""A value that is not what was declared: what was wanted, what came, and where inside the value."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

_SHOWN_CHARS = 40

Check: TypeAlias = Callable[[Any], Any]
"""Takes a value, returns it as the declared type wants it, or raises Mismatch."""


class Mismatch(Exception):
    """Raised deep inside a value; each level it passes adds its step to `path`, so that good values cost nothing.

    `rule` says what was wanted, and nothing of the value; `got`, which follows it, does. `stranger`: the end of the
    path is a name that the caller chose.
    """

    def __init__(self, rule: str, path: str = "", *, got: str = "", stranger: bool = False) -> None:
        super().__init__(rule)
        self.rule = rule
        self.got = got
        self.path = path
        self.stranger = stranger

    @property
    def text(self) -> str:
        """What is wrong, without the place."""
        return self.rule + self.got

    def hidden(self) -> "Mismatch":
        """The same of a value that must not be shown."""
        if self.stranger:
            return Mismatch("holds a name that is not declared")
        return Mismatch(self.rule, self.path)

    def below(self, step: str) -> "Mismatch":
        """The same, seen from one level up: `step` is a name or "[3]"."""
        joint = "." if self.path and not self.path.startswith("[") else ""
        self.path = f"{step}{joint}{self.path}"
        return self

    def __str__(self) -> str:
        return f'"{self.path}" {self.text}' if self.path else self.text


def wrong_type(wanted: str, got: Any) -> Mismatch:
    """`wanted` is a type word or a phrase; `got` is shown shortened."""
    return Mismatch(f"must be {wanted}", got=f", got {told(got)}")


def hiding(check: Check) -> Check:
    """The check, whose mismatches say nothing of the value."""

    def hidden(value: Any) -> Any:
        try:
            return check(value)
        except Mismatch as mismatch:
            raise mismatch.hidden() from None

    return hidden


def told(value: Any) -> str:
    """A value for people, short: `"abc" (str)`, `7 (int)`, `null`, `a list of 3`, `an object`."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return f"{str(value).lower()} (bool)"
    if isinstance(value, str):
        return f"{quoted(value)} (str)"
    if isinstance(value, int | float):
        text = repr(value) if not isinstance(value, int) or abs(value) < 10**_SHOWN_CHARS else "a very large number"
        return f"{text} ({'int' if isinstance(value, int) else 'float'})"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        return "an object"
    shape = getattr(value, "shape", None)
    if shape is not None:
        return f"an array of {value.dtype} with shape {list(shape)}"
    return f"a {type(value).__name__}"


def kind_of(value: Any) -> str:
    """A number as it is; of all else the kind, for what people write is not repeated in an error."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value) if not abs(value) >= 1e30 else "such a large number"
    if isinstance(value, str):
        return "a string"
    if isinstance(value, list | tuple):
        return "a list"
    return "an object" if isinstance(value, Mapping) else type(value).__name__


def quoted(text: str) -> str:
    """A text in quotes, cut where it is long."""
    short = text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 3] + "..."
    return f'"{short}"'

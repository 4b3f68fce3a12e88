"""A value that is not what was declared: what was wanted, what came, and where inside the value."""

from collections.abc import Callable
from typing import Any, TypeAlias

_SHOWN_CHARS = 40

Check: TypeAlias = Callable[[Any], Any]
"""Takes a value, returns it as the declared type wants it, or raises Mismatch."""


class Mismatch(Exception):
    """Raised deep inside a value; each level it passes adds its step to `path`, so that good values cost nothing."""

    def __init__(self, text: str, path: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.path = path

    def below(self, step: str) -> "Mismatch":
        """The same, seen from one level up: `step` is a name or "[3]"."""
        joint = "." if self.path and not self.path.startswith("[") else ""
        self.path = f"{step}{joint}{self.path}"
        return self

    def __str__(self) -> str:
        return f'"{self.path}" {self.text}' if self.path else self.text


def wrong_type(wanted: str, got: Any) -> Mismatch:
    """`wanted` is a type word or a phrase; `got` is shown shortened."""
    return Mismatch(f"must be {wanted}, got {told(got)}")


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


def quoted(text: str) -> str:
    """A text in quotes, cut where it is long."""
    short = text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 3] + "..."
    return f'"{short}"'

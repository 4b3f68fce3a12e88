"""One thing that is wrong with app.toml, and how it is shown: place, source line, carets, and the mending edit."""

from pathlib import Path

import attrs


@attrs.frozen(kw_only=True)
class Edit:
    """Replace the characters [start, end) of the file by `text`."""

    start: int
    end: int
    text: str


@attrs.frozen(kw_only=True)
class Related:
    """Another place that the problem is about."""

    line: int
    column: int
    length: int
    source: str
    label: str


@attrs.frozen(kw_only=True)
class Problem:
    """One problem. Lines and columns count from 1, columns in characters."""

    code: str
    message: str
    file: Path
    line: int
    column: int
    length: int = 1
    source: str = ""
    label: str = ""
    help: str = ""
    notes: tuple[str, ...] = ()
    related: tuple[Related, ...] = ()
    edit: Edit | None = None
    command: str = ""

    def render(self) -> str:
        """The text shown to people."""
        raise NotImplementedError

"""What is worth saying about a valid app.toml: what has no effect yet, and what could not be checked."""

from collections.abc import Iterator, Mapping
from typing import Any

from modelapp import dialect, literals
from modelapp.document import Sources, key_name, table_name
from modelapp.problems import Problem
from modelapp.spans import KeyPath
from modelapp.tables import Reader


def all_of(sources: Sources, reader: Reader, data: Mapping[str, Any]) -> Iterator[Problem]:
    """Warnings and notes about a file whose merged tables are `data`, in no order."""
    yield from dialect.of(sources.base)
    yield from literals.of(sources, data)
    for path in reader.pending:
        yield _pending(sources, path)
    for path in reader.unchecked:
        yield _unchecked(sources, path)
    for path in reader.unused:
        yield _unused(sources, path)


def _pending(sources: Sources, path: KeyPath) -> Problem:
    document, full = sources.located(path)
    is_table = full in document.spans.headers or full not in document.spans.values
    message = f"{table_name(path)} is" if is_table else f'"{key_name(path)}" is'
    return sources.problem(
        "MA015",
        f"{message} read and checked, and has no effect yet",
        path,
        "not acted on by this version of modelapp",
        at="header" if is_table else "key",
        severity="warning",
    )


def _unchecked(sources: Sources, path: KeyPath) -> Problem:
    return sources.problem(
        "MA033",
        f"{table_name(path)} was not checked",
        path,
        f'no plugin called "{path[-1]}" is installed',
        at="header",
        severity="note",
    )


def _unused(sources: Sources, path: KeyPath) -> Problem:
    kind = "scheduler" if path[0] == "deploy" else "runtime"
    return sources.problem(
        "MA034",
        f"{table_name(path)} is not used",
        path,
        f'no {kind} = "{path[-1]}" here, nor in a profile',
        at="header",
        help=f"choose it, here or in a profile, or remove {table_name(path)}",
        severity="warning",
    )

"""What is worth saying about a valid app.toml: what has no effect yet, and what could not be checked."""

from collections.abc import Iterator

from modelapp.document import Sources, key_name, table_name
from modelapp.problems import Problem
from modelapp.spans import KeyPath
from modelapp.tables import Reader


def all_of(sources: Sources, reader: Reader) -> Iterator[Problem]:
    """Warnings and notes, in no order."""
    for path in reader.pending:
        yield _pending(sources, path)
    for path in reader.unchecked:
        yield _unchecked(sources, path)


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

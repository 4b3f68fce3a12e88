"""The format of app.toml: how an older one is raised to the newest, and what is said about one that is not read.

Whoever changes the format adds a migration here, raises SCHEMA_VERSION, and need not keep readers of older formats.
"""

from collections.abc import Callable, Mapping
from typing import TypeAlias

from modelapp.document import Document, Sources
from modelapp.problems import Problem
from modelapp.writeback import Draft

Migration: TypeAlias = Callable[[Draft], None]
"""Makes the next format of a draft. Keys and tables may be missing, and of any type: the file is not checked yet."""

KEY = ("app", "schema_version")
MIGRATIONS: Mapping[int, Migration] = {}
"""Format -> what makes the next one of it. There has been one format so far."""


def raised(document: Document, version: int, newest: int) -> Draft:
    """A draft of the text in the newest format, from `version` on; nothing is written, and nothing checked."""
    draft = Draft(document)
    for each in range(version, newest):
        MIGRATIONS[each](draft)
        draft.set(KEY, each + 1)
    return draft


def problem(sources: Sources, version: int, newest: int) -> Problem:
    """What is wrong with a file whose format is another than the one that is read."""
    if version > newest:
        label, command = "written for a newer modelapp", "pip install -U modelapp"
    else:
        label, command = "an older format", "modelapp upgrade --write"
    message = f"this is format {version} of app.toml, and the installed modelapp reads format {newest}"
    return sources.problem("MA017", message, KEY, label, command=command)

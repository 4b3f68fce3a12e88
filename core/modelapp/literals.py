"""Values that look like templates: nothing in app.toml is filled in, so they are taken as they stand."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from modelapp.document import Sources, key_name
from modelapp.problems import Problem
from modelapp.spans import KeyPath
from modelapp.suggestions import toml

_TEMPLATE = re.compile(
    r"\{\{(?:.*?\}\})?|\{%(?:.*?%\})?|\{env\b[^}\n]*\}?|\$\{[^}\n]*\}?|\$\([^)]*\)|\$[A-Za-z_][A-Za-z0-9_]*|<%.*?%>"
)
_FREE = ("description", "doc", "pattern", "default", "choices", "tests", "profiles")
"""Keys whose values are for people or for requests, and may be any text."""
_OF_DEPLOY = ("rollout", "autoscale", "spot")
_DEEPEST = 12


def of(sources: Sources, data: Mapping[str, Any]) -> Iterator[Problem]:
    """A warning for each name, path or address with a template in it; `data` are the merged tables."""
    if not any(_TEMPLATE.search(text) for text in (sources.base.text, *(one.document.text for one in sources.layers))):
        return
    for path, text in _texts(data, ()):
        if found := _TEMPLATE.search(text):
            yield sources.problem(
                "MA019",
                f'"{key_name(path)}" looks like a template, and nothing is filled in',
                path,
                f"{found[0]} is taken as it stands",
                help=f"write the value itself; what differs elsewhere goes into a profile or --set {_dotted(path)}=...",
                severity="warning",
            )


def _texts(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict) and len(path) < _DEEPEST:
        for name, item in value.items():
            if name not in _FREE and not _is_plugins(path, name, item):
                yield from _texts(item, (*path, name))
    elif isinstance(value, list) and len(path) < _DEEPEST:
        for number, item in enumerate(value):
            yield from _texts(item, (*path, number))


def _is_plugins(path: KeyPath, name: str, item: Any) -> bool:
    """Whether this is an options table of a plugin, whose values mean what the plugin says."""
    if not isinstance(item, dict):
        return False
    return (path == ("deploy",) and name not in _OF_DEPLOY) or (
        path[:1] == ("models",) and len(path) == 2 and name != "files"
    )


def _dotted(path: KeyPath) -> str:
    return ".".join(str(part) for part in path if isinstance(part, str)) or toml(str(path))

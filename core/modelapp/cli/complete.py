"""`modelapp complete KIND`: the names of app.toml that a shell offers, one a line. It never complains.

The file is taken as it stands, half written as it may be: nothing of it is checked, so that an answer takes no longer
than a key stroke.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from modelapp.cli.console import Console
from modelapp.cli.parser import FILE
from modelapp.suggestions import toml_key

Table = Mapping[str, Any]
_NOT_OVERRIDDEN = ("profiles", "tests")


def run(options: argparse.Namespace, console: Console) -> int:
    """Print what fits KIND; nothing where it is unknown, or where there is no app.toml that can be read."""
    names = [name for name in dict.fromkeys(_offered(options)) if name.isprintable()]
    if console.json:
        console.document({"kind": options.kind, "names": names})
    for name in names:
        console.result(name)
    return 0


def _offered(options: argparse.Namespace) -> list[str]:
    offer = OFFERS.get(options.kind)
    return list(offer(_read(options), options.words)) if offer else []


def _read(options: argparse.Namespace) -> Table:
    import tomli

    try:
        return tomli.loads((options.directory / FILE).read_text(encoding="utf-8-sig"))
    except (OSError, ValueError):
        return {}


def _tests(app: Table, _: list[str]) -> Iterator[str]:
    for test in _items(app, "tests"):
        yield from _text(test.get("name"))


def _tags(app: Table, _: list[str]) -> Iterator[str]:
    for test in _items(app, "tests"):
        tags = test.get("tags")
        for tag in tags if isinstance(tags, list) else ():
            yield from _text(tag)


def _headers(table: str) -> "Offer":
    return lambda app, _: iter(_table(app, table))


def _inputs(app: Table, words: list[str]) -> Iterator[str]:
    """What may follow `predict` and `words`: an endpoint where there are several, then its inputs."""
    endpoints = _table(app, "endpoints")
    if len(endpoints) > 1 and not words:
        yield from endpoints
        return
    named = words[:1] if words and words[0] in endpoints else list(endpoints)[:1]
    given = {word.partition("=")[0] for word in words}
    for endpoint in named:
        for name, field in _table(_table(endpoints, endpoint), "input").items():
            if name not in given:
                yield from (f"{name}={value}" for value in _values(field))


def _values(field: object) -> Iterator[str]:
    """The values that a field can have, where they are few; else "", for the writer to say."""
    choices = field.get("choices") if isinstance(field, dict) else None
    word = field.get("type") if isinstance(field, dict) else field
    if word == "str" and isinstance(choices, list) and choices:
        yield from (choice for choice in choices if isinstance(choice, str))
    elif word == "bool":
        yield from ("true", "false")
    else:
        yield ""


def _keys(app: Table, _: list[str]) -> Iterator[str]:
    """Every key that has a value in the file, as `--set` takes it."""

    def below(table: Table, lead: str) -> Iterator[str]:
        for key, value in table.items():
            place = lead + toml_key(key)
            if isinstance(value, dict):
                yield from below(value, f"{place}.")
            else:
                yield f"{place}="

    return below({key: value for key, value in app.items() if key not in _NOT_OVERRIDDEN}, "")


def _table(around: Table, key: str) -> Table:
    found = around.get(key)
    return found if isinstance(found, dict) else {}


def _items(around: Table, key: str) -> list[Table]:
    found = around.get(key)
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def _text(value: object) -> Iterator[str]:
    if isinstance(value, str) and value:
        yield value


Offer = Callable[[Table, list[str]], Iterator[str]]
OFFERS: Mapping[str, Offer] = {
    "endpoints": _headers("endpoints"),
    "inputs": _inputs,
    "jobs": _headers("jobs"),
    "keys": _keys,
    "models": _headers("models"),
    "profiles": _headers("profiles"),
    "tags": _tags,
    "tests": _tests,
}
"""KIND -> what offers it, given app.toml and the words of the verb so far."""

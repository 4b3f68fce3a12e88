"""The inputs of `modelapp predict`: words of the command line, typed as the endpoint declares."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from modelapp.app import App, Endpoint, Field
from modelapp.errors import UsageError
from modelapp.fieldtype import MEDIA, is_url
from modelapp.masking import hides
from modelapp.suggestions import did_you_mean


def split_words(words: Sequence[str]) -> tuple[str, list[str]]:
    """The endpoint's name, "" where none is given, and the inputs."""
    if words and "=" not in words[0]:
        return words[0], list(words[1:])
    return "", list(words)


def choose_endpoint(app: App, name: str) -> Endpoint:
    """The endpoint of that name, or the only one. Raises UsageError."""
    known = ", ".join(app.endpoints) or "none"
    if not name:
        if len(app.endpoints) == 1:
            return next(iter(app.endpoints.values()))
        raise UsageError(f"which endpoint? The app has {known}", help="modelapp predict ENDPOINT NAME=VALUE ...")
    if name not in app.endpoints:
        raise UsageError(
            f'there is no endpoint "{name}"', help=did_you_mean(name, app.endpoints, otherwise=f"endpoints: {known}")
        )
    return app.endpoints[name]


def read_inputs(endpoint: Endpoint, words: Sequence[str], folder: Path) -> dict[str, Any]:
    """NAME=VALUE and NAME=@FILE words as values; files are relative to `folder`. Raises UsageError."""
    values: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            raise UsageError(f'"{word}" is no NAME=VALUE', help="modelapp predict [ENDPOINT] NAME=VALUE ...")
        if name in values:
            raise UsageError(f'input "{name}" is given twice')
        field = endpoint.input.get(name)
        if endpoint.input and field is None:
            advice = did_you_mean(name, endpoint.input, otherwise=f"inputs: {', '.join(endpoint.input)}")
            raise UsageError(f'endpoint "{endpoint.name}" has no input "{name}"', help=advice)
        values[name] = _value(name, field, text, folder)
    return values


def _value(name: str, field: Field | None, text: str, folder: Path) -> Any:
    if text.startswith("@@"):  # a text that begins with @
        text = text[1:]
    elif text.startswith("@"):
        path = folder / text[1:]
        if not path.is_file():
            raise UsageError(f'{name}: there is no file "{text[1:]}"')
        if field is not None and field.type.word in MEDIA:
            return str(path.absolute())
        text = _read(name, path)
    elif field is not None and field.type.word in MEDIA and field.allow_hosts and is_url(text):
        return text
    elif field is not None and field.type.word in MEDIA and not text.startswith("data:"):
        raise UsageError(f'input "{name}" is of type {field.type}', help=f"write {name}=@FILE")
    return _typed(name, field, text)


def _read(name: str, path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{name}: {path} cannot be read as text: {error}") from None


def _typed(name: str, field: Field | None, text: str) -> Any:
    """A str is taken as it stands, everything else is JSON; an undeclared input is JSON where it can be."""
    if field is not None and field.type.word in ("str", *MEDIA):
        return text
    try:
        return json.loads(text)
    except ValueError:
        if field is None:
            return text
        told = "this" if hides({name: field}) else f'"{text[:80]}"'
        example = {"int": "7", "float": "0.5", "bool": "true"}.get(field.type.word, "JSON")
        raise UsageError(
            f'input "{name}" is of type {field.type}, and {told} is none', help=f"write {name}={example}"
        ) from None

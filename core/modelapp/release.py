"""The name of a release: a digest of everything that decides what an app answers.

That is app.toml as resolved (without tests, comments and the address to listen on), the code beside it, the model
files, and the environment: Python, modelapp and every other distribution that is installed. The same app has the same
name in two places.
"""

import hashlib
import json
import os
import platform
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import attrs

from modelapp.app import App, Model
from modelapp.digests import Digests
from modelapp.errors import ModelAppError
from modelapp.fieldtype import FieldType
from modelapp.requirements import canonical as canonical_name

DIGITS = 16
_ABSENT = "absent"
_TABLES = ("app", "models", "endpoints", "server", "guarantees", "jobs", "deploy")
_WHERE_IT_LISTENS = ("host", "port")
"""Keys of [server] that decide where an answer is had, not what it is."""


@attrs.frozen
class Footprint:
    """What a release is made of, beside the environment: digests of the code by file, and of each model's files."""

    app: App
    code: Mapping[str, str]
    models: Mapping[str, Mapping[str, str]]

    @property
    def release(self) -> str:
        """The release's name: 16 hexadecimal digits."""
        content = {
            "app": canonical(self.app),
            "code": dict(self.code),
            "models": {name: dict(files) for name, files in self.models.items()},
            "environment": environment(),
        }
        text = json.dumps(content, sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(text.encode("ascii")).hexdigest()[:DIGITS]


def footprint(app: App, *, digests: Digests | None = None) -> Footprint:
    """What `app` and its files are now.

    A model file that is missing counts as absent, since an app may do without a model that is not required.
    """
    digests = digests or Digests()
    code = {path.relative_to(app.root).as_posix(): _digest(digests, path) for path in code_files(app.root)}
    models = {name: model_digests(app.root, model, digests) for name, model in app.models.items()}
    digests.save()
    return Footprint(app, code, models)


def release_id(app: App, *, digests: Digests | None = None) -> str:
    """The release that `app` and its files are now."""
    return footprint(app, digests=digests).release


def canonical(app: App) -> dict[str, Any]:
    """The app as plain values: no tests, no place on this machine, defaults spelled out."""
    tables = {name: _plain(getattr(app, name), app.root) for name in _TABLES}
    for key in _WHERE_IT_LISTENS:
        del tables["server"][key]
    return tables


def _plain(value: Any, root: Path) -> Any:
    if value is attrs.NOTHING:
        return {"absent": True}
    if isinstance(value, FieldType):
        return str(value)
    if attrs.has(type(value)):
        fields = {field.name: _plain(getattr(value, field.name), root) for field in attrs.fields(type(value))}
        return {"class": type(value).__name__, **fields}
    if isinstance(value, Mapping):
        return {str(name): _plain(item, root) for name, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(repr(_plain(item, root)) for item in value)
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_plain(item, root) for item in value]
    if isinstance(value, Path):
        return Path(os.path.relpath(value, root)).as_posix() if value.is_absolute() else value.as_posix()
    if value is None or isinstance(value, str | bool | int | float):
        return value
    return str(value)


def code_files(root: Path) -> Iterator[Path]:
    """Every Python file below `root`, sorted; hidden folders and virtual environments are left out."""
    seen: set[Path] = set()
    found: list[Path] = []
    for folder, below, files in os.walk(root, followlinks=True):
        here = Path(folder)
        real = here.resolve()
        if real in seen:  # a link that leads back up
            below.clear()
            continue
        seen.add(real)
        below[:] = [name for name in below if not name.startswith(".") and not (here / name / "pyvenv.cfg").exists()]
        found += [here / name for name in files if name.endswith(".py")]
    return iter(sorted(found))


def model_digests(root: Path, model: Model, digests: Digests) -> dict[str, str]:
    """The digest of each of a model's files, by its name in app.toml; the source is called ""."""
    from modelapp.sources import artefact

    try:
        found = artefact(root, model)
    except ModelAppError:
        return {"": _ABSENT}
    files = {"": found.source, **found.files}
    return {name: _digest(digests, path) for name, path in files.items()}


def _digest(digests: Digests, path: Path) -> str:
    try:
        return digests.tree(path)
    except OSError:
        return _ABSENT


def environment() -> dict[str, str]:
    """Python and every distribution that can be imported: name -> version. The first one on the path counts."""
    found = {"python": f"{platform.python_implementation()} {platform.python_version()}"}
    for distribution in metadata.distributions():
        name, version = _name_and_version(distribution)
        if name:
            found.setdefault(f"dist {canonical_name(name)}", version)
    return found


def _name_and_version(distribution: metadata.Distribution) -> tuple[str, str]:
    """Out of the first lines of the metadata, whose description may be long and takes 1 ms to parse."""
    text = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
    head = text.partition("\n\n")[0]
    found = dict(re.findall(r"^(Name|Version):[ \t]*(.*?)[ \t\r]*$", head, re.MULTILINE))
    return found.get("Name", ""), found.get("Version", "")

"""Which installed distribution brought a file of a package."""

import contextlib
import importlib.metadata
import json
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution
from pathlib import Path
from urllib.parse import unquote, urlsplit

from modelapp.requirements import canonical


def owner(package: str, path: Path, *, likely: str = "") -> tuple[str, str]:
    """Name and version of the distribution that `path`, in the top-level package `package`, came with.

    ("", "") where none claims it. Several may share a package (a namespace); `likely` is asked first.
    """
    for distribution in _candidates(package, likely):
        if _lists(distribution, path) or _is_editable(distribution, path):
            return canonical(distribution.metadata["Name"]), distribution.version
    return "", ""


def _candidates(package: str, likely: str) -> Iterator[Distribution]:
    """The likeliest first: asking all of them takes 100 ms and more."""
    for name in filter(None, (likely, canonical(package))):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError, ValueError):
            yield importlib.metadata.distribution(name)
    yield from importlib.metadata.distributions()


def _lists(distribution: Distribution, path: Path) -> bool:
    """Whether the distribution's own list of files has `path`."""
    home = Path(str(distribution.locate_file("")))
    for file, folder in ((path, home), (path.resolve(), home.resolve())):
        if file.is_relative_to(folder):
            name = file.relative_to(folder).as_posix()
            record = distribution.read_text("RECORD")
            if record is None:
                return name in {one.as_posix() for one in distribution.files or ()}
            if name not in record and '"' not in name:
                continue
            quoted = '"' + name.replace('"', '""') + '"'
            return any(line.startswith((f"{name},", f"{quoted},")) for line in record.splitlines())
    return False


def _is_editable(distribution: Distribution, path: Path) -> bool:
    """Whether it was installed from a folder that `path` lies in, and its files are used there (PEP 610)."""
    try:
        direct = json.loads(distribution.read_text("direct_url.json") or "{}")
    except ValueError:
        return False
    parts = urlsplit(str(direct.get("url", "")))
    if parts.scheme != "file" or not direct.get("dir_info", {}).get("editable"):
        return False
    real, folder, environment = path.resolve(), Path(unquote(parts.path)).resolve(), Path(sys.prefix).resolve()
    inside = real.is_relative_to(environment) and environment.is_relative_to(folder)  # a project's own .venv
    return real.is_relative_to(folder) and not inside

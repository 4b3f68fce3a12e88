"""Which installed distribution brought a file of a package."""

import importlib.metadata
import json
from collections.abc import Iterator
from importlib.metadata import Distribution
from pathlib import Path
from urllib.parse import unquote, urlsplit

from modelapp.requirements import canonical


def owner(package: str, path: Path, *, likely: str = "") -> tuple[str, str]:
    """Name and version of the distribution that `path`, in the top-level package `package`, came with.

    ("", "") where none claims it. Several may share a package (a namespace); `likely` is asked first.
    """
    asked: set[str] = set()
    for name in _candidates(package, likely):
        if name in asked:
            continue
        asked.add(name)
        try:
            found = importlib.metadata.distribution(name)
        except (importlib.metadata.PackageNotFoundError, ValueError):
            continue
        if _lists(found, path) or _is_editable(found, path):
            return name, found.version
    editable = (one for one in importlib.metadata.distributions() if _is_editable(one, path))
    return next(((canonical(one.metadata["Name"]), one.version) for one in editable), ("", ""))


def _candidates(package: str, likely: str) -> Iterator[str]:
    """Lazily: asking every distribution takes 100 ms and more."""
    if likely:
        yield likely
    yield canonical(package)
    yield from sorted({canonical(name) for name in importlib.metadata.packages_distributions().get(package, ())})


def _lists(distribution: Distribution, path: Path) -> bool:
    """Whether the distribution's own list of files has `path`."""
    home = Path(str(distribution.locate_file("")))
    for file, folder in ((path, home), (path.resolve(), home.resolve())):
        if file.is_relative_to(folder):
            name = file.relative_to(folder).as_posix()
            record = distribution.read_text("RECORD")
            if record is None:
                return name in {one.as_posix() for one in distribution.files or ()}
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
    return path.resolve().is_relative_to(Path(unquote(parts.path)).resolve())

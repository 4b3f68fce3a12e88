"""How this modelapp was installed, and how the same one comes into another environment (PEP 610's direct_url.json)."""

import hashlib
import json
import re
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import attrs

from modelapp.errors import SurroundingsError
from modelapp.requirements import OWN, canonical, redacted
from modelapp.versions import satisfies

_NEED = re.compile(
    r"^Requires-Dist:\s*(?P<name>[A-Za-z0-9._-]+)\s*(?P<versions>[^;\s][^;\r\n]*)?\s*[\r]?$", re.MULTILINE
)


@attrs.frozen(kw_only=True)
class Installation:
    """One installed modelapp. `words` are what an installer is told, `origin` what people are told."""

    version: str
    origin: str
    words: tuple[str, ...]
    stamp: str
    """A digest of what is installed: another code, another stamp; of an editable folder, of what it needs."""
    code: frozenset[str]
    """The lines of its record that hold digests of its modules; empty for an editable one."""
    path: Path | None
    """The file or folder on this machine that it came from."""
    needs: tuple[tuple[str, str], ...]
    """The distributions it needs in any case, each with the versions that do."""

    def unmet(self, name: str, version: str) -> str:
        """The versions of a distribution that this modelapp needs, where the given one is none of them; else ""."""
        for need, versions in self.needs:
            if need == name and versions and not _meets(version, versions):
                return versions
        return ""


def _meets(version: str, versions: str) -> bool:
    try:
        return satisfies(version, versions)
    except ValueError:
        return True


def installation(paths: list[str] | None = None) -> Installation:
    """The modelapp that runs, or the one on `paths`. Raises SurroundingsError where it is no installed distribution."""
    found = list(metadata.distributions(name=OWN, path=paths) if paths else metadata.distributions(name=OWN))
    if not found:
        raise SurroundingsError(
            "modelapp is not installed as a distribution, so it cannot be installed into the app's environment",
            help="pip install modelapp, or pip install -e its folder",
        )
    one = found[0]
    text = one.read_text("METADATA") or one.read_text("PKG-INFO") or ""
    head = text.partition("\n\n")[0]
    direct = json.loads(one.read_text("direct_url.json") or "{}")
    editable = bool(direct.get("dir_info", {}).get("editable"))
    code = frozenset() if editable else _code(one.read_text("RECORD") or "")
    origin, words = _source(direct, one.version, editable=editable)
    return Installation(
        version=one.version,
        origin=origin,
        words=words,
        stamp=hashlib.sha256("\n".join([head, *sorted(code)]).encode()).hexdigest(),
        code=code,
        path=_path(direct),
        needs=tuple((canonical(m["name"]), (m["versions"] or "").strip(" ()")) for m in _NEED.finditer(head)),
    )


def _code(record: str) -> frozenset[str]:
    """What a RECORD says of the modules; what an installer adds differs from one to the next."""
    return frozenset(
        line for line in record.splitlines() if "sha256=" in line and ".dist-info/" not in line and line[:2] != ".."
    )


def _source(direct: dict[str, Any], version: str, *, editable: bool) -> tuple[str, tuple[str, ...]]:
    """What people and an installer are told of where it came from."""
    url = str(direct.get("url", ""))
    if not url:
        return "an index", (f"{OWN}=={version}",)
    if vcs := direct.get("vcs_info"):
        place = f"{vcs['vcs']}+{url}@{vcs['commit_id']}"
        folder = f"#subdirectory={direct['subdirectory']}" if "subdirectory" in direct else ""
        return redacted(place), (f"{OWN} @ {place}{folder}",)
    path = _path(direct)
    if path is None:
        return redacted(url), (f"{OWN} @ {url}",)
    return (f"the folder {path}" if path.is_dir() else str(path)), (("-e", str(path)) if editable else (str(path),))


def _path(direct: dict[str, Any]) -> Path | None:
    """The file or folder on this machine that a direct_url.json names."""
    parts = urlsplit(str(direct.get("url", "")))
    return Path(unquote(parts.path)) if parts.scheme == "file" and "vcs_info" not in direct else None

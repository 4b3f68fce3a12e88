"""What pip was told by its files and variables, in the words of uv, which does not look at them.

pip takes the best version of all its indexes, uv the first index that has the name; handed over, pip's way holds.
"""

import configparser
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

_WORDS = {
    "index-url": ("UV_DEFAULT_INDEX", " "),
    "extra-index-url": ("UV_INDEX", " "),
    "find-links": ("UV_FIND_LINKS", ","),
    "no-index": ("UV_NO_INDEX", " "),
    "constraint": ("UV_CONSTRAINT", " "),
    "trusted-host": ("UV_INSECURE_HOST", " "),
    "cert": ("SSL_CERT_FILE", " "),
}
"""pip's setting -> uv's variable, and what stands between several values in it."""
_INDEXES = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_NO_INDEX", "UV_FIND_LINKS")
_SECTIONS = ("global", "install")
_PIP_SYSTEM = Path("/etc/pip.conf")
_UV_SYSTEM = Path("/etc/uv/uv.toml")


def for_uv(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables that tell uv what pip knows. None where uv was told itself where to look."""
    if any(name in environ for name in _INDEXES) or any(path.is_file() for path in _uv_files(environ)):
        return {}
    told = settings(environ)
    found = {}
    for key, (variable, between) in _WORDS.items():
        if key in told and variable not in environ:
            found[variable] = between.join(told[key].split())
    if found.get("UV_NO_INDEX", "").lower() in ("0", "no", "false", "off"):
        del found["UV_NO_INDEX"]
    if "UV_INDEX" in found:
        found["UV_INDEX_STRATEGY"] = environ.get("UV_INDEX_STRATEGY", "unsafe-best-match")
    return found


def settings(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """pip's settings by their long names: its files in the order in which pip reads them, then its variables."""
    found: dict[str, str] = {}
    for path in _pip_files(environ):
        parser = configparser.RawConfigParser()
        try:
            parser.read(path, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError):
            continue  # pip itself will say so
        for section in _SECTIONS:
            if parser.has_section(section):
                found |= {key.replace("_", "-"): value for key, value in parser.items(section)}
    for name, value in environ.items():
        if name.startswith("PIP_") and value:
            found[name.removeprefix("PIP_").lower().replace("_", "-")] = value
    return found


def _pip_files(environ: Mapping[str, str]) -> Iterator[Path]:
    own = environ.get("PIP_CONFIG_FILE", "")
    if own == os.devnull:
        return
    for folder in reversed((environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":")):
        yield Path(folder) / "pip" / "pip.conf"
    yield _PIP_SYSTEM
    home = Path(environ.get("HOME") or "~").expanduser()
    yield home / ".pip" / "pip.conf"
    yield Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "pip" / "pip.conf"
    if sys.platform == "darwin":
        yield home / "Library" / "Application Support" / "pip" / "pip.conf"
    yield Path(sys.prefix) / "pip.conf"
    if own:
        yield Path(own)


def _uv_files(environ: Mapping[str, str]) -> Iterator[Path]:
    if own := environ.get("UV_CONFIG_FILE"):
        yield Path(own)
    home = Path(environ.get("HOME") or "~").expanduser()
    yield Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "uv" / "uv.toml"
    yield _UV_SYSTEM

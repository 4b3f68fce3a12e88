"""The plugins that an app file chooses, in whichever of its profiles."""

from collections.abc import Iterator, Mapping
from typing import Any

from modelapp.profiles import PROFILES, names
from modelapp.spans import KeyPath


def mentioned(data: Mapping[str, Any]) -> Mapping[str, frozenset[str]]:
    """Kind of plugin -> the names that [models], [deploy] and the profiles choose; `data` as it stands in the file."""
    tables = [data, *(data[PROFILES][name] for name in names(data))]
    return {
        "runtime": frozenset(word for table in tables for model in _models(table) for word in _text(model, "runtime")),
        "scheduler": frozenset(word for table in tables for word in _text(table.get("deploy"), "scheduler")),
    }


def choices(data: Mapping[str, Any]) -> Mapping[KeyPath, frozenset[str]]:
    """Table that chooses a plugin, ("models", "story") or ("deploy",) -> the names it chooses, in whichever profile."""
    found: dict[KeyPath, frozenset[str]] = {}
    for table in (data, *(data[PROFILES][name] for name in names(data))):
        models = table.get("models")
        named = models.items() if isinstance(models, dict) else ()
        places = [(("models", name), _text(model, "runtime")) for name, model in named]
        for path, words in (*places, (("deploy",), _text(table.get("deploy"), "scheduler"))):
            found[path] = found.get(path, frozenset()) | frozenset(words)
    return found


def _models(table: Mapping[str, Any]) -> Iterator[Any]:
    models = table.get("models")
    yield from models.values() if isinstance(models, dict) else ()


def _text(table: Any, key: str) -> Iterator[str]:
    if isinstance(table, dict) and isinstance(table.get(key), str):
        yield table[key]

"""The plugins that an app file chooses, in whichever of its profiles."""

from collections.abc import Iterator, Mapping
from typing import Any

from modelapp.profiles import PROFILES, names


def mentioned(data: Mapping[str, Any]) -> Mapping[str, frozenset[str]]:
    """Kind of plugin -> the names that [models], [deploy] and the profiles choose; `data` as it stands in the file."""
    tables = [data, *(data[PROFILES][name] for name in names(data))]
    return {
        "runtime": frozenset(word for table in tables for model in _models(table) for word in _text(model, "runtime")),
        "scheduler": frozenset(word for table in tables for word in _text(table.get("deploy"), "scheduler")),
    }


def _models(table: Mapping[str, Any]) -> Iterator[Any]:
    models = table.get("models")
    yield from models.values() if isinstance(models, dict) else ()


def _text(table: Any, key: str) -> Iterator[str]:
    if isinstance(table, dict) and isinstance(table.get(key), str):
        yield table[key]

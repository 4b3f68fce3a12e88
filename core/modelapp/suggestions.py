"""What somebody who wrote the wrong word, unit or type most likely meant."""

import json
import math
import re
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, NamedTuple

_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "sec": 1.0, "seconds": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_BYTES = {"b": 1.0, "bytes": 1.0, "kb": 1e3, "kib": 2.0**10, "mb": 1e6, "mib": 2.0**20, "gb": 1e9, "gib": 2.0**30}
_QUANTITY = re.compile(r"\s*([+-]?\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*")
_OF_A_PART = 0.75
"""How near a word must be to a part of another."""
_BARE = re.compile(r"[A-Za-z0-9_-]+")


class Quantity(NamedTuple):
    """A number with the unit that was glued to it ("" for none)."""

    number: float
    unit: str


class Twin(NamedTuple):
    """The key that says the same in another unit, and what a value must be multiplied by."""

    key: str
    factor: float


def closest(word: str, words: Collection[str]) -> str | None:
    """The word that `word` is a misspelling of, or None."""
    return _closest(word, tuple(words))


@lru_cache(maxsize=1024)
def _closest(word: str, words: tuple[str, ...]) -> str | None:
    """As `closest`; a mistake that a file makes a thousand times costs once."""
    lowered = {known.lower(): known for known in words}
    near = get_close_matches(word.lower().replace("-", "_"), lowered, n=1) or get_close_matches(
        word.lower(), lowered, n=1
    )
    return lowered[near[0]] if near else None


def closest_value(word: str, words: Collection[str]) -> str | None:
    """As `closest`, of few words: a part of one will do, "paded" for "padded_tokens", where only one has it."""
    if near := closest(word, words):
        return near
    low = word.lower()
    fitting = [one for one in words if get_close_matches(low, re.split(r"[_-]", one.lower()), n=1, cutoff=_OF_A_PART)]
    return fitting[0] if len(fitting) == 1 else None


def did_you_mean(word: str, words: Collection[str], otherwise: str = "") -> str:
    """The question for a misspelt word; `otherwise` where none of `words` is near."""
    near = closest(word, words)
    return f'did you mean "{near}"?' if near else otherwise


def factor(unit: str, wanted: str) -> float | None:
    """What turns a number in `unit` into one in `wanted`; None where they do not measure the same."""
    for scale in (_SECONDS, _BYTES):
        if unit.lower() in scale and wanted in scale:
            return scale[unit.lower()] / scale[wanted]
    return None


def unit_of(key: str) -> tuple[str, str]:
    """A key's stem and unit: "max_wait_ms" -> ("max_wait", "ms"); the unit is "" where the key carries none."""
    stem, _, unit = key.rpartition("_")
    return (stem, unit) if stem and (unit in _SECONDS or unit in _BYTES) else (key, "")


def unit_twin(key: str, known: Collection[str]) -> Twin | None:
    """The known key that differs from `key` only in its unit."""
    stem, unit = unit_of(key)
    for candidate in known:
        other_stem, other_unit = unit_of(candidate)
        scale = factor(unit, other_unit)
        if candidate != key and other_stem == stem and scale is not None:
            return Twin(candidate, scale)
    return None


def quantity(text: str) -> Quantity | None:
    """Read "1500ms", "15 s" or "7"; None for anything else."""
    match = _QUANTITY.fullmatch(text)
    return Quantity(float(match[1]), match[2]) if match else None


def number_for(key: str, text: str) -> float | None:
    """The number that a text stands for in the unit of `key`: ("timeout_s", "1500ms") -> 1.5."""
    read = quantity(text)
    if read is None or not read.unit:
        return read and read.number
    scale = factor(read.unit, unit_of(key)[1])
    return None if scale is None else tidy(read.number * scale)


def tidy(number: float) -> float:
    """The number without the noise of a conversion: 0.015 s are 15 ms, not 14.999999999999998."""
    return float(f"{number:.12g}")


def toml(value: Any) -> str:
    """A plain value in TOML; whole floats are written without a fraction where that is exact."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if math.isfinite(value) and value == int(value) else repr(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{toml_key(key)} = {toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(toml, value)) + "]"
    return str(value)


def toml_key(key: object) -> str:
    """A key, quoted where it must be."""
    return str(key) if _BARE.fullmatch(str(key)) else toml(str(key))

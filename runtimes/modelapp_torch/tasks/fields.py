"""The keys of a record, read as a task declares them."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelapp.errors import InvalidInput
from modelapp.media import Audio


def text_of(row: Mapping[str, Any], key: str = "text") -> str:
    """A str. Raises InvalidInput."""
    value = row.get(key)
    if not isinstance(value, str):
        raise _wrong(key, "a str", value)
    return value


def optional_text(row: Mapping[str, Any], key: str) -> str:
    """A str, "" where it is left out or null. Raises InvalidInput."""
    return "" if row.get(key) is None else text_of(row, key)


def number_of(row: Mapping[str, Any], key: str, default: float, *, low: float, high: float) -> float:
    """A finite number from `low` to `high`. Raises InvalidInput."""
    value = default if row.get(key) is None else row[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _wrong(key, "a number", value)
    if not low <= value <= high:
        raise InvalidInput(f'"{key}" must be from {low:g} to {high:g}, got {value:g}', field=key)
    return float(value)


def whole_of(row: Mapping[str, Any], key: str, default: int, *, low: int, high: int) -> int:
    """A whole number from `low` to `high`. Raises InvalidInput."""
    value = default if row.get(key) is None else row[key]
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong(key, "a whole number", value)
    if not low <= value <= high:
        raise InvalidInput(f'"{key}" must be from {low} to {high}, got {value}', field=key)
    return value


def image_of(row: Mapping[str, Any], key: str = "image") -> NDArray[np.uint8]:
    """A picture with pixels, uint8 [height, width, 3]. Raises InvalidInput."""
    value = row.get(key)
    if not isinstance(value, np.ndarray) or value.dtype != np.uint8 or value.ndim != 3 or value.shape[2] != 3:
        raise _wrong(key, "an image, uint8 [height, width, 3]", value)
    if not value.size:
        raise InvalidInput(f'"{key}" is {value.shape[1]} x {value.shape[0]} pixels large', field=key)
    return value


def audio_of(row: Mapping[str, Any], key: str = "audio") -> Audio:
    """Sound with samples, all of them finite. Raises InvalidInput."""
    value = row.get(key)
    if not isinstance(value, Audio):
        raise _wrong(key, "audio", value)
    if not value.samples.size or value.sample_rate_hz < 1:
        raise InvalidInput(f'"{key}" has no samples', field=key)
    if not np.isfinite(value.samples).all():
        raise InvalidInput(f'"{key}" holds samples that are NaN or infinite', field=key)
    return value


def _wrong(key: str, wanted: str, value: Any) -> InvalidInput:
    if value is None:
        return InvalidInput(f'"{key}" is missing: this model takes {wanted}', field=key)
    got = f"{value.dtype} {list(value.shape)}" if isinstance(value, np.ndarray) else type(value).__name__
    return InvalidInput(f'"{key}" must be {wanted}, got {got}', field=key)

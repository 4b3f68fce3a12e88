"""Inputs to try an app with: of its first test, or drawn from what its endpoints and models declare."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from modelapp import media
from modelapp.app import App, Endpoint, Field
from modelapp.fieldtype import FieldType, is_url
from modelapp.payload import embedded
from modelapp.runtime import Rows
from modelapp.signature import Signature

_FREE_SIZE = 8
"""The size tried where a model leaves one open."""


def first_tested_input(app: App, endpoint: Endpoint) -> dict[str, Any] | None:
    """The JSON document of the first test that expects an answer of `endpoint`; None where there is none."""
    for test in app.tests:
        if app.endpoint_of(test) == endpoint and test.input and test.expect_error is None:
            fetched = {name: value for name, value in test.input.items() if _may_fetch(endpoint.input.get(name))}
            if _has_url(fetched):
                continue  # nothing is fetched before anybody asks
            return embedded(endpoint, test.input, app.root)
    return None


def _may_fetch(field: Field | None) -> bool:
    return field is not None and (bool(field.allow_hosts) or any(map(_may_fetch, field.fields.values())))


def _has_url(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_has_url, value.values()))
    return any(map(_has_url, value)) if isinstance(value, list) else is_url(value)


def drawn_input(fields: Mapping[str, Field]) -> dict[str, Any]:
    """A made-up JSON document that the declaration allows; fields with a default are left out."""
    return {name: _draw(field, field.type) for name, field in fields.items() if field.required}


def _draw(field: Field, kind: FieldType) -> Any:
    if field.choices:
        return field.choices[0]
    if kind.item is not None:
        return [_draw(field, kind.item)] * max(1, field.min_items or 0)
    match kind.word:
        case "str":
            return "a" * max(1, field.min_chars or 0)
        case "int" | "float":
            number = min(1, field.max) if field.max is not None else 1
            number = max(number, field.min) if field.min is not None else number
            return int(number) if kind.word == "int" else float(number)
        case "bool":
            return False
        case "image":
            return media.to_base64(media.encode_png(np.full((64, 64, 3), 127, np.uint8)))
        case "audio":
            return media.to_base64(media.encode_wav(media.Audio(np.zeros((1600, 1), np.float32), 16000)))
        case "bytes" | "video":
            return media.to_base64(b"\0" * 16)
        case "box":
            return {"x_min": 0.0, "y_min": 0.0, "x_max": 1.0, "y_max": 1.0}
        case "tensor":
            return np.zeros([_FREE_SIZE if dim < 0 else dim for dim in field.shape or (_FREE_SIZE,)]).tolist()
        case "record":
            return {name: _draw(inner, inner.type) for name, inner in field.fields.items() if inner.required}
        case _:
            return {}


def drawn_rows(signature: Signature) -> Rows | None:
    """One row of zeros for a model over tensors; None where the model takes records."""
    if signature.kind == "records":
        return None
    rows: dict[str, Any] = {}
    for spec in signature.inputs:
        if spec.optional:
            continue
        sizes = [dim if isinstance(dim, int) else _FREE_SIZE for dim in spec.shape]
        if signature.batched and sizes:
            sizes[0] = 1
        empty = {"string": "", "bytes": b""}
        rows[spec.name] = np.full(sizes, empty.get(spec.dtype, 0), dtype=spec.numpy_dtype)
    return rows

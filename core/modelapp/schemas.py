"""Declared fields as JSON Schema (draft 2020-12), for the OpenAPI document."""

from collections.abc import Mapping
from typing import Any

import attrs

from modelapp.app import Field
from modelapp.fieldtype import MEDIA, FieldType
from modelapp.values import BOX_FIELDS

Schema = dict[str, Any]

_WORDS: Mapping[str, Schema] = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "json": {},
}
_MEDIA_TYPES = {"image": "image/*", "audio": "audio/*", "video": "video/*", "bytes": "application/octet-stream"}
_ELEMENTS = {"b": "boolean", "i": "integer", "u": "integer", "f": "number", "s": "string"}
_NUMBER_BOUNDS = (("min", "minimum"), ("max", "maximum"))
_TEXT_BOUNDS = (("min_chars", "minLength"), ("max_chars", "maxLength"))
_LIST_BOUNDS = (("min_items", "minItems"), ("max_items", "maxItems"))


def object_schema(fields: Mapping[str, Field], *, answer: bool = False) -> Schema:
    """The schema of a request's or, with `answer`, of an answer's JSON object. No fields: any object."""
    if not fields:
        return {"type": "object"}
    schema: Schema = {
        "type": "object",
        "properties": {name: field_schema(field, answer=answer) for name, field in fields.items()},
        "additionalProperties": False,
    }
    required = [name for name, field in fields.items() if answer or field.required]
    if required:
        schema["required"] = required
    return schema


def form_schema(fields: Mapping[str, Field]) -> Schema:
    """The schema of the same request as a multipart form, media as files."""
    schema = object_schema(fields)
    binary = {"type": "string", "format": "binary"}
    for name, field in fields.items():
        if field.type.innermost in MEDIA:
            schema["properties"][name] = {"type": "array", "items": binary} if field.type.item else binary
    return schema


def has_media(fields: Mapping[str, Field]) -> bool:
    """Whether any field, nested ones left aside, travels as bytes."""
    return any(field.type.innermost in MEDIA for field in fields.values())


def field_schema(field: Field, *, answer: bool = False) -> Schema:
    """The schema of one field, with its bounds, default and description."""
    schema = _of_type(field.type, field, answer, outermost=True)
    if field.doc:
        schema["description"] = field.doc
    if field.sensitive:
        schema["x-sensitive"] = True
    elif (
        not answer and field.default is not attrs.NOTHING and isinstance(field.default, str | int | float | list | None)
    ):
        schema["default"] = field.default
    return schema


def _of_type(type_: FieldType, field: Field, answer: bool, *, outermost: bool = False) -> Schema:
    if type_.item is not None:
        schema: Schema = {"type": "array", "items": _of_type(type_.item, field, answer)}
        if outermost:
            _add(schema, field, _LIST_BOUNDS)
    elif type_.word in MEDIA:
        schema = _media(type_.word, answer)
        if field.allow_hosts and not answer:
            schema["description"] += f", or a URL of {', '.join(field.allow_hosts)}"
            schema.pop("contentEncoding")
    elif type_.word == "tensor":
        schema = _tensor(field)
    elif type_.word == "box":
        schema = object_schema(BOX_FIELDS)
    elif type_.word == "record":
        schema = object_schema(field.fields, answer=answer)
    else:
        schema = dict(_WORDS[type_.word])
        _add_bounds(schema, type_.word, field)
    return {"anyOf": [schema, {"type": "null"}]} if type_.nullable else schema


def _add_bounds(schema: Schema, word: str, field: Field) -> None:
    if word in ("int", "float"):
        _add(schema, field, _NUMBER_BOUNDS)
    if word == "str":
        _add(schema, field, _TEXT_BOUNDS)
        if field.pattern:
            schema["pattern"] = field.pattern
    if field.choices:
        schema["enum"] = list(field.choices)


def _add(schema: Schema, field: Field, bounds: tuple[tuple[str, str], ...]) -> None:
    for ours, theirs in bounds:
        bound = getattr(field, ours)
        if bound is not None:
            schema[theirs] = bound


def _media(word: str, answer: bool) -> Schema:
    if answer:
        kind = {"image": "image/png", "audio": "audio/wav"}.get(word, "application/octet-stream")
        return {"type": "string", "contentEncoding": "base64", "contentMediaType": kind}
    return {
        "type": "string",
        "contentEncoding": "base64",
        "contentMediaType": _MEDIA_TYPES[word],
        "description": "base64 text, or a data URL",
    }


def _tensor(field: Field) -> Schema:
    kind = field.dtype[:1] if field.dtype not in ("bytes", "bool") else {"bytes": "s", "bool": "b"}[field.dtype]
    schema: Schema = {"type": _ELEMENTS[kind]}
    if not field.shape:
        return {"description": f"nested lists of {field.dtype}, of any shape"}
    for size in reversed(field.shape):
        schema = {"type": "array", "items": schema}
        if size >= 0:
            schema |= {"minItems": size, "maxItems": size}
    return schema

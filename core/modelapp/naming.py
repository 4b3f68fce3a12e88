"""The files that app.toml names and that decide an answer or a verdict: what a lock is about."""

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from modelapp.app import App, Field, Model
from modelapp.fieldtype import MEDIA


@attrs.frozen
class Named:
    """A source as app.toml writes it. `key` is its place there, `file` its name in the `files` of `model`."""

    source: str
    key: str
    model: str = ""
    file: str = ""


def named(app: App) -> Iterator[Named]:
    """Every source, file and folder that `app` names, except what a test expects and where a server finds its keys."""
    if app.app.requirements:
        yield Named(app.app.requirements, "app.requirements")
    for model in app.models.values():
        yield from _of_model(model)
    for endpoint in app.endpoints.values():
        for table, fields in (("input", endpoint.input), ("output", endpoint.output)):
            yield from _of_fields(fields, f"endpoints.{endpoint.name}.{table}")
    yield from _of_tests(app)
    for latency in app.guarantees.latency.values():
        if latency.inputs:
            yield Named(latency.inputs, "guarantees.latency.inputs")
    if app.guarantees.drift:
        yield Named(app.guarantees.drift.reference, "guarantees.drift.reference")


def _of_model(model: Model) -> Iterator[Named]:
    key = f"models.{model.name}"
    yield Named(model.source, f"{key}.source", model.name)
    for name, source in model.files.items():
        yield Named(source, f"{key}.files.{name}", model.name, name)
    if model.labels:
        yield Named(model.labels, f"{key}.labels", model.name, "labels")


def _of_fields(fields: Mapping[str, Field], key: str) -> Iterator[Named]:
    for field in fields.values():
        if field.fields_from:
            yield Named(field.fields_from, f"{key}.{field.name}.fields_from")
        yield from _of_fields(field.fields, f"{key}.{field.name}.fields")


def _of_tests(app: App) -> Iterator[Named]:
    for test in app.tests:
        key = f'test "{test.name}"'
        if test.cases:
            yield Named(test.cases, f"{key}: cases")
        fields = app.endpoint_of(test).input
        for name, value in test.input.items():
            if name in fields and fields[name].type.innermost in MEDIA:
                for path in _texts(value):
                    yield Named(path, f"{key}: input.{name}")


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str) and "://" not in value:
        yield value
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _texts(one)

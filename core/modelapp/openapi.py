"""The OpenAPI 3.1 document of an app: what its endpoints and its protocols' routes take and give."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from modelapp.app import App, Endpoint
from modelapp.bodies import FORM_TYPE, JSON_TYPE
from modelapp.eventstream import STREAM_TYPE
from modelapp.routes import ProtocolRoutes
from modelapp.schemas import form_schema, has_media, object_schema

Json = dict[str, Any]

ERRORS: Mapping[int, str] = {
    400: "The body cannot be read: broken JSON, NaN, bad UTF-8, too deep, cut",
    401: "No bearer token, or an unknown one, where the app asks for one",
    403: "The token may not do this",
    404: "No such route",
    405: "The route takes other methods; the Allow header names them",
    408: "The body did not arrive in time",
    413: "The body is too large",
    415: "The content type is not read here",
    422: "The input is not what was declared; `field` names the place",
    429: "Too many requests wait, are in progress, or came in a second; Retry-After says when to come back",
    500: "The model failed, or answered what it did not declare",
    503: "Not ready, or stopping; Retry-After says when to come back",
    504: "No answer in the time allowed",
}
"""Status -> what it means, on natural routes."""

_RETRY = {
    "Retry-After": {
        "description": "Whole seconds to wait before the next try",
        "schema": {"type": "integer", "minimum": 1},
    }
}
_EVENTS = (
    "Server-sent events: each piece as data; at the end the event done with the whole answer, or the event error with"
    " the error"
)
_ERROR_SCHEMA: Json = {
    "type": "object",
    "required": ["error"],
    "additionalProperties": False,
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "field"],
            "additionalProperties": False,
            "properties": {
                "code": {"type": "string", "description": "A stable word, e.g. invalid_input"},
                "message": {"type": "string", "description": "What is wrong, for people"},
                "field": {"type": ["string", "null"], "description": "The input at fault, e.g. boxes[0].label"},
            },
        }
    },
}


def endpoint_operation(endpoint: Endpoint) -> Json:
    """The OpenAPI operation of an endpoint's POST route."""
    content: Json = {JSON_TYPE: {"schema": object_schema(endpoint.input)}}
    if has_media(endpoint.input):
        content[FORM_TYPE] = {"schema": form_schema(endpoint.input)}
    answer = object_schema(endpoint.output, answer=True) if endpoint.output else {}
    told: Json = {"description": "The answer", "content": {JSON_TYPE: {"schema": answer}}}
    if endpoint.stream:
        told["description"] = "The answer: as events, unless the Accept header names JSON alone"
        told["content"][STREAM_TYPE] = {"schema": {"type": "string", "description": _EVENTS}}
    responses: Json = {"200": told}
    responses |= {str(status): {"$ref": f"#/components/responses/Error{status}"} for status in ERRORS}
    return {
        "operationId": endpoint.name,
        "summary": f"Run {endpoint.name}",
        "tags": ["endpoints"],
        "requestBody": {"required": True, "content": content},
        "responses": responses,
    }


def openapi_document(app: App, release: str, protocols: Sequence[ProtocolRoutes]) -> Json:
    """The whole document: every route of `protocols` that describes itself, and the health routes."""
    paths: Json = {}
    for protocol in protocols:
        for route in protocol.routes:
            if route.document is not None:
                operation = _with_path_parameters(route.path, dict(route.document))
                paths.setdefault(route.path, {})[route.method.lower()] = operation
    info: Json = {"title": app.name, "version": release or "0"}
    if app.app.description:
        info["description"] = app.app.description
    components: Json = {"schemas": {"Error": _ERROR_SCHEMA}, "responses": _error_responses()}
    for protocol in protocols:
        for kind, named in protocol.components.items():
            components.setdefault(kind, {}).update(named)
    document: Json = {"openapi": "3.1.0", "info": info, "paths": dict(sorted(paths.items())), "components": components}
    if app.server.tokens_env:
        components.setdefault("securitySchemes", {})["token"] = {"type": "http", "scheme": "bearer"}
        _ask_for_token(protocols, paths)
    return document


def _ask_for_token(protocols: Sequence[ProtocolRoutes], paths: Json) -> None:
    for protocol in protocols:
        for route in protocol.routes:
            if route.document is not None and route.access != "open":
                paths[route.path][route.method.lower()]["security"] = [{"token": []}]


def plain_operation(operation_id: str, summary: str, answers: Mapping[int, str]) -> Json:
    """The operation of a route without a body whose answers are JSON objects; `answers` is status -> description."""
    content = {JSON_TYPE: {"schema": {"type": "object"}}}
    return {
        "operationId": operation_id,
        "summary": summary,
        "tags": ["health"],
        "responses": {str(status): {"description": text, "content": content} for status, text in answers.items()},
    }


def _error_responses() -> Json:
    content = {JSON_TYPE: {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {
        f"Error{status}": {"description": text, "content": content}
        | ({"headers": _RETRY} if status in (429, 503) else {})
        for status, text in ERRORS.items()
    }


def _with_path_parameters(path: str, operation: Json) -> Json:
    declared = {parameter.get("name") for parameter in operation.get("parameters", ())}
    missing = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"\{(\w+)\}", path)
        if name not in declared
    ]
    return operation | {"parameters": [*operation.get("parameters", ()), *missing]} if missing else operation

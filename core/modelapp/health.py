"""The routes that tell about the replica: alive, ready, what it serves, and how it is described."""

from collections.abc import Mapping

import msgspec

from modelapp.natural import natural_error
from modelapp.openapi import plain_operation
from modelapp.routes import HttpRequest, HttpResponse, ProtocolRoutes, Route
from modelapp.service import Service


def health_protocol(service: Service, document: Mapping[str, object]) -> ProtocolRoutes:
    """`/livez`, `/readyz`, `/openapi.json` and the index at `/`; all answer while the app takes no requests."""
    description = HttpResponse(200, msgspec.json.encode(_with_own_paths(document)))
    index = HttpResponse(200, msgspec.json.encode(_index(service)))

    async def livez(request: HttpRequest) -> HttpResponse:
        return HttpResponse(200, b'{"live":true}')

    async def readyz(request: HttpRequest) -> HttpResponse:
        found = service.readiness()
        body = {
            "ready": found.ready,
            "reason": found.reason,
            "models": dict(found.models),
            "endpoints": dict(found.endpoints),
        }
        return HttpResponse(200 if found.ready else 503, msgspec.json.encode(body))

    async def openapi(request: HttpRequest) -> HttpResponse:
        return description

    async def root(request: HttpRequest) -> HttpResponse:
        return index

    handlers = {"/livez": livez, "/readyz": readyz, "/openapi.json": openapi, "/": root}
    routes = [
        Route("GET", path, handler, document=OPERATIONS[path], always=True, access="open")
        for path, handler in handlers.items()
    ]
    return ProtocolRoutes(name="health", prefix="/", routes=tuple(routes), error=natural_error)


OPERATIONS: Mapping[str, Mapping[str, object]] = {
    "/": plain_operation("index", "What this app serves", {200: "Name, release and endpoints"}),
    "/livez": plain_operation("live", "Whether the process answers", {200: "It does"}),
    "/readyz": plain_operation(
        "ready",
        "Whether the app takes requests",
        {200: "It does", 503: "It does not; `reason` says why, `models` and `endpoints` tell each by name"},
    ),
    "/openapi.json": plain_operation("openapi", "This document", {200: "OpenAPI 3.1"}),
}


def _with_own_paths(document: Mapping[str, object]) -> dict[str, object]:
    paths = document.get("paths")
    known = dict(paths) if isinstance(paths, Mapping) else {}
    for path, operation in OPERATIONS.items():
        known[path] = {**known.get(path, {}), "get": operation}
    return {**document, "paths": dict(sorted(known.items()))}


def _index(service: Service) -> dict[str, object]:
    app = service.app
    return {
        "name": app.name,
        "description": app.app.description,
        "release": service.release,
        "endpoints": {name: endpoint.route for name, endpoint in app.endpoints.items()},
        "docs": "/openapi.json",
    }

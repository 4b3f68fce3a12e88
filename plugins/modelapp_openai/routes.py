"""The routes below /v1."""

import time
from typing import Any

import msgspec

from modelapp.routes import HttpRequest, HttpResponse, ProtocolRoutes, Route
from modelapp.service import Service
from modelapp_openai.errors import openai_error


def openai_routes(service: Service) -> ProtocolRoutes:
    """The routes for which the app has a model, and /v1/models."""
    since_s = int(time.time())

    async def models(_: HttpRequest) -> HttpResponse:
        told: list[dict[str, Any]] = [
            {"id": name, "object": "model", "created": since_s, "owned_by": service.app.name}
            for name, model in service.models.items()
            if model.model.task
        ]
        return HttpResponse(200, msgspec.json.encode({"object": "list", "data": told}))

    return ProtocolRoutes(
        "openai", "/v1", (Route("GET", "/v1/models", models, always=True, access="model"),), openai_error
    )

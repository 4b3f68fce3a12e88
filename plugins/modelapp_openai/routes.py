"""The routes below /v1: those for which the app has a model, and /v1/models."""

import time
from collections.abc import Awaitable, Callable

import msgspec

from modelapp.routes import HttpRequest, HttpResponse, HttpStream, ProtocolRoutes, Route
from modelapp.service import Service
from modelapp_openai import listing
from modelapp_openai.chat import Chat
from modelapp_openai.completions import Completions
from modelapp_openai.documents import Documents, components
from modelapp_openai.embeddings import Embeddings
from modelapp_openai.errors import openai_error
from modelapp_openai.speech import Speech
from modelapp_openai.transcriptions import Transcriptions

TIMEOUT_S = 600.0
"""How long a request may take, the whole of a stream included; as long as OpenAI's clients wait."""
_LISTED = (*listing.GENERATING, *listing.EMBEDDING, *listing.SPEAKING, *listing.WRITING_DOWN)
Handler = Callable[[HttpRequest], Awaitable[HttpResponse | HttpStream]]


def openai_routes(service: Service) -> ProtocolRoutes:
    """All routes below /v1 that this app has. They and the models are the same for as long as they are served."""
    models = listing.Listing(service, int(time.time()))
    documents = Documents(models)
    most_bytes = service.app.server.max_body_bytes
    work: tuple[tuple[tuple[str, ...], str, Handler, dict[str, object]], ...] = (
        (listing.GENERATING, "/v1/completions", Completions(service, models), documents.completions()),
        (listing.CHATTING, "/v1/chat/completions", Chat(service, models), documents.chat()),
        (listing.EMBEDDING, "/v1/embeddings", Embeddings(service, models), documents.embeddings()),
        (listing.SPEAKING, "/v1/audio/speech", Speech(service, models), documents.speech()),
        (listing.WRITING_DOWN, "/v1/audio/transcriptions", Transcriptions(service, models), documents.transcriptions()),
    )
    routes = [
        Route("POST", path, handler, most_bytes, TIMEOUT_S, document=document, access="model")
        for tasks, path, handler, document in work
        if models.doing(tasks)
    ]
    absent = {path: _lacking(tasks) for tasks, path, _, _ in work if not models.doing(tasks)}
    every = (*_about(models, documents), *routes)
    return ProtocolRoutes("openai", "/v1", every, openai_error, components=components(), absent=absent)


def _lacking(tasks: tuple[str, ...]) -> str:
    return "no model of the app has task = " + " or ".join(f'"{task}"' for task in tasks)


def _about(models: listing.Listing, documents: Documents) -> list[Route]:
    async def every(request: HttpRequest) -> HttpResponse:
        return HttpResponse(200, msgspec.json.encode(models.told(_LISTED, request.call)))

    async def one(request: HttpRequest) -> HttpResponse:
        return HttpResponse(200, msgspec.json.encode(models.one(request.params["model"], _LISTED, request.call)))

    about = documents.models(), documents.model(_LISTED)
    return [
        Route("GET", "/v1/models", every, document=about[0], always=True, access="model"),
        Route("GET", "/v1/models/{model}", one, document=about[1], always=True, access="model"),
    ]

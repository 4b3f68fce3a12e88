"""The protocol's REST routes."""

from collections.abc import Awaitable, Callable
from typing import Any

from modelapp.answers import encode_json
from modelapp.errors import InvalidInput, RequestError
from modelapp.routes import Access, HttpRequest, HttpResponse, HttpStream, ProtocolRoutes, Route
from modelapp.service import Service
from modelapp_oip import about, repository
from modelapp_oip.documents import Documents, components
from modelapp_oip.inference import Inference
from modelapp_oip.parameters import flag, parameters_of
from modelapp_oip.requests import read_object
from modelapp_oip.statistics import Statistics, of_process

_VERSIONED = ("/v2/models/{model}", "/v2/models/{model}/versions/{version}")
TIMEOUT_S = 30.0
"""How long an inference request may take."""
_SMALL_BODY_BYTES = 1024 * 1024
Handler = Callable[[HttpRequest], Awaitable[HttpResponse | HttpStream]]


def oip_error(error: RequestError) -> HttpResponse:
    """Every failure is {"error": text}; all bad input is 400, since the protocol knows no finer word."""
    status = 400 if isinstance(error, InvalidInput) else error.status
    return HttpResponse(status, encode_json({"error": error.message}))


def oip_routes(service: Service, statistics: Statistics | None = None) -> ProtocolRoutes:
    """All routes below /v2. `statistics` are those of the process unless given."""
    routes = _Routes(service, statistics or of_process())
    return ProtocolRoutes("oip", "/v2", routes.all(), oip_error, components=components())


class _Routes:
    """The routes, and the handlers of those that are no inference."""

    def __init__(self, service: Service, statistics: Statistics) -> None:
        self._service = service
        self._statistics = statistics
        self._documents = Documents(service.models)
        self._inference = Inference(service)
        self._most_bytes = service.app.server.max_body_bytes
        statistics.know(service.models)

    def all(self) -> tuple[Route, ...]:
        """Every route."""
        described = "What this server is, and which extensions of the protocol it speaks"
        routes = [
            self._get("/v2", self.server_metadata, "server", described, "Server"),
            self._get("/v2/", self.server_metadata, "server", described, "Server"),
            self._get("/v2/health/live", self.live, "live", "Whether the process answers", "Live"),
            self._get("/v2/health/ready", self.ready, "ready", "Whether it takes requests", "Ready", not_ready="Ready"),
            self._get(
                "/v2/models/stats", self.all_statistics, "all_stats", "All models' figures", "Statistics", "metrics"
            ),
            *self._of_repository(),
        ]
        for prefix in _VERSIONED:
            routes += self._of_model(prefix)
        return tuple(routes)

    def _of_repository(self) -> list[Route]:
        path = "/v2/repository/models/{model}"
        index, load, unload = "/v2/repository/index", f"{path}/load", f"{path}/unload"
        post = self._documents.post
        told = post(index, "index", "Every model and its state", "IndexRequest", "Index", empty=True)
        loading = post(load, "load", "Load a model from its files as they are now", "Load", "Loaded", empty=True)
        unloading = post(unload, "unload", "Unload a model", "Load", "Loaded", empty=True)
        return [
            Route("POST", index, self.index, _SMALL_BODY_BYTES, document=told, always=True, access="metrics"),
            Route("POST", load, self.load, _SMALL_BODY_BYTES, document=loading, access="admin"),
            Route("POST", unload, self.unload, _SMALL_BODY_BYTES, document=unloading, access="admin"),
        ]

    def _of_model(self, prefix: str) -> list[Route]:
        generate, stream, infer = f"{prefix}/generate", f"{prefix}/generate_stream", f"{prefix}/infer"
        generating = self._documents.post(generate, "generate", "Answer one flat object", "Generate", "Generated")
        return [
            self._get(prefix, self.model_metadata, "model", "What a model takes and gives", "Model", "model"),
            self._get(
                f"{prefix}/ready", self.model_ready, "model_ready", "Whether a model takes requests", "Ready",
                not_ready="Ready",
            ),
            self._get(f"{prefix}/config", self.model_config, "config", "How a model is configured", "Config", "model"),
            self._get(f"{prefix}/stats", self.model_statistics, "stats", "A model's figures", "Statistics", "model"),
            self._work(infer, self._inference.infer, self._documents.infer(infer)),
            self._work(generate, self._inference.generate, generating),
            self._work(stream, self._inference.generate_stream, self._documents.stream(stream)),
        ]  # fmt: skip

    def _get(
        self,
        path: str,
        handler: Handler,
        name: str,
        summary: str,
        answer: str,
        access: Access = "open",
        *,
        not_ready: str = "",
    ) -> Route:
        document = self._documents.get(path, name, summary, answer, not_ready=not_ready)
        return Route("GET", path, handler, document=document, always=True, access=access)

    def _work(self, path: str, handler: Handler, document: dict[str, Any]) -> Route:
        return Route("POST", path, handler, self._most_bytes, TIMEOUT_S, document=document, access="model")

    async def live(self, _: HttpRequest) -> HttpResponse:
        return _json({"live": True})

    async def ready(self, _: HttpRequest) -> HttpResponse:
        readiness = self._service.readiness()
        if not readiness.ready:
            # KServe's client reads the body, Triton's the status.
            return _json({"live": True, "ready": False, "error": readiness.reason}, status=503)
        return _json({"live": True, "ready": True})

    async def server_metadata(self, _: HttpRequest) -> HttpResponse:
        return _json(about.server_metadata(self._service))

    async def model_ready(self, request: HttpRequest) -> HttpResponse:
        model = about.model_of(self._service, request.params)
        if reason := about.why_not_ready(self._service, model):
            return _json({"name": model.name, "ready": False, "error": reason}, status=503)
        return _json({"name": model.name, "ready": True})

    async def model_metadata(self, request: HttpRequest) -> HttpResponse:
        return _json(about.model_metadata(about.model_of(self._service, request.params)))

    async def model_config(self, request: HttpRequest) -> HttpResponse:
        return _json(about.model_config(about.model_of(self._service, request.params)))

    async def model_statistics(self, request: HttpRequest) -> HttpResponse:
        return _json(self._statistics.told([about.model_of(self._service, request.params)]))

    async def all_statistics(self, _: HttpRequest) -> HttpResponse:
        return _json(self._statistics.told(self._service.models.values()))

    async def index(self, request: HttpRequest) -> HttpResponse:
        asked = await read_object(request, _SMALL_BODY_BYTES)
        return _json(repository.index(self._service, ready=flag(asked, "ready")))

    async def load(self, request: HttpRequest) -> HttpResponse:
        asked = await read_object(request, _SMALL_BODY_BYTES)
        await repository.load(self._service, request.params["model"], parameters_of(asked))
        return _json({"name": request.params["model"], "state": "READY"})

    async def unload(self, request: HttpRequest) -> HttpResponse:
        asked = await read_object(request, _SMALL_BODY_BYTES)
        await repository.unload(self._service, request.params["model"], parameters_of(asked))
        return _json({"name": request.params["model"], "state": "UNAVAILABLE"})


def _json(value: object, *, status: int = 200) -> HttpResponse:
    return HttpResponse(status, encode_json(value))

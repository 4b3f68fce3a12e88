"""The protocol's REST routes: health, metadata and inference in JSON."""

from typing import Any

from modelapp.answers import encode_json
from modelapp.bodies import OFF_LOOP_BYTES, inflate, off_loop
from modelapp.errors import BadRequest, InvalidInput, NotFound, NotReady, RequestError
from modelapp.routes import HttpRequest, HttpResponse, ProtocolRoutes, Route
from modelapp.service import ModelService, Service
from modelapp.signature import Signature, TensorSpec
from modelapp_oip.wire import VERSION, Wire

_BINARY = "inference-header-content-length"
"""The header of requests whose tensors follow the JSON as raw bytes."""


def oip_error(error: RequestError) -> HttpResponse:
    """Every failure is {"error": text}; all bad input is 400, since the protocol knows no finer word."""
    status = 400 if isinstance(error, InvalidInput) else error.status
    return HttpResponse(status, encode_json({"error": error.message}))


def oip_routes(service: Service) -> ProtocolRoutes:
    """All routes below /v2."""
    max_body_bytes = int(service.app.server.max_body_mb * 1024 * 1024)
    protocol = _Oip(service, max_body_bytes)
    routes = [
        Route("GET", "/v2", protocol.server_metadata, always=True, access="open"),
        Route("GET", "/v2/", protocol.server_metadata, always=True, access="open"),
        Route("GET", "/v2/health/live", protocol.live, always=True, access="open"),
        Route("GET", "/v2/health/ready", protocol.ready, always=True, access="open"),
    ]
    for prefix in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
        routes += [
            Route("GET", prefix, protocol.model_metadata, always=True, access="model"),
            Route("GET", f"{prefix}/ready", protocol.model_ready, always=True, access="open"),
            Route("POST", f"{prefix}/infer", protocol.infer, max_body_bytes, 30.0, access="model"),
        ]
    return ProtocolRoutes("oip", "/v2", tuple(routes), oip_error)


class _Oip:
    """The routes' handlers."""

    def __init__(self, service: Service, max_body_bytes: int) -> None:
        self._service = service
        self._wires: dict[str, Wire] = {}
        self._max_body_bytes = max_body_bytes

    async def live(self, _: HttpRequest) -> HttpResponse:
        return _json({"live": True})

    async def ready(self, _: HttpRequest) -> HttpResponse:
        readiness = self._service.readiness()
        if not readiness.ready:
            # KServe's client reads the body, Triton's the status.
            return _json({"live": True, "ready": False, "error": readiness.reason}, status=503)
        return _json({"live": True, "ready": True})

    async def server_metadata(self, _: HttpRequest) -> HttpResponse:
        return _json({"name": self._service.app.name, "version": self._service.release, "extensions": []})

    async def model_ready(self, request: HttpRequest) -> HttpResponse:
        model = self._model(request)
        if not model.ready:
            return _json({"name": model.name, "ready": False, "error": "not loaded"}, status=503)
        return _json({"name": model.name, "ready": True})

    async def model_metadata(self, request: HttpRequest) -> HttpResponse:
        model = self._model(request)
        signature = _signature(model)
        return _json(
            {
                "name": model.name,
                "versions": [VERSION],
                "platform": model.runtime,
                "inputs": [_describe(spec) for spec in signature.inputs],
                "outputs": [_describe(spec) for spec in signature.outputs],
            }
        )

    async def infer(self, request: HttpRequest) -> HttpResponse:
        model = self._model(request)
        wire = self._wires.get(model.name) or self._wire(model)
        body = request.body
        try:
            if len(body) <= OFF_LOOP_BYTES and body.startswith(b"{"):
                arrays, wanted, request_id = wire.read(body)
            else:
                arrays, wanted, request_id = await off_loop(self._read, wire, request)
        except RequestError:
            if _BINARY in request.headers:
                raise BadRequest(
                    f"{_BINARY}: tensors are read as JSON only (tritonclient: binary_data=False)"
                ) from None
            raise
        outputs: Any = await model.infer(arrays, request.call)
        return HttpResponse(200, wire.write(outputs, wanted, request_id))

    def _read(self, wire: Wire, request: HttpRequest) -> Any:
        """What `wire` reads out of a body that is large, compressed, or no JSON at all."""
        encoding = request.headers.get("content-encoding", "")
        return wire.read(inflate(request.body, encoding, self._max_body_bytes))

    def _wire(self, model: ModelService) -> Wire:
        wire = self._wires[model.name] = Wire(model.name, _signature(model))
        return wire

    def _model(self, request: HttpRequest) -> ModelService:
        name = request.params["model"]
        model = self._service.models.get(name)
        if model is None:
            raise NotFound(f'there is no model "{name[:80]}"; models: {", ".join(self._service.models) or "none"}')
        version = request.params.get("version", VERSION)
        if version != VERSION:
            raise NotFound(f'model "{name}" has no version "{version[:80]}"; versions: {VERSION}')
        return model


def _json(value: object, *, status: int = 200) -> HttpResponse:
    return HttpResponse(status, encode_json(value))


def _signature(model: ModelService) -> Signature:
    if model.signature is None:
        raise NotReady(f'model "{model.name}" is not loaded', retry_after_s=1)
    return model.signature


def _describe(spec: TensorSpec) -> dict[str, Any]:
    shape = [dim if isinstance(dim, int) else -1 for dim in spec.shape]
    return {"name": spec.name, "datatype": spec.datatype, "shape": shape}

"""The protocol's REST routes: health, metadata and inference in JSON."""

from collections.abc import Mapping
from typing import Any

from modelapp.answers import encode_json
from modelapp.bodies import decode_json
from modelapp.errors import BadRequest, InvalidInput, NotFound, NotReady, RequestError
from modelapp.routes import HttpRequest, HttpResponse, ProtocolRoutes, Route
from modelapp.runtime import Arrays
from modelapp.service import ModelService, Service
from modelapp.signature import Signature, TensorSpec
from modelapp_oip.tensors import read_tensor, write_tensor

VERSION = "1"
"""The one version of a model that an app serves; a new one is a new release."""


def oip_error(error: RequestError) -> HttpResponse:
    """Every failure is {"error": text}; all bad input is 400, since the protocol knows no finer word."""
    status = 400 if isinstance(error, InvalidInput) else error.status
    return HttpResponse(status, encode_json({"error": error.message}))


def oip_routes(service: Service) -> ProtocolRoutes:
    """All routes below /v2."""
    protocol = _Oip(service)
    max_body_bytes = int(service.app.server.max_body_mb * 1024 * 1024)
    routes = [
        Route("GET", "/v2", protocol.server_metadata, always=True),
        Route("GET", "/v2/", protocol.server_metadata, always=True),
        Route("GET", "/v2/health/live", protocol.live, always=True),
        Route("GET", "/v2/health/ready", protocol.ready, always=True),
    ]
    for prefix in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
        routes += [
            Route("GET", prefix, protocol.model_metadata, always=True),
            Route("GET", f"{prefix}/ready", protocol.model_ready, always=True),
            Route("POST", f"{prefix}/infer", protocol.infer, max_body_bytes, 30.0),
        ]
    return ProtocolRoutes("oip", "/v2", tuple(routes), oip_error)


class _Oip:
    """The routes' handlers."""

    def __init__(self, service: Service) -> None:
        self._service = service

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
        signature = _signature(model)
        body = decode_json(request.body)
        arrays, wanted, request_id = _read_request(body)
        if signature.kind == "records":
            raise InvalidInput(
                f'model "{model.name}" takes records, which this protocol cannot carry; use its endpoint'
            )
        outputs: Any = await model.infer(_as_declared(signature, arrays), request.call)
        answer: dict[str, Any] = {
            "model_name": model.name,
            "model_version": VERSION,
            "outputs": [
                write_tensor(_output(signature, name), name, outputs[name])
                for name in _chosen(wanted, outputs, model.name)
            ],
        }
        if request_id:
            answer["id"] = request_id
        return _json(answer)

    def _model(self, request: HttpRequest) -> ModelService:
        name = request.params["model"]
        model = self._service.models.get(name)
        if model is None:
            raise NotFound(f'there is no model "{name}"; models: {", ".join(self._service.models) or "none"}')
        version = request.params.get("version", VERSION)
        if version != VERSION:
            raise NotFound(f'model "{name}" has no version "{version}"; versions: {VERSION}')
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


def _read_request(body: Any) -> tuple[dict[str, Any], Any, str]:
    """The named arrays, the wanted outputs and the id of an inference request."""
    if not isinstance(body, dict):
        raise BadRequest("the body must be a JSON object")
    tensors = body.get("inputs")
    if not isinstance(tensors, list):
        raise InvalidInput('the body must have its "inputs" as a list')
    arrays: dict[str, Any] = {}
    for tensor in tensors:
        name, array = read_tensor(tensor)
        if name in arrays:
            raise InvalidInput(f'input "{name}" stands twice in "inputs"', field=name)
        arrays[name] = array
    request_id = body.get("id", "")
    if not isinstance(request_id, str):
        raise InvalidInput('"id" must be a string')
    return arrays, body.get("outputs"), request_id


def _as_declared(signature: Signature, arrays: dict[str, Any]) -> Arrays:
    """Text for models that take bytes, and half precision for models that take it: JSON has neither."""
    for spec in signature.inputs:
        array = arrays.get(spec.name)
        if array is None:
            continue
        if spec.dtype == "bytes":
            arrays[spec.name] = _encode(array)
        elif spec.dtype == "float16" and array.dtype.kind == "f":
            arrays[spec.name] = array.astype(spec.numpy_dtype)
    return arrays


def _encode(array: Any) -> Any:
    encoded = array.copy()
    encoded.ravel()[:] = [item.encode() if isinstance(item, str) else item for item in array.ravel()]
    return encoded


def _output(signature: Signature, name: str) -> TensorSpec | None:
    return next((spec for spec in signature.outputs if spec.name == name), None)


def _chosen(wanted: Any, outputs: Mapping[str, Any], model: str) -> list[str]:
    """The names of the outputs to send, as asked or all."""
    if wanted is None:
        return list(outputs)
    if not isinstance(wanted, list) or not all(isinstance(item, dict) for item in wanted):
        raise InvalidInput('"outputs" must be a list of objects')
    names = [item.get("name") for item in wanted]
    for name in names:
        if name not in outputs:
            raise InvalidInput(f'model "{model}" has no output {name!r}; its outputs: {", ".join(outputs)}')
    return names

"""Natural routes: each endpoint at its own path, JSON or a form in, JSON out, named as app.toml names it."""

from collections.abc import AsyncGenerator, Mapping
from functools import partial
from time import monotonic
from typing import Any, Protocol

import msgspec

from modelapp.answers import Outputs, encode_json
from modelapp.app import BYTES_PER_MB, App, Endpoint
from modelapp.bodies import FORM_TYPE, JSON_TYPE, OFF_LOOP_BYTES, body_form, decode_json, inflate, off_loop
from modelapp.call import Call
from modelapp.errors import InvalidInput, RequestError
from modelapp.eventstream import STREAM_TYPE, Events, failed_event, wants_json
from modelapp.fetching import Budget
from modelapp.forms import read_form
from modelapp.generating import Piece
from modelapp.masking import is_private
from modelapp.openapi import endpoint_operation
from modelapp.remote import beside, fetch_urls, takes_urls
from modelapp.routes import HttpRequest, HttpResponse, HttpStream, ProtocolRoutes, Route
from modelapp.values import Inputs

_LIVE = (("cache-control", "no-store"), ("x-accel-buffering", "no"))
"""Proxies in between shall pass each piece on as it comes."""
_MOST_S = 30.0  # where a request has no deadline


def decode_quietly(body: bytes) -> Any:
    """`decode_json`, whose errors quote no name that stands in the body."""
    try:
        return decode_json(body)
    except InvalidInput:
        raise InvalidInput("a key stands twice in one object") from None


class PipelineLike(Protocol):
    """What answers an endpoint."""

    async def run(self, values: Mapping[str, Any], call: Call) -> Any:
        """The result for one request, a mapping of outputs where the endpoint declares any; raises RequestError."""
        ...

    def stream(self, values: Mapping[str, Any], call: Call) -> AsyncGenerator[Piece]:
        """The same in pieces, of an endpoint with `stream = true`; the last one is the whole result."""
        ...


def natural_protocol(app: App, pipelines: Mapping[str, PipelineLike]) -> ProtocolRoutes:
    """One POST route for each endpoint. Raises KeyError where an endpoint has no pipeline."""
    routes = [_route(app, endpoint, pipelines[name]) for name, endpoint in app.endpoints.items()]
    return ProtocolRoutes(name="natural", prefix="/", routes=tuple(routes), error=natural_error)


def natural_error(error: RequestError) -> HttpResponse:
    """`{"error": {"code", "message", "field"}}`."""
    return HttpResponse(error.status, _error_body(error))


def _error_body(error: RequestError) -> bytes:
    return msgspec.json.encode({
        "error": {"code": error.code, "message": error.message, "field": error.field or None}
    })  # fmt: skip


_last_words = failed_event(_error_body)


def _route(app: App, endpoint: Endpoint, pipeline: PipelineLike) -> Route:
    most_mb = app.server.max_body_mb if endpoint.max_body_mb is None else endpoint.max_body_mb
    most_bytes = int(most_mb * BYTES_PER_MB)
    return Route(
        method="POST",
        path=endpoint.route,
        handler=_Handler(endpoint, pipeline, most_bytes),
        max_body_bytes=most_bytes,
        timeout_s=endpoint.timeout_s,
        document=endpoint_operation(endpoint),
        name=endpoint.name,
    )


class _Handler:
    """One endpoint: reads the body, runs the pipeline, writes the answer."""

    __slots__ = ("_decode", "_inputs", "_most_bytes", "_outputs", "_pipeline", "_remote", "_stream")

    def __init__(self, endpoint: Endpoint, pipeline: PipelineLike, most_bytes: int) -> None:
        self._decode = decode_quietly if is_private(endpoint) else decode_json
        self._inputs = Inputs(endpoint.input)
        self._outputs = Outputs(endpoint.output)
        self._remote = endpoint.input if takes_urls(endpoint.input) else None
        self._pipeline = pipeline
        self._most_bytes = most_bytes
        self._stream = Events(endpoint.output, self._outputs).write if endpoint.stream else None

    async def __call__(self, request: HttpRequest) -> HttpResponse | HttpStream:
        headers, body, call = request.headers, request.body, request.call
        content_type = headers.get("content-type")
        form = body_form(content_type, forms=self._inputs.forms)
        encoding = headers.get("content-encoding")
        if self._remote:
            values = await self._read_remote(request, form, content_type or "", encoding or "")
        elif form == JSON_TYPE and encoding is None and len(body) <= OFF_LOOP_BYTES and not self._inputs.heavy:
            values = self._inputs.read(self._decode(body))
        else:
            values = await off_loop(self._read, body, form, content_type or "", encoding or "")
        if self._stream and not wants_json(headers) and not (call.probe and call.trusted):
            chunks = self._stream(self._pipeline.stream(values, call))
            return HttpStream(chunks=chunks, last_words=_last_words, content_type=STREAM_TYPE, headers=_LIVE)
        result = await self._pipeline.run(values, call)
        if call.probe and call.trusted:
            return _probed(call)
        if self._outputs.heavy:
            return HttpResponse(200, await off_loop(self._outputs.encode, result))
        return HttpResponse(200, self._outputs.encode(result))

    async def _read_remote(self, request: HttpRequest, form: str, content_type: str, encoding: str) -> dict[str, Any]:
        """As `_read`, with the URLs in it fetched in between, each step where it keeps nobody waiting."""
        document = await off_loop(self._document, request.body, form, content_type, encoding)
        deadline_s = request.call.deadline_s
        budget = Budget(self._most_bytes, monotonic() + _MOST_S if deadline_s is None else deadline_s)
        filled = await beside(partial(fetch_urls, self._remote or {}, document, budget))
        return await off_loop(self._inputs.read, filled)

    def _read(self, body: bytes, form: str, content_type: str, encoding: str) -> dict[str, Any]:
        return self._inputs.read(self._document(body, form, content_type, encoding))

    def _document(self, body: bytes, form: str, content_type: str, encoding: str) -> Any:
        if encoding:
            body = inflate(body, encoding, self._most_bytes)
        if form == FORM_TYPE:
            return self._inputs.document(read_form(body, content_type))
        return self._decode(body)


def _probed(call: Call) -> HttpResponse:
    if call.probe not in call.steps:
        raise InvalidInput(f'there is no step "{call.probe}" to look at; steps: {", ".join(call.steps) or "none"}')
    return HttpResponse(200, encode_json({"probe": call.steps[call.probe]}))

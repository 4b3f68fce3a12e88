"""The routes that run a model: infer, generate and generate_stream."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, cast

from numpy.typing import NDArray

from modelapp.bodies import OFF_LOOP_BYTES, off_loop
from modelapp.errors import ModelFailed
from modelapp.generating import Piece
from modelapp.routes import HttpRequest, HttpResponse, HttpStream
from modelapp.runtime import Rows
from modelapp.service import ModelService, Service
from modelapp_oip.about import model_of, signature_of
from modelapp_oip.generate import Generate, event, last_event
from modelapp_oip.parameters import obey
from modelapp_oip.requests import packed, plain_body
from modelapp_oip.wire import HEADER, Asked, Wire


class Inference:
    """Answers with the models of `service`, which are the same for as long as these routes are served."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._wires: dict[str, Wire] = {}
        self._most_bytes = service.app.server.max_body_bytes

    async def infer(self, request: HttpRequest) -> HttpResponse:
        """One inference request, in JSON or with raw tensors behind it. Raises RequestError."""
        model = self._model(request)
        wire = self._wires.get(model.name) or self._wire(model)
        body, headers = request.body, request.headers
        if len(body) <= OFF_LOOP_BYTES and HEADER not in headers and "content-encoding" not in headers:
            arrays, wanted, request_id, parameters = wire.read(body)
        else:
            arrays, wanted, request_id, parameters = await self._read(wire, request)
        if parameters:
            obey(request.call, parameters)
        outputs = cast("Mapping[str, NDArray[Any]]", await model.infer(arrays, request.call))
        if wire.is_long(outputs, wanted):
            response = await off_loop(wire.write, outputs, wanted, request_id)
        else:
            response = wire.write(outputs, wanted, request_id)
        return await packed(request, response)

    async def _read(self, wire: Wire, request: HttpRequest) -> Asked:
        """What a request asks that is large, compressed, or not JSON alone."""
        body = await plain_body(request, self._most_bytes)
        header = request.headers.get(HEADER)
        if header is None:
            return await off_loop(wire.read, body) if len(body) > OFF_LOOP_BYTES else wire.read(body)
        if wire.is_slow(body, header):
            return await off_loop(wire.read_binary, body, header)
        return wire.read_binary(body, header)

    async def generate(self, request: HttpRequest) -> HttpResponse:
        """One flat JSON object, answered with another. Raises RequestError."""
        return await packed(request, HttpResponse(200, await self._generate(request)))

    async def generate_stream(self, request: HttpRequest) -> HttpStream:
        """The same, as server-sent events: one a piece, and one alone for a model that answers once."""
        model = self._model(request)
        chunks = self._pieces(model, request) if model.streams else self._whole(request)
        return HttpStream(chunks=chunks, last_words=last_event)

    async def _whole(self, request: HttpRequest) -> AsyncGenerator[bytes]:
        yield event(await self._generate(request))

    async def _pieces(self, model: ModelService, request: HttpRequest) -> AsyncGenerator[bytes]:
        """Without the answer as a whole, which would say again what the pieces said."""
        reader, rows, request_id = await self._asked(model, request)
        if isinstance(rows, Mapping):
            raise ModelFailed(f'model "{model.name}" streams, and takes no records')
        async with aclosing(cast("AsyncGenerator[Piece]", model.stream(rows[0], request.call))) as pieces:
            async for piece in pieces:
                if not piece.final:
                    yield event(reader.write([piece.record], request_id))

    async def _generate(self, request: HttpRequest) -> bytes:
        model = self._model(request)
        reader, rows, request_id = await self._asked(model, request)
        return reader.write(await model.infer(rows, request.call), request_id)

    async def _asked(self, model: ModelService, request: HttpRequest) -> tuple[Generate, Rows, str]:
        """What a request holds, obeyed as far as its parameters go, and what writes its answer."""
        reader = Generate(model.name, signature_of(model), model.model.task)
        body = await plain_body(request, self._most_bytes)
        large = len(body) > OFF_LOOP_BYTES
        rows, request_id, parameters = await off_loop(reader.read, body) if large else reader.read(body)
        obey(request.call, parameters)
        return reader, rows, request_id

    def _model(self, request: HttpRequest) -> ModelService:
        model = model_of(self._service, request.params)
        request.call.model, request.call.private = model.name, model.private
        return model

    def _wire(self, model: ModelService) -> Wire:
        wire = self._wires[model.name] = Wire(model.name, signature_of(model), model.labels)
        return wire

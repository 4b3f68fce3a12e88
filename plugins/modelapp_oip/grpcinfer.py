"""Inference by gRPC: one request, from the bytes of its message to the bytes of the answer."""

from typing import cast

from modelapp.bodies import OFF_LOOP_BYTES, off_loop
from modelapp.call import Call
from modelapp.errors import RequestError, TooLarge
from modelapp.runtime import Rows
from modelapp.service import Host, ModelService
from modelapp.signature import Signature
from modelapp_oip.about import find_model, signature_of
from modelapp_oip.grpccall import Context, contained, headers_of, name_model, new_call, refuse
from modelapp_oip.grpccodes import trailing
from modelapp_oip.grpcframe import Frame
from modelapp_oip.grpcmessages import Message, values_of
from modelapp_oip.grpcwire import Arrays, GrpcWire
from modelapp_oip.parameters import obey


class GrpcInfer:
    """Answers requests with the models of `host`, which are asked for anew each time: a reload may change them."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._wires: dict[str, tuple[Signature, GrpcWire]] = {}

    async def serve(self, content: bytes, context: Context) -> bytes:
        """ModelInfer."""
        call = new_call(context, headers_of(context), len(content), "ModelInfer")
        try:
            answer = await self.answer(content, call)
        except RequestError as error:
            content = b""  # or it would stay in memory after the end, see `refuse`
            await refuse(context, call, error)
        context.set_trailing_metadata(trailing(call))
        return answer

    async def answer(self, content: bytes, call: Call) -> bytes:
        """The answer's message. Raises RequestError; the request has ended then, for whoever counts them."""
        frame, broken, model = None, None, ""
        try:
            frame = Frame(content)
            model = frame.request.model_name
            name_model(call, self._host, model)
        except RequestError as error:  # told inside, where requests are counted
            broken = error
        with self._host.request(call, "model", model), contained(call):
            if frame is None:
                raise broken or RequestError("the message cannot be read")
            answer = await self._infer(frame, call)
            call.bytes_out = len(answer)
            return answer

    async def _infer(self, frame: Frame, call: Call) -> bytes:
        request = frame.request
        server = self._host.service.app.server
        if frame.size > server.max_body_bytes:  # gRPC itself still obeys the bound that it was started with
            raise TooLarge(f"the message is larger than the {server.max_body_mb:g} MB that this server takes")
        obey(call, values_of(request.parameters))
        model = self._find(request)
        wire = self._wire(model)
        wanted = wire.wanted(frame)
        if _is_slow(frame):
            arrays = await off_loop(wire.read, frame)
            model = self._find(request)
            if (now := self._wire(model)) is not wire:  # a reload has come meanwhile
                wire, wanted = now, now.wanted(frame)
                arrays = wire.read(frame)
        else:
            arrays = wire.read(frame)
        outputs = cast("Arrays", await model.infer(cast("Rows", arrays), call))
        if sum(outputs[one.name].nbytes for one in wanted) > OFF_LOOP_BYTES:
            return await off_loop(wire.write, outputs, wanted, frame)
        return wire.write(outputs, wanted, frame)

    def _find(self, request: Message) -> ModelService:
        return find_model(self._host.service, request.model_name, request.model_version)

    def _wire(self, model: ModelService) -> GrpcWire:
        signature = signature_of(model)
        known = self._wires.get(model.name)
        if known is None or known[0] is not signature:
            known = self._wires[model.name] = (signature, GrpcWire(model.name, signature, model.labels))
        return known[1]


def _is_slow(frame: Frame) -> bool:
    """Whether reading the tensors would keep the loop from its other work: raw numbers are viewed, all else copied."""
    if frame.size <= OFF_LOOP_BYTES:
        return False
    return not frame.raws or any(tensor.datatype == "BYTES" for tensor in frame.request.inputs)

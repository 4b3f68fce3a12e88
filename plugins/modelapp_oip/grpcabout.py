"""The calls that tell about the replica and its models, and those that load and unload one."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

from google.protobuf.json_format import ParseDict

from modelapp.call import Call
from modelapp.errors import RequestError
from modelapp.routes import Access
from modelapp.service import Host, ModelService
from modelapp_oip import about, repository, statistics
from modelapp_oip.grpccall import Context, contained, headers_of, name_model, new_call, refuse
from modelapp_oip.grpccodes import trailing
from modelapp_oip.grpcmessages import Message, message, parse, values_of

Work: TypeAlias = Callable[[Host, Message], Awaitable[Mapping[str, Any]]]
"""What answers a call: the fields of its answer, from its request."""


class About(NamedTuple):
    """A call, what it needs to be let in, and the field of its request that names a model."""

    work: Work
    access: Access
    model: str = ""


async def _live(_: Host, __: Message) -> Mapping[str, Any]:
    return {"live": True}


async def _ready(host: Host, _: Message) -> Mapping[str, Any]:
    return {"ready": host.service.readiness().ready}


async def _model_ready(host: Host, request: Message) -> Mapping[str, Any]:
    return {"ready": _model(host, request).ready and host.service.readiness().ready}


async def _server_metadata(host: Host, _: Message) -> Mapping[str, Any]:
    return about.server_metadata(host.service)


async def _model_metadata(host: Host, request: Message) -> Mapping[str, Any]:
    return about.model_metadata(_model(host, request))


async def _model_config(host: Host, request: Message) -> Mapping[str, Any]:
    return {"config": about.model_config(_model(host, request))}


async def _statistics(host: Host, request: Message) -> Mapping[str, Any]:
    models = [_model(host, request)] if request.name else host.service.models.values()
    return statistics.of_process().told(models)


async def _index(host: Host, request: Message) -> Mapping[str, Any]:
    return {"models": repository.index(host.service, ready=request.ready)}


async def _load(host: Host, request: Message) -> Mapping[str, Any]:
    await repository.load(host.service, request.model_name, values_of(request.parameters))
    return {}


async def _unload(host: Host, request: Message) -> Mapping[str, Any]:
    await repository.unload(host.service, request.model_name, values_of(request.parameters))
    return {}


def _model(host: Host, request: Message) -> ModelService:
    return about.find_model(host.service, request.name, request.version)


CALLS: Mapping[str, About] = {
    "ServerLive": About(_live, "open"),
    "ServerReady": About(_ready, "open"),
    "ModelReady": About(_model_ready, "open", "name"),
    "ServerMetadata": About(_server_metadata, "open"),
    "ModelMetadata": About(_model_metadata, "model", "name"),
    "ModelConfig": About(_model_config, "model", "name"),
    "ModelStatistics": About(_statistics, "model", "name"),
    "RepositoryIndex": About(_index, "model"),
    "RepositoryModelLoad": About(_load, "admin", "model_name"),
    "RepositoryModelUnload": About(_unload, "admin", "model_name"),
}
"""Method -> what it does."""


class Answerer:
    """Handles one method of CALLS."""

    def __init__(self, host: Host, method: str) -> None:
        self._host = host
        self._method = method
        self._about = CALLS[method]

    async def serve(self, content: bytes, context: Context) -> bytes:
        """The bytes of the answer."""
        call = new_call(context, headers_of(context), len(content), self._method)
        try:
            answer = await self._answer(content, call)
        except RequestError as error:
            content = b""  # or it would stay in memory after the end, see `refuse`
            await refuse(context, call, error)
        context.set_trailing_metadata(trailing(call))
        return answer

    async def _answer(self, content: bytes, call: Call) -> bytes:
        work, access, field = self._about
        request, broken, model = None, None, ""
        try:
            request = parse(f"{self._method}Request", content)
            model = getattr(request, field) if field else ""
            name_model(call, self._host, model)
        except RequestError as error:  # told inside, where requests are counted
            broken = error
        with self._host.request(call, access, model, always=access != "admin"), contained(call):
            if broken is not None:
                raise broken
            found = ParseDict(await work(self._host, request), message(f"{self._method}Response")())
            answer = bytes(found.SerializeToString())
            call.bytes_out = len(answer)
            return answer

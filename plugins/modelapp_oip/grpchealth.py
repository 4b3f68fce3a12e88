"""grpc.health.v1: whether the replica, the service or one model takes requests, asked now and not remembered.

Source: github.com/grpc/grpc/blob/master/doc/health-checking.md.
"""

import asyncio
from typing import Any

from grpc import StatusCode
from grpc_health.v1 import health_pb2, health_pb2_grpc

from modelapp.service import Host
from modelapp_oip.grpccall import Context
from modelapp_oip.grpclong import LongCalls
from modelapp_oip.grpcmessages import SERVICE

_LOOK_S = 0.2
"""How often a watched state is looked at; readiness is told within a second."""
_States = health_pb2.HealthCheckResponse


class Health(health_pb2_grpc.HealthServicer):
    """Answers for "" and the service's own name as a whole, and for each model by its name."""

    def __init__(self, host: Host, long_calls: LongCalls) -> None:
        self._host = host
        self._long_calls = long_calls

    def state(self, service: str) -> int | None:
        """The state of a service; None for one that there is not."""
        readiness = self._host.service.readiness()
        ready = readiness.ready
        if service not in ("", SERVICE):
            if service not in readiness.models:
                return None
            ready = ready and readiness.models[service]
        return _States.SERVING if ready else _States.NOT_SERVING

    async def Check(  # noqa: N802 - the service's own name
        self, request: Any, context: Context
    ) -> health_pb2.HealthCheckResponse:
        """The state now. An unknown service is NOT_FOUND."""
        state = self.state(request.service)
        if state is None:
            await context.abort(StatusCode.NOT_FOUND, f'there is no model "{request.service[:80]}"')
        return _States(status=state)

    async def Watch(self, request: Any, context: Context) -> None:  # noqa: N802 - as above
        """The state now and whenever it changes. An unknown service is SERVICE_UNKNOWN, and may come to be."""
        await self._long_calls.run(self._watch(request.service, context), context)

    async def _watch(self, service: str, context: Context) -> None:
        told = None
        while True:
            state = self.state(service)
            state = _States.SERVICE_UNKNOWN if state is None else state
            if state != told:
                await context.write(_States(status=state))
                told = state
            await asyncio.sleep(_LOOK_S)

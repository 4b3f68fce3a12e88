"""grpc.health.v1: whether the replica, the service or one model takes requests, asked now and not remembered.

Source: github.com/grpc/grpc/blob/master/doc/health-checking.md.
"""

import asyncio
from typing import TYPE_CHECKING, Any

from grpc import StatusCode
from grpc_health.v1 import health_pb2, health_pb2_grpc

from modelapp.service import Host
from modelapp_oip.grpcmessages import SERVICE

if TYPE_CHECKING:
    from modelapp_oip.grpccall import Context

_LOOK_S = 0.2
"""How often a watched state is looked at; readiness is told within a second."""
MOST_WATCHERS = 1024
"""Watches that are open together."""
_States = health_pb2.HealthCheckResponse


class Health(health_pb2_grpc.HealthServicer):
    """Answers for "" and the service's own name as a whole, and for each model by its name."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._stopping = asyncio.Event()
        self._watchers = 0

    def end(self) -> None:
        """Tell everyone who watches that nothing is served any more, and end their watches."""
        self._stopping.set()

    def state(self, service: str) -> int | None:
        """The state of a service; None for one that there is not."""
        readiness = self._host.service.readiness()
        ready = readiness.ready and not self._stopping.is_set()
        if service not in ("", SERVICE):
            if service not in readiness.models:
                return None
            ready = ready and readiness.models[service]
        return _States.SERVING if ready else _States.NOT_SERVING

    async def Check(  # noqa: N802 - the service's own name
        self, request: Any, context: "Context"
    ) -> health_pb2.HealthCheckResponse:
        """The state now. An unknown service is NOT_FOUND."""
        state = self.state(request.service)
        if state is None:
            await context.abort(StatusCode.NOT_FOUND, f'there is no model "{request.service[:80]}"')
        return _States(status=state)

    async def Watch(self, request: Any, context: "Context") -> None:  # noqa: N802 - as above
        """The state now and whenever it changes. An unknown service is SERVICE_UNKNOWN, and may come to be."""
        if self._watchers >= MOST_WATCHERS:
            await context.abort(StatusCode.RESOURCE_EXHAUSTED, f"{MOST_WATCHERS} watches are open already")
        self._watchers += 1
        try:
            told = None
            while True:
                stopping = self._stopping.is_set()
                state = self.state(request.service)
                state = _States.SERVICE_UNKNOWN if state is None else state
                if state != told:
                    await context.write(_States(status=state))
                    told = state
                if stopping:
                    break
                await self._pause()
        finally:
            self._watchers -= 1
        await context.abort(StatusCode.UNAVAILABLE, "this replica is stopping")

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(_LOOK_S):
                await self._stopping.wait()
        except TimeoutError:
            pass

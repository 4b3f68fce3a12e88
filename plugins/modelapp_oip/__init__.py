"""The Open Inference Protocol (V2): the routes below /v2, as tritonclient and kserve speak them.

Source: github.com/kserve/open-inference-protocol, with the health bodies that KServe's own client reads.
"""

from collections.abc import Iterable

from modelapp import hookimpl
from modelapp.observing import RequestObserver
from modelapp.routes import ProtocolRoutes
from modelapp.service import Host, Service, SideServer


@hookimpl
def modelapp_protocols(service: Service) -> Iterable[ProtocolRoutes]:
    """The routes below /v2."""
    from modelapp_oip.rest import oip_routes

    yield oip_routes(service)


@hookimpl
def modelapp_observers(host: Host) -> Iterable[RequestObserver]:
    """Who counts the requests that failed before they ran, for the statistics."""
    from modelapp_oip.statistics import of_process

    yield of_process()


@hookimpl
def modelapp_servers(host: Host) -> Iterable[SideServer]:
    """The gRPC service, where the app gives it a port."""
    if host.service.app.server.grpc_port:
        from modelapp_oip.grpcdoor import GrpcDoor

        yield GrpcDoor(host)

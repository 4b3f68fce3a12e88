"""The Open Inference Protocol (V2): the routes below /v2, as tritonclient and kserve speak them.

Source: github.com/kserve/open-inference-protocol, with the health bodies that KServe's own client reads.
"""

from collections.abc import Iterable
from importlib.util import find_spec

from modelapp import hookimpl
from modelapp.features import Feature
from modelapp.observing import RequestObserver
from modelapp.routes import ProtocolRoutes
from modelapp.runtime import Availability
from modelapp.service import Host, Service, SideServer


def probe() -> Availability:
    """Whether what the gRPC service is made of is installed, without importing it."""
    for package in ("grpc", "grpc_health", "grpc_reflection"):
        if find_spec(package) is None:
            return Availability(ok=False, missing=f"the package {package}", fix="pip install 'modelapp[grpc]'")
    return Availability(ok=True)


@hookimpl
def modelapp_features() -> Iterable[Feature]:
    """The gRPC service."""
    return [Feature(name="grpc", probe=probe)]


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

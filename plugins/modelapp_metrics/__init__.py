"""What a replica does, as Prometheus metrics and OpenTelemetry traces.

Only the hooks stand here: the libraries behind them are imported where they are installed and wanted.
"""

from collections.abc import Iterable
from importlib.util import find_spec

from modelapp.hookspecs import hookimpl
from modelapp.observing import Observer
from modelapp.routes import ProtocolRoutes
from modelapp.runtime import Availability
from modelapp.service import Host, Service, SideServer


def probe() -> Availability:
    """Whether what exposes metrics is installed, without importing it."""
    if find_spec("prometheus_client") is None:
        return Availability(ok=False, missing="the package prometheus-client", fix="pip install 'modelapp[metrics]'")
    return Availability(ok=True)


@hookimpl
def modelapp_observers(host: Host) -> Iterable[Observer]:
    """Who counts, and who traces."""
    return []


@hookimpl
def modelapp_servers(host: Host) -> Iterable[SideServer]:
    """The metrics on a port of their own, where `[server] metrics_port` names one."""
    return []


@hookimpl
def modelapp_protocols(service: Service) -> Iterable[ProtocolRoutes]:
    """`GET /metrics`, unless the metrics have a port of their own."""
    return []

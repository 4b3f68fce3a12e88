"""What a replica does, as Prometheus metrics and OpenTelemetry traces.

Only the hooks stand here: the libraries behind them are imported where they are installed and wanted.
"""

from collections.abc import Iterable
from importlib.util import find_spec
from typing import TYPE_CHECKING

from modelapp.errors import SurroundingsError
from modelapp.features import Feature
from modelapp.hookspecs import hookimpl
from modelapp.observing import Observer
from modelapp.routes import ProtocolRoutes
from modelapp.runtime import Availability
from modelapp.service import Host, Service, SideServer

if TYPE_CHECKING:
    from modelapp_metrics.collector import Exposition


def probe() -> Availability:
    """Whether what exposes metrics is installed, without importing it."""
    if find_spec("prometheus_client") is None:
        return Availability(ok=False, missing="the package prometheus-client", fix="pip install 'modelapp[metrics]'")
    return Availability(ok=True)


@hookimpl
def modelapp_features() -> Iterable[Feature]:
    """The metrics; traces say themselves what they lack, where they are asked for."""
    return [Feature(name="prometheus", probe=probe)]


_exposed: "list[Exposition]" = []
"""That of this process's replica. Routes are made before there is one, and asked after that."""


@hookimpl
def modelapp_observers(host: Host) -> Iterable[Observer]:
    """Who counts, and who traces."""
    if probe().ok:
        from modelapp_metrics.collector import Exposition
        from modelapp_metrics.recorder import Recorder

        recorder = Recorder(host)
        _exposed[:] = [Exposition(recorder)]
        yield recorder
    from modelapp_metrics import exporting

    if exporting.asked_for():
        app = host.service.app
        if (provider := exporting.provider(app.name)) is not None:
            from modelapp_metrics.tracing import Tracer

            yield Tracer(provider, scheme="https" if app.server.tls_cert else "http")


@hookimpl
def modelapp_servers(host: Host) -> Iterable[SideServer]:
    """The metrics on a port of their own, where `[server] metrics_port` names one."""
    port = host.service.app.server.metrics_port
    if not port:
        return
    if not (found := probe()).ok:
        yield _Missing(found)
        return
    from modelapp_metrics.routes import metrics_protocol

    yield host.side_door(metrics_protocol(_exposition), port=port, key="server.metrics_port")


@hookimpl
def modelapp_protocols(service: Service) -> Iterable[ProtocolRoutes]:
    """`GET /metrics`, unless the metrics have a port of their own."""
    if probe().ok and not service.app.server.metrics_port:
        from modelapp_metrics.routes import metrics_protocol

        yield metrics_protocol(_exposition)


def _exposition() -> "Exposition":
    return _exposed[0]


class _Missing:
    """Stands for the server of metrics that were asked for and cannot be had."""

    def __init__(self, found: Availability) -> None:
        self._found = found

    async def start(self) -> str:
        raise SurroundingsError(f"metrics_port needs {self._found.missing}", help=self._found.fix)

    async def stop(self, grace_s: float) -> None:
        pass

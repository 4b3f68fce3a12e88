"""What is exposed: the metrics of the table, read from the recorder and from the replica when somebody asks."""

import gzip
import itertools
import platform
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version

from prometheus_client import ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector, CollectorRegistry
from prometheus_client.utils import floatToGoString

from modelapp_metrics import table
from modelapp_metrics.ledger import Ledger
from modelapp_metrics.metric import APP, Metric
from modelapp_metrics.recorder import Recorder
from modelapp_metrics.tally import Sums

GZIP_BYTES = 1024
"""From this size on an answer is worth compressing."""
_RELEASE = "release"
Labels = tuple[str, ...]


class ReplicaCollector(Collector):
    """Collects everything but the figures of the process. It may be asked on any thread."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._version = version("modelapp")

    def collect(self) -> Iterable[Family]:
        """Every metric of ours, also one that has no series yet."""
        app = self._recorder.host.service.app.name
        yield from self._gauges(app)
        with self._recorder.reading() as ledgers:
            counted = [
                _counted(metric, app, ledgers)
                for metric in (*table.of("requests"), *table.of("runs"), *table.of("tokens"))
            ]
        yield from counted

    def _gauges(self, app: str) -> Iterator[Family]:
        values = self._look()
        for metric in table.of("replica"):
            family = GaugeMetricFamily(metric.name, metric.help, labels=(APP, *metric.labels))
            for labels, value in values[metric.name].items():
                family.add_metric([app, *labels], value)
            yield family

    def _look(self) -> Mapping[str, Mapping[Labels, float]]:
        """What the replica is like now."""
        host = self._recorder.host
        service = host.service
        readiness = service.readiness()
        generating = {
            name: (now, model.model.max_batch_size)
            for name, model in service.models.items()
            if (now := model.in_progress) is not None
        }
        build = {"python": platform.python_version(), "release": service.release, "version": self._version}
        (info,) = [metric for metric in table.METRICS if metric.name == "modelapp_build_info"]
        return {
            "modelapp_up": {(): 1},
            "modelapp_ready": {(): readiness.ready},
            "modelapp_endpoint_ready": {(name,): ready for name, ready in readiness.endpoints.items()},
            "modelapp_model_ready": {(name,): ready for name, ready in readiness.models.items()},
            "modelapp_requests_in_flight": {(): host.in_flight},
            "modelapp_queue_rows": {(name,): model.waiting_rows for name, model in service.models.items()},
            "modelapp_queue_limit_rows": {(name,): model.model.max_queue for name, model in service.models.items()},
            "modelapp_active_sequences": {(name,): now.sequences for name, (now, _) in generating.items()},
            "modelapp_active_sequences_limit": {(name,): most for name, (_, most) in generating.items()},
            "modelapp_cached_tokens": {(name,): now.tokens for name, (now, _) in generating.items()},
            "modelapp_build_info": {tuple(build[label] for label in info.labels): 1},
        }


class Exposition:
    """The registry of a replica, and its text."""

    def __init__(self, recorder: Recorder) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        self.registry.register(ReplicaCollector(recorder))
        ProcessCollector(registry=self.registry)

    def render(self, accept: str, encodings: str) -> tuple[bytes, tuple[tuple[str, str], ...], str]:
        """Body, headers and content type, by the Accept and Accept-Encoding headers. Takes milliseconds."""
        encode, content_type = choose_encoder(accept)
        body, headers = encode(self.registry), (("vary", "accept, accept-encoding"),)
        if len(body) < GZIP_BYTES or "gzip" not in encodings:
            return body, headers, content_type
        return gzip.compress(body, 1), (*headers, ("content-encoding", "gzip")), content_type


def _counted(metric: Metric, app: str, ledgers: Mapping[str, Ledger]) -> Family:
    labels = (APP, *metric.labels)
    kind = HistogramMetricFamily if metric.kind == "histogram" else CounterMetricFamily
    family = kind(metric.family, metric.help, labels=labels)
    own = [label for label in metric.labels if label != _RELEASE]
    for release, ledger in ledgers.items():
        bounds = ledger.bounds(metric)
        for group, found in ledger.sums(metric, own).items():
            values = dict(zip(own, group, strict=True)) | {_RELEASE: release}
            if isinstance(family, HistogramMetricFamily):
                if found.count or _expected(metric, values):
                    row = [app, *(values[label] for label in metric.labels)]
                    family.add_metric(row, _cumulative(bounds, found), found.total)
            else:
                family.add_metric([app, *(values[label] for label in metric.labels)], found.total)
    return family


def _expected(metric: Metric, labels: Mapping[str, str]) -> bool:
    """Whether a histogram is shown while it is empty: that of answers, so that a rate sees the first of them."""
    return labels.get("outcome", "ok") == "ok" and metric.column != "first_s"


def _cumulative(bounds: tuple[float, ...], found: Sums) -> list[tuple[str, float]]:
    names = [floatToGoString(bound) for bound in (*bounds, float("inf"))]  # type: ignore[no-untyped-call]  # partly untyped
    return list(zip(names, itertools.accumulate(found.buckets), strict=True))

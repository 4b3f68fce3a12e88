"""What `[guarantees]` promises, as Prometheus alert rules over the metrics of the plugin modelapp_metrics."""

import json
import math
from collections.abc import Iterator, Mapping

import attrs

from modelapp.app import App
from modelapp.document import table_name
from modelapp.errors import request_codes
from modelapp.guaranteechecks import PERCENTILES, samples_beyond, table
from modelapp.guarantees import Latency
from modelapp.spans import KeyPath
from modelapp.suggestions import tidy, toml

FILE = "alerts.rules.yml"
REQUESTS = "modelapp_requests_total"
DURATION = "modelapp_request_duration_seconds"
FIRST_CHUNK = "modelapp_request_first_chunk_seconds"
WINDOW = "10m"
"""How far back a rule looks."""
LASTING = "1m"
"""How long a promise is broken before somebody is called."""
_ALERTS = {
    "p50_ms": "ModelappLatencyP50",
    "p95_ms": "ModelappLatencyP95",
    "p99_ms": "ModelappLatencyP99",
    "p95_first_token_ms": "ModelappFirstTokenP95",
    "max_error_percent": "ModelappErrors",
}
_UNWATCHED = ("max_realtime_factor", "min_tokens_per_s")
_SEVERITY = {"fail": "critical", "report": "warning"}


@attrs.frozen
class Alert:
    """One rule. `source` is the line of app.toml that it comes from."""

    name: str
    source: str
    expr: str
    labels: Mapping[str, str]
    summary: str
    description: str

    def lines(self) -> Iterator[str]:
        """It, as part of a rules file."""
        yield f"      # {self.source}"
        yield f"      - alert: {self.name}"
        yield "        expr: |"
        yield from (f"          {line}" for line in self.expr.splitlines())
        yield f"        for: {LASTING}"
        for title, pairs in (
            ("labels", self.labels),
            ("annotations", {"summary": self.summary, "description": self.description}),
        ):
            yield f"        {title}:"
            yield from (f"          {name}: {_quoted(text)}" for name, text in pairs.items())


def alerts(app: App) -> list[Alert]:
    """A rule for each limit that requests alone can break, in the order of app.toml's tables and of their keys."""
    return [alert for promise in _promises(app) for alert in promise.alerts()]


def rules(app: App) -> str:
    """The rules file: the same for the same promises."""
    found = alerts(app)
    lines = [
        f"# What the app {app.name} promises, watched by Prometheus. `modelapp alerts --write` writes this file from",
        "# [guarantees] of app.toml: change it there.",
        *(f"# not watched here: {what}" for what in _unwatched(app)),
    ]
    if not found:
        return "\n".join([*lines, "groups: []", ""])
    lines += ["groups:", f"  - name: {_quoted(f'modelapp {app.name}')}", "    rules:"]
    return "\n".join([*lines, *(line for alert in found for line in alert.lines()), ""])


@attrs.frozen
class _Promise:
    """One table of latency; `path` is where it stands."""

    app: App
    path: KeyPath
    latency: Latency

    def alerts(self) -> Iterator[Alert]:
        for key, share in PERCENTILES.items():
            limit_ms = getattr(self.latency, key)
            if limit_ms is not None:
                yield self._slow(key, limit_ms, share)
        yield self._failing(self.latency.max_error_percent)

    def _slow(self, key: str, limit_ms: float, share: float) -> Alert:
        """The limit is a bucket of the histogram, so the share of answers within it is counted, not interpolated."""
        first = key == "p95_first_token_ms"
        metric, labels = (FIRST_CHUNK, {}) if first else (DURATION, {"outcome": "ok"})
        every = self._increase(f"{metric}_count", labels)
        within = self._increase(f"{metric}_bucket", {**labels, "le": repr(limit_ms / 1000)})
        enough = self.latency.min_samples or samples_beyond(share)
        what = "first pieces of the answers" if first else "answers"
        return self._alert(
            key,
            f"{within}\n  / {every}\n  < {share:g}\nand\n{every}\n  >= {enough}",
            summary=f"{{{{ $labels.endpoint }}}} is slower than promised: {key} = {toml(limit_ms)}",
            description=f"{{{{ $value | humanizePercentage }}}} of the {what} of release {{{{ $labels.release }}}} took"
            f" at most {toml(limit_ms)} ms in the last {WINDOW}, and {share:.0%} is promised",
        )

    def _failing(self, limit: float) -> Alert:
        every = self._increase(REQUESTS, {})
        failed = self._increase(REQUESTS, {}, f'outcome=~"{"|".join(_faults())}"')
        expr = f"100 * {failed}\n  / {every}\n  > {limit:g}"
        if limit:  # of fewer requests, one error alone would be too many
            enough = self.latency.min_samples or math.ceil(tidy(100 / limit))
            expr = f"{expr}\nand\n{every}\n  >= {enough}"
        return self._alert(
            "max_error_percent",
            expr,
            summary=f"{{{{ $labels.endpoint }}}} fails more often than promised: max_error_percent = {toml(limit)}",
            description='{{ $value | printf "%.3g" }} % of the requests to release {{ $labels.release }} failed in the'
            f" last {WINDOW}, and at most {limit:g} % is promised",
        )

    def _alert(self, key: str, expr: str, *, summary: str, description: str) -> Alert:
        header = table_name(self.path)
        source = f"{header} {key} = {toml(getattr(self.latency, key))}"
        labels = {"severity": _SEVERITY[self.latency.enforce], "guarantee": header.strip("[]")}
        return Alert(_ALERTS[key], source, expr, labels, summary, description)

    def _increase(self, metric: str, labels: Mapping[str, str], *matchers: str) -> str:
        """Each release by itself: it is a release that keeps a promise or breaks it, and its buckets are its own."""
        endpoint, arm = self.latency.endpoint, self.latency.arm
        known = {**({"model": arm} if arm else {}), **labels}
        pairs = [f"app={_quoted(self.app.name)}", f"endpoint={_quoted(endpoint)}" if endpoint else 'endpoint!=""']
        pairs += [f"{name}={_quoted(value)}" for name, value in known.items()]
        by = "app, endpoint, model, release" if arm else "app, endpoint, release"
        return f"sum by ({by}) (increase({metric}{{{', '.join([*pairs, *matchers])}}}[{WINDOW}]))"


def _promises(app: App) -> list[_Promise]:
    return [
        _Promise(app, table(("guarantees", "latency"), name), latency)
        for name, latency in app.guarantees.latency.items()
    ]


def _faults() -> list[str]:
    """The codes of the errors that are the app's own fault."""
    return sorted(code for code, status in request_codes().items() if status >= 500)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _unwatched(app: App) -> Iterator[str]:
    """What is promised of other things than requests, or measured by nobody here."""
    for promise in _promises(app):
        for key in _UNWATCHED:
            if getattr(promise.latency, key) is not None:
                yield f"{table_name(promise.path)} {key}"
    for name in app.guarantees.batching:
        yield table_name(table(("guarantees", "batching"), name))
    for kind in ("rollout", "robustness", "drift"):
        if getattr(app.guarantees, kind) is not None:
            yield table_name(("guarantees", kind))

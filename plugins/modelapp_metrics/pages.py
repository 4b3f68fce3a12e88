"""What the documentation holds of the table: its rows in Markdown, and a dashboard for Grafana.

`python -m modelapp_metrics.pages docs` writes both into a folder of documentation.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from modelapp_metrics import table
from modelapp_metrics.metric import APP, LABELS, Metric, Source

PAGE = "monitoring.md"
DASHBOARD = "grafana.json"
BEGIN, END = "<!-- metrics: generated -->", "<!-- end of metrics -->"
_SELECT = '{app=~"$app", instance=~"$instance"}'
_RATE = "[$__rate_interval]"
_UNITS: Mapping[str, str] = {"seconds": "s", "bytes": "bytes"}
_WIDTH, _HEIGHT, _COLUMNS = 8, 8, 24
_ROWS: Mapping[Source, str] = {
    "requests": "Requests",
    "runs": "Runs of models",
    "tokens": "Models that generate",
    "replica": "Replicas",
    "process": "Processes",
}
_UNDRAWN = ("modelapp_build_info", "process_start_time_seconds", "process_max_fds", "process_virtual_memory_bytes")


def markdown() -> str:
    """The table of metrics, and that of their labels."""
    return "\n".join([*_metric_rows(), "", *_label_rows()])


def dashboard() -> dict[str, Any]:
    """A dashboard: a row a source, a panel a metric. Series are told apart by the metric's labels."""
    panels: list[dict[str, Any]] = []
    top = 0
    for source, title in _ROWS.items():
        panels.append(_panel(len(panels), {"x": 0, "y": top, "w": _COLUMNS, "h": 1}, type="row", title=title))
        top += 1
        drawn = [metric for metric in table.of(source) if metric.name not in _UNDRAWN]
        for place, metric in enumerate(drawn):
            at = {"x": place * _WIDTH % _COLUMNS, "y": top + place * _WIDTH // _COLUMNS * _HEIGHT}
            panels.append(_graph(len(panels), metric, at))
        top += -(-len(drawn) * _WIDTH // _COLUMNS) * _HEIGHT
    return {
        "uid": "modelapp",
        "title": "modelapp",
        "schemaVersion": 39,
        "editable": True,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [*_variables()]},
        "panels": panels,
    }


def expressions(metric: Metric) -> Iterator[tuple[str, str]]:
    """The queries that show a metric, each with its legend."""
    name, by = metric.name, ", ".join(metric.labels) or APP
    if metric.source == "process":
        # Only the instances of the chosen apps: these metrics carry no label of ours.
        match = f" * on (instance) group_left (app) group by (app, instance) (modelapp_up{_SELECT})"
        yield (f"rate({name}{_RATE})" if metric.kind == "counter" else name) + match, "{{instance}}"
        return
    legend = " ".join(f"{{{{{label}}}}}" for label in metric.labels) or "{{app}}"
    if metric.kind == "gauge":
        yield f"sum by ({by}) ({name}{_SELECT})", legend
    elif metric.kind == "counter":
        yield f"sum by ({by}) (rate({name}{_SELECT}{_RATE}))", legend
    else:
        for share in (0.5, 0.95, 0.99):
            inner = f"sum by (le, {by}) (rate({name}_bucket{_SELECT}{_RATE}))"
            yield f"histogram_quantile({share:g}, {inner})", f"p{share * 100:.0f} {legend}"


def write(folder: Path) -> None:
    """Bring both files of a folder of documentation up to date."""
    page = folder / PAGE
    page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")
    (folder / DASHBOARD).write_text(dashboard_text(), encoding="utf-8")


def filled(text: str) -> str:
    """A page with the tables between its two marks."""
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{markdown()}\n{END}{after}"


def dashboard_text() -> str:
    """The dashboard as Grafana imports it."""
    return json.dumps(dashboard(), indent=1, ensure_ascii=False) + "\n"


def _metric_rows() -> Iterator[str]:
    yield from ("| metric | kind | labels | is |", "|---|---|---|---|")
    for metric in table.METRICS:
        labels = " ".join(f"`{label}`" for label in metric.labels)
        yield f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help} |"


def _label_rows() -> Iterator[str]:
    yield from ("| label | is |", "|---|---|")
    for label, text in LABELS.items():
        yield f"| `{label}` | {text} |"


def _variables() -> Iterator[dict[str, Any]]:
    yield {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}
    for name, label, series in (
        ("app", "App", "modelapp_up"),
        ("instance", "Instance", 'modelapp_up{app=~"$app"}'),
    ):
        yield {
            "name": name,
            "label": label,
            "type": "query",
            "datasource": _SOURCE,
            "query": {"query": f"label_values({series}, {name})", "refId": name},
            "refresh": 2,
            "multi": True,
            "includeAll": True,
            "current": {"text": ["All"], "value": ["$__all"]},
        }


_SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def _graph(number: int, metric: Metric, at: Mapping[str, int]) -> dict[str, Any]:
    unit = _UNITS.get(metric.unit, "short")
    if metric.kind == "counter":
        unit = {"s": "percentunit", "bytes": "Bps"}.get(unit, "cps")
    targets = [
        {"refId": chr(ord("A") + place), "datasource": _SOURCE, "expr": expr, "legendFormat": legend}
        for place, (expr, legend) in enumerate(expressions(metric))
    ]
    return _panel(
        number,
        {**at, "w": _WIDTH, "h": _HEIGHT},
        type="timeseries",
        title=metric.family.removeprefix("modelapp_").replace("_", " "),
        description=metric.help,
        datasource=_SOURCE,
        fieldConfig={"defaults": {"unit": unit, "min": 0}, "overrides": []},
        targets=targets,
    )


def _panel(number: int, at: Mapping[str, int], **rest: Any) -> dict[str, Any]:
    return {"id": number + 1, "gridPos": dict(at), **rest}


if __name__ == "__main__":
    write(Path(sys.argv[1]))

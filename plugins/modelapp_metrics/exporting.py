"""Where traces go: as OpenTelemetry's own variables say, read by its SDK."""

import logging
import os
from collections.abc import Mapping
from importlib.util import find_spec
from threading import Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

log = logging.getLogger("modelapp")

FLUSH_S = 2.0
"""How long a stopping replica waits for a collector to take the last spans."""
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_EXTRA = "pip install 'modelapp[metrics]'"


def asked_for(environment: Mapping[str, str] = os.environ) -> str:
    """The variable that asks for traces; "" where none does."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return ""
    exporter = environment.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    if exporter:
        return "" if exporter == "none" else "OTEL_TRACES_EXPORTER"
    return next((name for name in (*_ENDPOINTS, "OTEL_CONFIG_FILE") if environment.get(name, "").strip()), "")


def provider(app_name: str) -> "TracerProvider | None":
    """What makes spans and sends them away; None, and a warning, where that cannot be had.

    A provider that the process has already, as under `opentelemetry-instrument`, is the one.
    """
    asked = asked_for()
    if find_spec("opentelemetry") is None or find_spec("opentelemetry.sdk") is None:
        log.warning("%s asks for traces, which need the package opentelemetry-sdk: %s", asked, _EXTRA)
        return None
    try:
        return _configured(app_name)
    except Exception as error:  # whatever the configuration or an exporter of somebody's raises: serving goes on
        log.warning("%s asks for traces, but there are none: %s", asked, error)
        return None


def _configured(app_name: str) -> "TracerProvider":
    from opentelemetry import trace
    from opentelemetry.sdk._configuration import _OTelSDKConfigurator
    from opentelemetry.sdk.resources import OTELResourceDetector
    from opentelemetry.sdk.trace import TracerProvider

    found = trace.get_tracer_provider()
    if not isinstance(found, TracerProvider):
        if not os.environ.get("OTEL_CONFIG_FILE"):
            if not any(os.environ.get(name) for name in _PROTOCOLS):
                # The specification's default; the SDK's own, gRPC, needs a package that nobody may have installed.
                os.environ["OTEL_EXPORTER_OTLP_PROTOCOL"] = "http/protobuf"
            if not os.environ.get("OTEL_TRACES_EXPORTER"):
                os.environ["OTEL_TRACES_EXPORTER"] = "otlp"
            if not OTELResourceDetector().detect().attributes.get("service.name"):
                os.environ["OTEL_SERVICE_NAME"] = app_name
        _OTelSDKConfigurator().configure()  # type: ignore[no-untyped-call]  # the SDK leaves it untyped
        found = trace.get_tracer_provider()
    if not isinstance(found, TracerProvider):
        raise TypeError("the configuration makes no tracer provider")
    return found


def flush(provider: "TracerProvider") -> None:
    """Send what is left, for FLUSH_S at most: the SDK itself might wait for half a minute."""
    ending = Thread(target=provider.shutdown, name="traces-end", daemon=True)
    ending.start()
    ending.join(FLUSH_S)
    if ending.is_alive():
        log.warning("the last spans were not sent: the collector did not take them within %g s", FLUSH_S)

"""`GET /metrics`, on the server's own port or on another."""

import asyncio
from collections.abc import Callable

from modelapp.errors import RequestError
from modelapp.routes import HttpRequest, HttpResponse, ProtocolRoutes, Route
from modelapp_metrics.collector import Exposition

PATH = "/metrics"
_TEXT = "text/plain; charset=utf-8"
_OPERATION = {
    "operationId": "metrics",
    "summary": "What the app did and does, as Prometheus metrics",
    "tags": ["health"],
    "responses": {
        "200": {
            "description": "Prometheus text, or OpenMetrics where it is accepted",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        }
    },
}


def metrics_protocol(exposition: Callable[[], Exposition]) -> ProtocolRoutes:
    """The one route. It answers while the app starts and drains too: those are the times to look."""

    async def metrics(request: HttpRequest) -> HttpResponse:
        headers = request.headers
        # On a thread: writing thousands of lines must not hold up requests.
        body, more, content_type = await asyncio.to_thread(
            exposition().render, headers.get("accept", ""), headers.get("accept-encoding", "")
        )
        return HttpResponse(200, body, content_type, more)

    route = Route("GET", PATH, metrics, timeout_s=10.0, document=_OPERATION, always=True, access="metrics")
    return ProtocolRoutes("metrics", PATH, (route,), _error)


def _error(error: RequestError) -> HttpResponse:
    return HttpResponse(error.status, f"{error.message}\n".encode(), _TEXT)

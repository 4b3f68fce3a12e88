"""Alive, ready, described."""

from collections.abc import Callable
from typing import Any

from openapi_spec_validator import OpenAPIV31SpecValidator

from modelapp.app import App, AppInfo, Endpoint
from modelapp.health import health_protocol
from modelapp.natural import natural_protocol
from modelapp.openapi import openapi_document
from modelapp.service import Readiness

Serve = Callable[..., Any]
APP = App(app=AppInfo(name="t", description="d"), endpoints={"e": Endpoint(name="e", model="m", path="/x/e")})


class Fake:
    """A replica whose readiness a test sets."""

    app = APP
    release = "r1"
    models: dict[str, Any] = {}  # noqa: RUF012 -- nobody changes it

    def __init__(self) -> None:
        self.found = Readiness(False, "the app is starting", {"m": False}, {"e": False})

    def readiness(self) -> Readiness:
        """What was set."""
        return self.found


def start(serve: Serve, service: Fake) -> Any:
    """The health routes beside one endpoint."""
    pipelines: Any = {"e": None}
    natural = natural_protocol(APP, pipelines)
    return serve(natural, health_protocol(service, openapi_document(APP, "r1", [natural])))


def test_alive_whatever_happens_and_ready_as_the_replica_says(serve: Serve) -> None:
    """The status code is the answer, the body names reason, models and endpoints; a drain refuses neither."""
    service = Fake()
    server = start(serve, service)
    answer = server.request("GET", "/readyz")
    assert answer.status == 503
    assert answer.json == {
        "ready": False,
        "reason": "the app is starting",
        "models": {"m": False},
        "endpoints": {"e": False},
    }
    service.found = Readiness(True, "", {"m": True}, {"e": True})
    server.lifecycle.drain()
    server.lifecycle.refuse()
    answer = server.request("GET", "/readyz")
    assert (answer.status, answer.json["ready"]) == (200, True)
    assert (server.request("GET", "/livez").status, server.request("GET", "/livez").json) == (200, {"live": True})
    assert server.request("HEAD", "/livez").status == 200


def test_the_document_describes_endpoints_and_health(serve: Serve) -> None:
    """Valid OpenAPI, served by the app itself."""
    answer = start(serve, Fake()).request("GET", "/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    OpenAPIV31SpecValidator(answer.json).validate()
    assert set(answer.json["paths"]) == {"/", "/livez", "/readyz", "/openapi.json", "/x/e"}


def test_the_index_names_what_there_is(serve: Serve) -> None:
    """Name, release and the path of each endpoint."""
    assert start(serve, Fake()).request("GET", "/").json == {
        "name": "t",
        "description": "d",
        "release": "r1",
        "endpoints": {"e": "/x/e"},
        "docs": "/openapi.json",
    }

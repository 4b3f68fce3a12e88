"""Checked, never run: what a plugin author writes type-checks, and what comes back has the types it promises."""

from collections.abc import Iterable, Mapping
from typing import Any, assert_type

import attrs

import modelapp
from modelapp import (
    Artefact,
    Availability,
    HttpRequest,
    HttpResponse,
    LoadedModel,
    Placement,
    ProtocolRoutes,
    RequestError,
    Route,
    Rows,
    Run,
    Runtime,
    RuntimeSpec,
    Service,
    Signature,
    TensorSpec,
    hookimpl,
)
from modelapp.plugins import Plugins


@attrs.frozen(kw_only=True)
class Options:
    """What [models.NAME.acme] holds."""

    gain: float = 1.0


class AcmeModel:
    """A model satisfies the protocol by its shape alone."""

    signature = Signature(inputs=(TensorSpec("x", "float32", ("batch", 1)),))
    device = "cpu"

    def infer(self, rows: Any, run: Run) -> Rows:
        return {"y": rows["x"]} if not run.cancelled else {}

    def close(self) -> None:
        return None


class AcmeRuntime:
    """So does a runtime."""

    def describe(self, artefact: Artefact, options: Options) -> Signature | None:
        return None

    def load(self, artefact: Artefact, options: Options, placement: Placement) -> LoadedModel:
        return AcmeModel()


def open_acme() -> Runtime:
    """A runtime is opened by a function."""
    return AcmeRuntime()


@hookimpl
def modelapp_runtimes() -> Iterable[RuntimeSpec]:
    """Marking a hook keeps its type."""
    return [RuntimeSpec(name="acme", open=open_acme, options=Options, probe=lambda: Availability(ok=True))]


async def answer(request: HttpRequest) -> HttpResponse:
    """A handler is async and gets a whole request."""
    assert_type(request.body, bytes)
    return HttpResponse(200, request.body)


def failure(error: RequestError) -> HttpResponse:
    """Every failure has a status and a code."""
    assert_type(error.status, int)
    assert_type(error.code, str)
    return HttpResponse(error.status)


@hookimpl
def modelapp_protocols(service: Service) -> Iterable[ProtocolRoutes]:
    """The service is typed to its models."""
    for model in service.models.values():
        assert_type(model.signature, Signature | None)
    return [ProtocolRoutes("acme", "/acme", (Route("GET", "/acme/x", answer),), failure)]


def facade(plugins: Plugins) -> None:
    """What the facade answers is typed, though the hooks behind it are not."""
    assert_type(plugins.runtimes, Mapping[str, RuntimeSpec])
    assert_type(plugins.runtime("acme"), RuntimeSpec)
    assert_type(modelapp.__version__, str)

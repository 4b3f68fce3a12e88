"""What a replica serves at one moment: an app, its models, the functions around them, and the routes to them."""

from collections.abc import Mapping
from time import monotonic
from typing import Protocol

from modelapp.app import App
from modelapp.errors import NotFound
from modelapp.functions import Functions
from modelapp.health import health_protocol
from modelapp.lifecycle import Lifecycle
from modelapp.masking import private_models
from modelapp.natural import natural_protocol
from modelapp.openapi import openapi_document
from modelapp.pipeline import Pipeline
from modelapp.plugins import Plugins
from modelapp.release import Footprint
from modelapp.routes import RouteTable
from modelapp.served import ServedModel
from modelapp.service import Readiness


class Steward(Protocol):
    """Who changes what is served."""

    async def load(self, name: str) -> None:
        """As `modelapp.service.Service` says."""
        ...

    async def unload(self, name: str) -> None:
        """As `modelapp.service.Service` says."""
        ...


class Edition:
    """One app, complete and unchanging, as protocols see it. Implements `modelapp.service.Service`.

    A reload makes a new one, which may share models with the old: a request stays with the edition it came to. Raises
    HandlerError where a function does not import. Without a steward models are neither loaded nor unloaded.
    """

    def __init__(
        self,
        footprint: Footprint,
        models: Mapping[str, ServedModel],
        functions: Functions,
        lifecycle: Lifecycle,
        steward: Steward | None = None,
    ) -> None:
        self.footprint = footprint
        self.app: App = footprint.app
        self.release = footprint.release
        self.models = models
        self.functions = functions
        for name in private_models(self.app):
            models[name].hush()
        self.pipelines = {
            name: Pipeline(endpoint, models, functions, self.app.models)
            for name, endpoint in self.app.endpoints.items()
        }
        self._lifecycle = lifecycle
        self._steward = steward

    def successor(self, footprint: Footprint, models: Mapping[str, ServedModel], functions: Functions) -> "Edition":
        """What is served after it, in the same replica. Raises HandlerError where a function does not import."""
        return Edition(footprint, models, functions, self._lifecycle, self._steward)

    def readiness(self) -> Readiness:
        """Ready: every required model takes requests, and the replica neither starts nor drains."""
        serving = self._lifecycle.state == "ready"
        now_s = monotonic()
        faults = {name: _fault(model, now_s) for name, model in self.models.items()}
        models = {name: not fault for name, fault in faults.items()}
        endpoints = {
            name: serving and all(models[used] for used in pipeline.models) for name, pipeline in self.pipelines.items()
        }
        lacking = [faults[name] for name, model in self.models.items() if model.model.required and faults[name]]
        if lacking and self._lifecycle.state != "starting":
            return Readiness(False, "; ".join(lacking), models, endpoints)
        return Readiness(serving, self._lifecycle.reason, models, endpoints)

    async def load(self, name: str) -> None:
        """Load a model anew. Raises NotFound, NotReady, ModelFailed."""
        await self._changeable(name).load(name)

    async def unload(self, name: str) -> None:
        """Give a model's memory back. Raises NotFound, NotReady."""
        await self._changeable(name).unload(name)

    def _changeable(self, name: str) -> Steward:
        if name not in self.models:
            raise NotFound(f'there is no model "{name}"; models: {", ".join(self.models)}')
        if self._steward is None or self._lifecycle.state != "ready":
            raise self._lifecycle.not_ready()
        return self._steward

    def routes(self, plugins: Plugins) -> RouteTable:
        """Every route to it. Raises PluginError where two protocols clash."""
        protocols = [natural_protocol(self.app, self.pipelines), *plugins.protocols(self)]
        document = openapi_document(self.app, self.release, protocols)
        return RouteTable([*protocols, health_protocol(self, document)], release=self.release)


def _fault(model: ServedModel, now_s: float) -> str:
    """Why a model takes no requests, "" where it does."""
    return model.stuck(now_s) if model.ready else model.not_ready().message

"""What a replica serves at one moment: an app, its models, the functions around them, and the routes to them."""

from collections.abc import Mapping

from modelapp.app import App
from modelapp.functions import Functions
from modelapp.health import health_protocol
from modelapp.lifecycle import Lifecycle
from modelapp.natural import natural_protocol
from modelapp.openapi import openapi_document
from modelapp.pipeline import Pipeline
from modelapp.plugins import Plugins
from modelapp.release import Footprint
from modelapp.routes import RouteTable
from modelapp.served import ServedModel
from modelapp.service import Readiness


class Edition:
    """One app, complete and unchanging, as protocols see it. Implements `modelapp.service.Service`.

    A reload makes a new one, which may share models with the old: a request stays with the edition it came to. Raises
    HandlerError where a function does not import.
    """

    def __init__(
        self,
        footprint: Footprint,
        models: Mapping[str, ServedModel],
        functions: Functions,
        lifecycle: Lifecycle,
    ) -> None:
        self.footprint = footprint
        self.app: App = footprint.app
        self.release = footprint.release
        self.models = models
        self.functions = functions
        self.pipelines = {
            name: Pipeline(endpoint, models, functions, self.app.models)
            for name, endpoint in self.app.endpoints.items()
        }
        self._lifecycle = lifecycle

    def readiness(self) -> Readiness:
        """Ready: every required model answered its warm-up here, and the replica does not drain."""
        serving = self._lifecycle.state == "ready"
        models = {name: model.ready for name, model in self.models.items()}
        endpoints = {
            name: serving and all(models[used] for used in pipeline.models) for name, pipeline in self.pipelines.items()
        }
        return Readiness(serving, self._lifecycle.reason, models, endpoints)

    def routes(self, plugins: Plugins) -> RouteTable:
        """Every route to it. Raises PluginError where two protocols clash."""
        protocols = [natural_protocol(self.app, self.pipelines), *plugins.protocols(self)]
        document = openapi_document(self.app, self.release, protocols)
        return RouteTable([*protocols, health_protocol(self, document)], release=self.release)

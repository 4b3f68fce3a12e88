"""The inputs of an app's tests on their way to one model: through the steps before it, as requests would go."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from time import monotonic
from typing import Any

from modelapp.app import App, AppTest, Endpoint
from modelapp.call import Call
from modelapp.cases import read_cases
from modelapp.errors import RequestError
from modelapp.functions import Functions
from modelapp.generating import TextModel
from modelapp.loading import Loading
from modelapp.payload import embedded
from modelapp.pipeline import Pipeline
from modelapp.plugins import Plugins
from modelapp.replicaevents import Reporter
from modelapp.runtime import Artefact, LoadedModel, Placement
from modelapp.signature import Signature
from modelapp.values import Inputs


class _Loaded:
    """A runtime that hands out what is loaded already."""

    def __init__(self, model: LoadedModel | TextModel) -> None:
        self._model = model

    def describe(self, artefact: Artefact, options: Any) -> Signature | None:
        return self._model.signature

    def load(self, artefact: Artefact, options: Any, placement: Placement) -> LoadedModel | TextModel:
        return self._model


def uses(endpoint: Endpoint, model: str) -> bool:
    """Whether an endpoint may ask a model."""
    arms = () if endpoint.split is None else endpoint.split.arms
    return model in (endpoint.model, *arms, *(step.run for step in endpoint.steps))


def tests_of(app: App, model: str) -> list[AppTest]:
    """The tests whose requests may come to a model."""
    found = [test for test in app.tests if uses(app.endpoint_of(test), model)]
    return [test for test in found if test.arm in ("", model)]


async def rehearse(
    app: App, plugins: Plugins, name: str, stand_in: LoadedModel | TextModel, begin: Callable[[str], None]
) -> list[str]:
    """Send the input of every test to its endpoint, in whose place of the model `name` `stand_in` answers.

    `begin` is told the test that comes next. Notes for whoever asked. Raises LoadError where a model that stands before
    it does not load.
    """
    stage = _Stage(app, plugins)
    try:
        await stage.put(name, _Loaded(stand_in))
        notes: list[str] = []
        for test in tests_of(app, name):
            begin(f'test "{test.name}"')
            notes += await stage.play(test, name)
        return notes
    finally:
        await stage.close()


class _Stage:
    """The models and functions that requests meet."""

    def __init__(self, app: App, plugins: Plugins) -> None:
        self._app = app
        self._plugins = plugins
        self._loading = Loading(plugins, Reporter(None))
        self._functions = Functions(app.root, threads=self._loading.threads)
        self._models = {name: self._loading.served(app, model) for name, model in app.models.items()}

    async def put(self, name: str, runtime: _Loaded) -> None:
        """Load one model from there."""
        await self._models[name].load(runtime)
        self._models[name].open_for_requests()

    async def play(self, test: AppTest, name: str) -> list[str]:
        """Send what the test sends. Answers and refusals are for the test itself to judge."""
        endpoint = self._app.endpoint_of(test)
        pipeline = Pipeline(endpoint, self._models, self._functions, self._app.models)
        await self._load_rest([model for model in pipeline.models if model == name or endpoint.split is None])
        refused = ""
        for values in _inputs(self._app, test):
            call = Call(monotonic())
            call.arm = name if endpoint.split is not None else ""
            try:
                document = embedded(endpoint, values, self._app.root)
                await pipeline.run(Inputs(endpoint.input).read(document), call)
            except (RequestError, OSError) as error:
                refused = refused or (error.message if isinstance(error, RequestError) else str(error))
        if refused and test.expect_error is None:
            return [f'test "{test.name}" was not answered: {refused}']
        return []

    async def _load_rest(self, names: list[str]) -> None:
        for name in names:
            model = self._models[name]
            if model.state == "waiting":
                spec = self._plugins.runtime(model.runtime)
                await model.load(await asyncio.to_thread(spec.open))
                model.open_for_requests()

    async def close(self) -> None:
        """Close all that was loaded."""
        for model in self._models.values():
            await model.close()
        self._functions.close()


def _inputs(app: App, test: AppTest) -> Iterator[Mapping[str, Any]]:
    if test.cases:
        yield from (case.input for case in read_cases(app.root / test.cases))
    else:
        yield test.input

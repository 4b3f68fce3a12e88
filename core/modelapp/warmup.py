"""The first calls of a replica: every model answers an example before anyone waits for it."""

import asyncio
import copy
from collections.abc import AsyncIterator, Mapping
from time import monotonic
from typing import Any

from modelapp.answers import Outputs
from modelapp.app import App
from modelapp.call import Call
from modelapp.errors import LoadError, RequestError
from modelapp.examples import drawn_input, drawn_rows, first_tested_input
from modelapp.pipeline import Pipeline
from modelapp.served import ServedModel
from modelapp.values import Inputs


async def warm_up(
    app: App, pipelines: Mapping[str, Pipeline], models: Mapping[str, ServedModel]
) -> AsyncIterator[ServedModel | LoadError]:
    """Warm up and open every model that is loaded; yields each, or the error of one that did not answer.

    The first test's input of an endpoint warms the models that endpoint uses; a model that no test reaches is tried
    with a made-up input, whose refusal is only noted, since it may be the input's fault.
    """
    done: set[str] = set()
    for tested in (True, False):
        for pipeline in pipelines.values():
            used = [models[name] for name in pipeline.models]
            usable = all(model.state in ("warming", "ready") for model in used)
            if not usable or done.issuperset(pipeline.models):
                continue
            try:
                document = first_tested_input(app, pipeline.endpoint)
                if (document is not None) == tested:
                    await _warm_through(pipeline, used, document or drawn_input(pipeline.endpoint.input))
                    done.update(pipeline.models)
            except (RequestError, OSError) as error:
                unproven = [model for model in used if model.name not in done]
                for failed in _judge(pipeline, unproven, error, tested=tested):
                    yield failed
    for model in models.values():
        if model.state == "warming":
            if model.name not in done:
                await _warm_directly(model)
            model.open_for_requests()
            yield model


async def _warm_through(pipeline: Pipeline, used: list[ServedModel], document: Mapping[str, Any]) -> None:
    """Ask the endpoint as often as its most demanding model wants, each arm. Raises RequestError."""
    endpoint = pipeline.endpoint
    inputs, outputs = Inputs(endpoint.input), Outputs(endpoint.output)
    for arm in endpoint.split.arms if endpoint.split else [""]:
        for _ in range(max(model.model.warmup_calls for model in used)):
            call = Call(monotonic())
            call.arm = arm
            result = await pipeline.run(inputs.read(copy.deepcopy(document)), call)  # a function may change its input
            await asyncio.to_thread(outputs.encode, result)  # an answer that could not be sent is none


def _judge(
    pipeline: Pipeline, models: list[ServedModel], error: RequestError | OSError, *, tested: bool
) -> list[LoadError]:
    """What a failed warm-up means for the models that have not answered yet: an error where a test's input was used,
    a required model's first, else a note."""
    why = error.message if isinstance(error, RequestError) else str(error)
    told = f'endpoint "{pipeline.endpoint.name}" did not answer its warm-up: {why}'
    if not tested:
        for model in models:
            model.notes.append(f"{told} (the input was made up; a test with an input makes this certain)")
        return []
    mend = "the first test's input is used to warm up; try it alone"
    failures = [LoadError(told, model=model.name, help=mend) for model in models]
    required = {model.name for model in models if model.model.required}
    return sorted(failures, key=lambda failure: failure.model not in required)


async def _warm_directly(model: ServedModel) -> None:
    rows = drawn_rows(model.signature) if model.signature is not None else None
    if rows is None:
        return
    try:
        for _ in range(model.model.warmup_calls):
            await model.infer(rows, Call(monotonic()))
    except RequestError as error:
        model.notes.append(f"not warmed up: {error.message} (the input was made up; no test reaches this model)")

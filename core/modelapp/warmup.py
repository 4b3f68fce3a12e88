"""The first calls of a replica: every model answers an example before anyone waits for it."""

from collections.abc import AsyncIterator, Mapping
from time import monotonic

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
    for pipeline in pipelines.values():
        usable = all(models[name].state in ("warming", "ready") for name in pipeline.models)
        if not usable or done.issuperset(pipeline.models):
            continue
        tested = first_tested_input(app, pipeline.endpoint)
        document = tested if tested is not None else drawn_input(pipeline.endpoint.input)
        try:
            values = Inputs(pipeline.endpoint.input).read(document)
            for arm in pipeline.endpoint.split.arms if pipeline.endpoint.split else [""]:
                for _ in range(max(models[name].model.warmup_calls for name in pipeline.models)):
                    call = Call(monotonic())
                    call.arm = arm
                    await pipeline.run(values, call)
        except RequestError as error:
            failed = _judge(pipeline, [models[name] for name in pipeline.models], error, tested=tested is not None)
            if failed is not None:
                yield failed
                continue
        done.update(pipeline.models)
    for model in models.values():
        if model.state == "warming":
            if model.name not in done:
                await _warm_directly(model)
            model.open_for_requests()
            yield model


def _judge(pipeline: Pipeline, models: list[ServedModel], error: RequestError, *, tested: bool) -> LoadError | None:
    """What a failed warm-up means: an error where a test's input was used, else a note."""
    told = f'endpoint "{pipeline.endpoint.name}" did not answer its warm-up: {error.message}'
    if tested:
        failure = LoadError(told, model=models[0].name, help="the first test's input is used to warm up; try it alone")
        for model in models:
            model.fail(failure)
        return failure
    for model in models:
        model.notes.append(f"{told} (the input was made up; a test with an input makes this certain)")
    return None


async def _warm_directly(model: ServedModel) -> None:
    rows = drawn_rows(model.signature) if model.signature is not None else None
    if rows is None:
        return
    try:
        for _ in range(model.model.warmup_calls):
            await model.infer(rows, Call(monotonic()))
    except RequestError as error:
        model.notes.append(f"not warmed up: {error.message} (the input was made up; no test reaches this model)")

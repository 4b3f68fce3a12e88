"""An endpoint at work: its steps, in the order their needs allow, independent ones at the same time."""

import asyncio
import hashlib
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

from modelapp.app import Endpoint, Model, Split
from modelapp.binding import bind_model, first_row
from modelapp.call import Call
from modelapp.errors import InvalidInput, ModelFailed, RequestError
from modelapp.functions import Function, Functions
from modelapp.masking import is_private, leaves, scrubbed
from modelapp.mismatch import told
from modelapp.served import ServedModel

Values: TypeAlias = Mapping[str, Any]
Node: TypeAlias = Callable[[Values, Call], Awaitable[Any]]


class Pipeline:
    """One endpoint. `run` takes the declared input's values and gives the result mapping.

    `declared` are the models as app.toml has them, where that is newer than what they were loaded as.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        models: Mapping[str, ServedModel],
        functions: Functions,
        declared: Mapping[str, Model] | None = None,
    ) -> None:
        self.endpoint = endpoint
        self._private = is_private(endpoint)
        self.models = tuple(_models_of(endpoint, models))
        self._before = functions.get(endpoint.preprocess) if endpoint.preprocess else None
        self._after = functions.get(endpoint.postprocess) if endpoint.postprocess else None
        nodes = {
            name: self._model_node(models[name], (declared or {}).get(name, models[name].model), functions)
            for name in self.models
        }
        self._steps = [
            (step.name, step.needs, nodes.get(step.run) or self._function_node(step.run, step.needs, functions))
            for step in endpoint.steps
        ]
        self._parallel = _has_independent_steps(endpoint)
        if endpoint.model:
            self._body = nodes[endpoint.model]
        elif endpoint.split is not None:
            self._body = self._split_node(endpoint.split, nodes)
        else:
            self._body = self._run_steps

    async def run(self, values: Values, call: Call) -> Any:
        """The endpoint's result for one request; raises RequestError."""
        if self._private and not call.private:
            return await self._run_private(values, call)
        if self._before is not None:
            values = await _prepared(self._before, call, values)
        result = await self._body(values, call)
        if self._after is not None:
            result = await self._after(call, result)
        return result

    async def _run_private(self, values: Values, call: Call) -> Any:
        """The same; an error holds nothing of the sensitive inputs."""
        call.private, given = True, dict(values)  # a function may change what it is handed
        try:
            return await self.run(values, call)
        except RequestError as error:
            raise scrubbed(error, leaves(self.endpoint.input, given)) from None

    def _model_node(self, served: ServedModel, model: Model, functions: Functions) -> Node:
        before = functions.get(model.preprocess) if model.preprocess else None
        after = functions.get(model.postprocess) if model.postprocess else None

        async def run_model(values: Values, call: Call) -> Any:
            if before is not None:
                values = await _prepared(before, call, values)
            if (signature := served.signature) is None:
                raise served.not_ready()
            rows, single = bind_model(served.name, signature, values)
            answer: Any = await served.infer(rows, call)
            if single:
                answer = first_row(signature, answer)
            return answer if after is None else await after(call, answer)

        return run_model

    def _function_node(self, ref: str, needs: tuple[str, ...], functions: Functions) -> Node:
        function = functions.get(ref)

        async def run_function(values: Values, call: Call) -> Any:
            return await function(call, *(values[need] for need in needs))

        return run_function

    def _split_node(self, split: Split, nodes: Mapping[str, Node]) -> Node:
        async def run_arm(values: Values, call: Call) -> Any:
            if call.arm and call.arm not in nodes:
                raise InvalidInput(f'endpoint "{self.endpoint.name}" has no arm "{call.arm}"; arms: {", ".join(nodes)}')
            call.arm = call.arm or choose_arm(split, values, call.headers)
            return await nodes[call.arm](values, call)

        return run_arm

    async def _run_steps(self, values: Values, call: Call) -> Any:
        known = dict(values)
        if self._parallel:
            await self._run_together(known, call)
        else:
            for name, needs, node in self._steps:
                known[name] = await node({need: known[need] for need in needs}, call)
        if call.probe:
            call.steps.update((name, known[name]) for name, _, _ in self._steps)
        return known[self._steps[-1][0]]

    async def _run_together(self, known: dict[str, Any], call: Call) -> None:
        """Each step starts when the steps it needs have ended."""
        ended: dict[str, asyncio.Task[None]] = {}

        async def run_step(name: str, needs: tuple[str, ...], node: Node) -> None:
            for need in needs:
                if need in ended:
                    await ended[need]
            known[name] = await node({need: known[need] for need in needs}, call)

        try:
            async with asyncio.TaskGroup() as group:
                for name, needs, node in self._steps:
                    ended[name] = group.create_task(run_step(name, needs, node))
        except BaseExceptionGroup as errors:
            told = next((error for error in errors.exceptions if isinstance(error, RequestError)), None)
            raise (told or errors.exceptions[0]) from None


async def _prepared(function: Function, call: Call, values: Values) -> Values:
    """What a `preprocess` function makes of the inputs."""
    found = await function(call, values)
    if not isinstance(found, Mapping):
        raise ModelFailed(f"{function.ref} must return the inputs by name, it returned {told(found)}")
    return found


def choose_arm(split: Split, values: Values, headers: Mapping[str, str]) -> str:
    """The arm of one request: by a stable hash of what `by` names, else at random, in the declared shares."""
    kept = str(values.get(split.by, "")) or headers.get(split.by.lower(), "") if split.by else ""
    if kept:
        digest = hashlib.blake2b(kept.encode(), digest_size=8).digest()
        point = int.from_bytes(digest, "big") / 2**64 * 100
    else:
        point = random.random() * 100  # noqa: S311 (a share of traffic, not a secret)
    for arm, share in split.arms.items():
        point -= share
        if point < 0:
            return arm
    return list(split.arms)[-1]


def _models_of(endpoint: Endpoint, models: Mapping[str, ServedModel]) -> list[str]:
    if endpoint.model:
        return [endpoint.model]
    if endpoint.split is not None:
        return list(endpoint.split.arms)
    return list(dict.fromkeys(step.run for step in endpoint.steps if step.run in models))


def _has_independent_steps(endpoint: Endpoint) -> bool:
    """Whether two steps could run at the same time."""
    depths: dict[str, int] = {}
    for step in endpoint.steps:
        depths[step.name] = 1 + max((depths.get(need, 0) for need in step.needs), default=0)
    return len(set(depths.values())) < len(depths)

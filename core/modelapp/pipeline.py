"""An endpoint at work: its steps, in the order their needs allow, independent ones at the same time."""

import asyncio
import hashlib
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, TypeAlias, cast

from modelapp.app import Endpoint, Field, Model, Split
from modelapp.binding import bind_model, first_row
from modelapp.call import Call
from modelapp.errors import InvalidInput, ModelFailed, RequestError
from modelapp.functions import Function, Functions
from modelapp.generating import Piece
from modelapp.masking import is_private, leaves, scrubbed
from modelapp.mismatch import told
from modelapp.runtime import Rows
from modelapp.served import ServedModel
from modelapp.tasks import TASKS
from modelapp.together import Together

Values: TypeAlias = Mapping[str, Any]
Node: TypeAlias = Callable[[Values, Call], Awaitable[Any]]
NamedNode: TypeAlias = tuple[str, tuple[str, ...], Node]
"""A step: its name, what it needs, and what does it."""


class ModelNode:
    """A model in an endpoint, its own hooks around it; what is called is one request.

    `model` is its table as it is now. `only`: of an answer that nothing works on, what the endpoint declares.
    """

    __slots__ = ("_after", "_before", "_only", "_required", "_takes", "served")

    def __init__(
        self, served: ServedModel, model: Model, functions: Functions, only: Mapping[str, Field] | None = None
    ) -> None:
        self.served = served
        self._before = functions.get(model.preprocess) if model.preprocess else None
        self._after = functions.get(model.postprocess) if model.postprocess else None
        self._takes = TASKS[model.task].takes if model.task in TASKS else ()
        # What a task gives is more than most endpoints want, and none of it is a mistake.
        self._only = (only or None) if model.task and not model.postprocess else None
        self._required = [name for name, field in (self._only or {}).items() if not field.type.nullable]

    async def __call__(self, values: Values, call: Call) -> Any:
        """Its answer."""
        rows, single = await self._bound(values, call)
        answer: Any = await self.served.infer(rows, call)
        if single and (signature := self.served.signature) is not None:
            answer = first_row(signature, answer)
        return self._picked(answer) if self._after is None else await self._after(call, answer)

    async def stream(self, values: Values, call: Call) -> AsyncGenerator[Piece]:
        """Its answer piece by piece."""
        rows, _ = await self._bound(values, call)
        if not self.served.streams or isinstance(rows, Mapping):
            raise ModelFailed(f'model "{self.served.name}" does not answer piece by piece')
        if len(rows) != 1:
            raise InvalidInput(f"an answer that is streamed is that to one record, not to {len(rows)}")
        async with aclosing(cast("AsyncGenerator[Piece]", self.served.stream(rows[0], call))) as pieces:
            async for piece in pieces:
                yield Piece(self._picked(piece.record), final=True) if piece.final else piece

    async def _bound(self, values: Values, call: Call) -> tuple[Rows, bool]:
        """The model's rows, and whether they are a single one."""
        if self._before is not None:
            values = await _prepared(self._before, call, values)
        if (signature := self.served.signature) is None:
            raise self.served.not_ready()
        if len(values) == 1 and next(iter(values)) in self._takes:
            return [values], True  # a list of messages is no list of records
        return bind_model(self.served.name, signature, values)

    def _picked(self, answer: Any) -> Any:
        if self._only is None or not isinstance(answer, Mapping):
            return answer
        picked = {name: value for name, value in answer.items() if name in self._only}
        if len(picked) < len(self._only) and any(name not in picked for name in self._required):
            return answer  # it is refused, and the message should tell what the model gave
        return picked


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

        def model_node(name: str, *, last: bool) -> ModelNode:
            table = (declared or {}).get(name, models[name].model)
            only = endpoint.output if last and not endpoint.postprocess else None
            return ModelNode(models[name], table, functions, only)

        self._steps: list[NamedNode] = []
        for step in endpoint.steps:
            if step.run in self.models:
                node: Node = model_node(step.run, last=step is endpoint.steps[-1])
            else:
                node = self._function_node(step.run, step.needs, functions)
            self._steps.append((step.name, step.needs, node))
        self._parallel = _has_independent_steps(endpoint)
        if endpoint.model:
            self._body: Node = model_node(endpoint.model, last=True)
        elif endpoint.split is not None:
            self._body = self._split_node(endpoint.split, {arm: model_node(arm, last=True) for arm in self.models})
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

    async def stream(self, values: Values, call: Call) -> AsyncGenerator[Piece]:
        """The result piece by piece, as its last model makes it; the last piece is what `run` gives.

        Only of an endpoint with `stream = true`. Raises RequestError.
        """
        given = dict(values)
        call.private = call.private or self._private
        try:
            if self._before is not None:
                values = await _prepared(self._before, call, values)
            node = self._body
            if self._steps:
                known = await self._run_some(self._steps[:-1], values, call)
                _, needs, node = self._steps[-1]
                values = {need: known[need] for need in needs}
            if not isinstance(node, ModelNode):
                raise ModelFailed(f'endpoint "{self.endpoint.name}" does not end with a model, so nothing streams')
            async with aclosing(node.stream(values, call)) as pieces:
                async for piece in pieces:
                    yield piece
        except RequestError as error:
            if not self._private:
                raise
            raise scrubbed(error, leaves(self.endpoint.input, given)) from None

    def _function_node(self, ref: str, needs: tuple[str, ...], functions: Functions) -> Node:
        function = functions.get(ref)

        async def run_function(values: Values, call: Call) -> Any:
            return await function(call, *(values[need] for need in needs))

        return run_function

    def _split_node(self, split: Split, nodes: Mapping[str, Node]) -> Node:
        async def run_arm(values: Values, call: Call) -> Any:
            if call.arm and call.arm not in nodes:
                raise InvalidInput(f'endpoint "{self.endpoint.name}" has no arm "{call.arm}"; arms: {", ".join(nodes)}')
            call.arm = call.arm or choose_arm(split, values, call.headers, call.seed)
            return await nodes[call.arm](values, call)

        return run_arm

    async def _run_steps(self, values: Values, call: Call) -> Any:
        known = await self._run_some(self._steps, values, call)
        if call.probe:
            call.steps.update((name, known[name]) for name, _, _ in self._steps)
        return known[self._steps[-1][0]]

    async def _run_some(self, steps: Sequence[NamedNode], values: Values, call: Call) -> dict[str, Any]:
        """The inputs, and what the steps made of them."""
        known = dict(values)
        if self._parallel:
            await self._run_together(steps, known, call)
        else:
            for name, needs, node in steps:
                known[name] = await node({need: known[need] for need in needs}, call)
        return known

    async def _run_together(self, steps: Sequence[NamedNode], known: dict[str, Any], call: Call) -> None:
        """Each step starts when the steps it needs have ended."""
        ended: dict[str, asyncio.Task[None]] = {}

        async def run_step(name: str, needs: tuple[str, ...], node: Node) -> None:
            for need in needs:
                if need in ended:
                    await ended[need]
            known[name] = await node({need: known[need] for need in needs}, call)

        async with Together() as group:
            for name, needs, node in steps:
                ended[name] = group.create_task(run_step(name, needs, node))


async def _prepared(function: Function, call: Call, values: Values) -> Values:
    """What a `preprocess` function makes of the inputs."""
    found = await function(call, values)
    if not isinstance(found, Mapping):
        raise ModelFailed(f"{function.ref} must return the inputs by name, it returned {told(found)}")
    return found


def choose_arm(split: Split, values: Values, headers: Mapping[str, str], seed: int | None = None) -> str:
    """The arm of one request: by a stable hash of what `by` names, else by chance, in the declared shares."""
    kept = str(values.get(split.by, "")) or headers.get(split.by.lower(), "") if split.by else ""
    if kept:
        digest = hashlib.blake2b(kept.encode(), digest_size=8).digest()
        point = int.from_bytes(digest, "big") / 2**64 * 100
    else:
        dice = random if seed is None else random.Random(seed)  # noqa: S311 (a share of traffic, not a secret)
        point = dice.random() * 100
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

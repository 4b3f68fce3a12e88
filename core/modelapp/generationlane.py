"""Sequences that join and leave at every step: the lane of models that answer token by token."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from modelapp.app import Model
from modelapp.batching import Limits
from modelapp.call import Call
from modelapp.decoding import Decoding, Fragment
from modelapp.errors import InvalidInput, LoadError
from modelapp.generating import Piece, Text, TextModel
from modelapp.generator import Generator
from modelapp.lane import Around
from modelapp.observing import InProgress, ModelFigures
from modelapp.prompts import GenerationRequest, read_request
from modelapp.runtime import Records, Rows
from modelapp.sampling import Chosen
from modelapp.together import Together

_LONG_CHARS = 4096
_LONG_ANSWER_TOKENS = 512
"""With log probabilities more of them would hold up the loop by over 5 ms."""


class GenerationLane:
    """Implements `modelapp.lane.Lane`. Raises LoadError where app.toml's table does not fit the model."""

    streams = True
    least_ms: float | None = None
    """A step says little of a request."""

    def __init__(self, loaded: TextModel, model: Model, around: Around) -> None:
        if not model.task:
            raise LoadError(
                f'model "{model.name}" generates, and [models.{model.name}] has no task',
                model=model.name,
                help='write task = "text-generation"',
            )
        self._model = model
        self._text = loaded.text
        self._capacity = loaded.engine.capacity
        self._generator = Generator(
            model.name,
            loaded,
            _limits(model),
            slots=self._capacity.slots,
            step_tokens=model.generation.step_tokens,
            root=around.root,
            observers=around.observers,
            on_death=around.on_death,
        )

    @property
    def notes(self) -> Sequence[str]:
        """What the engine holds less of than app.toml asks."""
        wanted, found = self._model.max_batch_size, self._capacity.slots
        if found < wanted:
            return (f"{found} sequences at a time fit its memory, and max_batch_size is {wanted}.",)
        return ()

    @property
    def waiting_rows(self) -> int:
        """Sequences in its queue."""
        return self._generator.schedule.waiting

    @property
    def in_progress(self) -> InProgress:
        """The sequences that have their slots, and the tokens kept of them."""
        active = self._generator.schedule.active
        tokens = sum(len(one.request.prompt) + len(one.chosen) - len(one.pending) for one in active)
        return InProgress(len(active), tokens)

    @property
    def figures(self) -> ModelFigures:
        """Sums over its steps and requests so far."""
        return self._generator.figures

    def is_stuck(self, now_s: float) -> bool:
        """Whether a step runs that nobody waits for any more, and that does not end."""
        return self._generator.schedule.is_stuck(now_s)

    def warm(self) -> None:
        """The warm-up is over."""

    def hush(self, root: Path) -> None:
        """From now on tell of a failure no more than its class and its place below the app's folder."""
        self._generator.private = True

    def tune(self, model: Model) -> None:
        """Obey that table's bounds from now on."""
        self._model = model
        self._generator.tune(_limits(model), step_tokens=model.generation.step_tokens)

    async def infer(self, rows: Rows, call: Call) -> Rows:
        """The answers, in the order of the rows. Raises RequestError."""
        requests = [await self._read(row) for row in cast("Records", rows)]
        if not requests:
            raise InvalidInput("a request must hold at least one row")
        if len(requests) == 1:
            return [await self._answered(requests[0], await self._generator.whole(requests[0], call))]
        async with Together() as group:
            answers = [group.create_task(self._generator.whole(request, call)) for request in requests]
        pairs = zip(requests, answers, strict=True)
        return [await self._answered(request, answer.result()) for request, answer in pairs]

    async def stream(self, row: Mapping[str, Any], call: Call) -> AsyncIterator[Piece]:
        """The answer to one record as it comes into being. Raises RequestError."""
        request = await self._read(row)
        decodings: dict[int, Decoding] = {}
        events = self._generator.pieces(request, call)
        try:
            async for decoding, fragment in events:
                decodings[decoding.index] = decoding
                yield Piece(self._piece(request, decoding, fragment))
        finally:
            await events.aclose()  # type: ignore[attr-defined]  # it is an async generator
        whole = await self._answered(request, [decodings[index] for index in sorted(decodings)])
        yield Piece(whole, final=True)

    async def _read(self, row: Mapping[str, Any]) -> GenerationRequest:
        given = (row, self._model.task, self._text, self._capacity, self._model.generation)
        if _is_long(row):
            return await asyncio.to_thread(read_request, *given)
        return read_request(*given)

    def _piece(self, request: GenerationRequest, decoding: Decoding, fragment: Fragment) -> dict[str, Any]:
        record: dict[str, Any] = {"index": decoding.index, "text": fragment.text}
        record |= self._tokens(request, fragment.chosen)
        if fragment.finish_reason:
            record["finish_reason"] = fragment.finish_reason
        return record

    async def _answered(self, request: GenerationRequest, decodings: Sequence[Decoding]) -> dict[str, Any]:
        if request.sampling.logprobs and sum(len(one.chosen) for one in decodings) > _LONG_ANSWER_TOKENS:
            return await asyncio.to_thread(self._answer, request, decodings)
        return self._answer(request, decodings)

    def _answer(self, request: GenerationRequest, decodings: Sequence[Decoding]) -> dict[str, Any]:
        choices: list[dict[str, Any]] = [
            {
                "index": decoding.index,
                "text": "".join(decoding.texts),
                "finish_reason": decoding.finish_reason,
                **self._tokens(request, decoding.chosen),
            }
            for decoding in decodings
        ]
        return {
            "text": choices[0]["text"],
            "finish_reason": choices[0]["finish_reason"],
            "prompt_tokens": len(request.prompt),
            "completion_tokens": sum(len(decoding.chosen) for decoding in decodings),
            "choices": choices,
        }

    def _tokens(self, request: GenerationRequest, chosen: Sequence[Chosen]) -> dict[str, Any]:
        found: dict[str, Any] = {"tokens": [one.token for one in chosen]}
        if request.sampling.logprobs is not None:
            found["logprobs"] = [_logprob(self._text, one) for one in chosen]
        return found

    async def close(self) -> None:
        """Take no more, and finish what is queued."""
        await self._generator.close()


def _is_long(row: Mapping[str, Any]) -> bool:
    """Whether turning it into tokens would hold up the loop: a megabyte of text takes a second."""
    prompt, messages = row.get("prompt"), row.get("messages")
    return (isinstance(prompt, str) and len(prompt) > _LONG_CHARS) or isinstance(messages, list)


def _limits(model: Model) -> Limits:
    return Limits(max_queue_rows=model.max_queue, levels=model.priority_levels, rerun=model.rerun)


def _logprob(text: Text, chosen: Chosen) -> dict[str, Any]:
    """A chosen token's log probability, and those of the likeliest ones."""
    return {
        "token": text.token_text(chosen.token),
        "id": chosen.token,
        "logprob": chosen.logprob,
        "top": [{"token": text.token_text(token), "id": token, "logprob": logprob} for token, logprob in chosen.top],
    }

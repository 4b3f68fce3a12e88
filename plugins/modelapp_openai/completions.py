"""/v1/completions: prompts that a model goes on with."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from modelapp.errors import InvalidInput
from modelapp.routes import HttpRequest, HttpResponse, HttpStream
from modelapp.service import Service
from modelapp_openai.events import respond
from modelapp_openai.generation import (
    UNSERVED,
    Choice,
    Count,
    Sampling,
    Usage,
    choices_of,
    head_of,
    passed_over,
    sampling_record,
    usage_of,
    wants_usage,
)
from modelapp_openai.listing import GENERATING, Listing
from modelapp_openai.logprobs import CompletionLogprobs, completion_logprobs
from modelapp_openai.requests import Refusals, as_asked, ignored_headers, read_object, refuse, texts_of

_MAX_TOKENS = 16  # the protocol's own, where a request names none
_REFUSED: Refusals = {
    "suffix": ("models here write what comes after a prompt, not what stands between two texts", ("",)),
    "prompt_embeds": ("send the prompt as text or token ids", ()),
    **UNSERVED,
}


class CompletionRequest(Sampling, kw_only=True):
    """One or several prompts, as text or token ids."""

    prompt: str | list[Any]
    max_tokens: Count | None = None
    logprobs: Annotated[int, Meta(ge=0, le=5)] | None = None
    echo: bool | None = None
    best_of: Annotated[int, Meta(ge=1)] | None = None


class CompletionChoice(msgspec.Struct):
    """One answer, or a piece of it."""

    index: int
    text: str
    logprobs: CompletionLogprobs | None
    finish_reason: str | None


class Completion(msgspec.Struct, tag_field="object", tag="text_completion", kw_only=True):
    """The answer; in a stream, one chunk of it."""

    id: str
    created: int
    model: str
    system_fingerprint: str
    choices: list[CompletionChoice]
    usage: Usage | UnsetType | None = UNSET


class Completions:
    """Answers /v1/completions."""

    def __init__(self, service: Service, listing: Listing) -> None:
        self._release = service.release
        self._listing = listing
        self._most_bytes = service.app.server.max_body_bytes

    async def __call__(self, request: HttpRequest) -> HttpResponse | HttpStream:
        """One request. Raises RequestError."""
        document = await read_object(request, self._most_bytes)
        refuse(document, _REFUSED)
        asked, call = as_asked(document, CompletionRequest), request.call
        model = self._listing.find(asked.model, GENERATING, call)
        prompts = texts_of(asked.prompt, "prompt")
        _check(asked, prompts)
        common = {"max_tokens": _MAX_TOKENS, **sampling_record(asked, model)}
        if asked.logprobs is not None:
            common["logprobs"] = asked.logprobs
        records = [{"prompt": prompt, **common} for prompt in prompts]
        shape = _Shape(f"cmpl-{call.id}", asked, prompts, self._release)
        headers = ignored_headers(passed_over(document, CompletionRequest, _REFUSED))
        return await respond(model, records, call, asked, shape, headers)


class _Shape:
    """Writes one answer, whole or in chunks."""

    def __init__(self, id_: str, asked: CompletionRequest, prompts: Sequence[str | list[int]], release: str) -> None:
        self._head = head_of(id_, asked, release)
        self._wants_logprobs = asked.logprobs is not None
        self._echoed = prompts if asked.echo else None
        self._each = asked.n or 1
        self._tells_usage = wants_usage(asked)
        self._offsets: dict[int, int] = {}

    def whole(self, answers: Sequence[Mapping[str, Any]]) -> Completion:
        """The answers to all prompts."""
        found = [
            self._choice(one, self._echo(one.index))
            for number, answer in enumerate(answers)
            for one in choices_of(answer, self._each, number * self._each)
        ]
        return Completion(**self._head, choices=found, usage=usage_of(answers))

    def chunk(self, usage: Usage | None) -> Completion:
        """A chunk without choices."""
        return Completion(**self._head, choices=[], usage=usage if self._tells_usage else UNSET)

    def begin(self, index: int) -> list[msgspec.Struct]:
        """The prompt, where it was asked for."""
        text = self._echo(index)
        return [CompletionChoice(index, text, None, None)] if text else []

    def piece(self, choice: Choice) -> list[msgspec.Struct]:
        """The text, and the reason of the end where it is the last."""
        return [self._choice(choice)]

    def _choice(self, choice: Choice, before: str = "") -> CompletionChoice:
        logprobs = None
        if self._wants_logprobs:
            offset = self._offsets.get(choice.index, 0)
            logprobs = completion_logprobs(choice.logprobs, offset)
            self._offsets[choice.index] = offset + sum(map(len, logprobs.tokens))
        return CompletionChoice(choice.index, before + choice.text, logprobs, choice.finish_reason)

    def _echo(self, index: int) -> str:
        return "" if self._echoed is None else str(self._echoed[index // self._each])


def _check(asked: CompletionRequest, prompts: Sequence[str | list[int]]) -> None:
    if asked.max_tokens == 0:
        raise InvalidInput("max_tokens: an answer has at least one token", field="max_tokens")
    if asked.best_of is not None and asked.best_of != (asked.n or 1):
        told = "best_of: answers are not ranked here; leave it out, or make it n"
        raise InvalidInput(told, field="best_of")
    if asked.echo and (asked.logprobs is not None or not all(isinstance(prompt, str) for prompt in prompts)):
        raise InvalidInput("echo: served for prompts that are text, and without logprobs", field="echo")

"""What completions and chat have in common: how tokens are drawn, the choices that come out, what they used up."""

import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Annotated, Any, cast

import attrs
import msgspec
from msgspec import Meta

from modelapp.call import Call
from modelapp.errors import InvalidInput, ModelFailed
from modelapp.generating import Piece
from modelapp.service import ModelService
from modelapp_openai.requests import Refusals, ignored

MOST_TOKENS = 2**31 - 1
MOST_CHOICES = 128
_AS_THEY_ARE = (
    "max_tokens", "min_tokens", "temperature", "top_p", "min_p", "repetition_penalty", "presence_penalty",
    "frequency_penalty", "logit_bias", "stop",
)  # fmt: skip
_FREE = "answers here are free text"
UNSERVED: Refusals = {
    "structured_outputs": (_FREE, ({},)),
    "response_format": (_FREE, ({"type": "text"},)),
    "prompt_logprobs": ("log probabilities are those of the answer", (0,)),
    "use_beam_search": ("tokens are drawn one by one", (False,)),
    **{f"guided_{what}": (_FREE, ()) for what in ("json", "regex", "choice", "grammar")},
}
"""What neither kind of request can have, and what passing over it would make a wrong answer."""
Count = Annotated[int, Meta(ge=0, le=MOST_TOKENS)]
Positive = Annotated[int, Meta(ge=1, le=MOST_TOKENS)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]
Share = Annotated[float, Meta(ge=0, le=1)]
StopText = Annotated[str, Meta(min_length=1)]


class StreamOptions(msgspec.Struct, kw_only=True):
    """What a stream tells beside its pieces."""

    include_usage: bool | None = None


class Sampling(msgspec.Struct, kw_only=True):
    """The fields of both kinds of requests. From `min_tokens` on they are what vLLM adds to OpenAI's."""

    model: str
    max_tokens: Positive | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Share | None = None
    n: Annotated[int, Meta(ge=1, le=MOST_CHOICES)] | None = None
    stop: StopText | list[StopText] | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logit_bias: dict[str, Annotated[float, Meta(ge=-100, le=100)]] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    min_tokens: Count | None = None
    top_k: Annotated[int, Meta(ge=-1, le=MOST_TOKENS)] | None = None
    min_p: Share | None = None
    repetition_penalty: Annotated[float, Meta(gt=0)] | None = None
    ignore_eos: bool | None = None
    stop_token_ids: list[Count] | None = None


class Usage(msgspec.Struct):
    """Tokens."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


@attrs.define  # not frozen: made for every token, and frozen costs a microsecond more
class Choice:
    """One answer, or a piece of it: then `finish_reason` is None until the last one."""

    index: int
    text: str
    finish_reason: str | None
    logprobs: Sequence[Mapping[str, Any]]


def sampling_record(asked: Sampling, model: ModelService) -> dict[str, Any]:
    """The keys of a record (`modelapp.tasks.GENERATION_INPUTS`) that both kinds of requests have."""
    if asked.stream_options is not None and not asked.stream:
        raise InvalidInput("stream_options is for a stream: it needs stream = true", field="stream_options")
    record = {name: value for name in _AS_THEY_ARE if (value := getattr(asked, name)) is not None}
    if asked.temperature is None and model.model.generation.temperature is None:
        record["temperature"] = 1.0  # the protocol's own
    if asked.seed is not None:
        record["seed"] = asked.seed % 2**63  # the protocol has negative ones
    if asked.n is not None and asked.n > 1:
        record["n"] = asked.n
    if asked.top_k is not None:
        record["top_k"] = max(asked.top_k, 0)  # -1 is vLLM's word for all
    if asked.ignore_eos:
        record["ignore_end"] = True
    if asked.stop_token_ids:
        record["stop_tokens"] = asked.stop_token_ids
    return record


def passed_over(document: Mapping[str, Any], kind: type[Sampling], refused: Refusals) -> list[str]:
    """The names of fields that nobody here knows."""
    names = [name for name in ignored(document, kind) if name not in refused]
    return names + ignored(document.get("stream_options") or {}, StreamOptions, "stream_options.")


def wants_usage(asked: Sampling) -> bool:
    """Whether a stream ends with what it used up."""
    return asked.stream_options is not None and bool(asked.stream_options.include_usage)


def head_of(id_: str, asked: Sampling, release: str) -> dict[str, Any]:
    """The fields of every answer and chunk that are the same in all of them."""
    return {"id": id_, "created": int(time.time()), "model": asked.model, "system_fingerprint": release}


def choices_of(record: Mapping[str, Any], wanted: int, first: int) -> list[Choice]:
    """The answers in a record, which may hold one alone as its `text`; they are counted from `first`.

    Raises ModelFailed where some are missing.
    """
    found = record.get("choices") or [record]
    if len(found) < wanted:
        raise ModelFailed(f"the model gave {len(found)} answers to one prompt, where {wanted} were asked for")
    reason = record.get("finish_reason") or "stop"
    return [
        Choice(first + number, _text(one, None), one.get("finish_reason") or reason, one.get("logprobs") or ())
        for number, one in enumerate(found)
    ]


def piece_of(record: Mapping[str, Any], first: int) -> Choice:
    """What a piece adds to a choice. Raises ModelFailed."""
    index = first + record.get("index", 0)
    return Choice(index, _text(record, ""), record.get("finish_reason"), record.get("logprobs") or ())


def _text(record: Mapping[str, Any], missing: str | None) -> str:
    text = record.get("text", missing)
    if not isinstance(text, str):
        raise ModelFailed("the model's answer holds no text")
    return text


def usage_of(records: Sequence[Mapping[str, Any]]) -> Usage:
    """The tokens of some answers together."""
    into = sum(record.get("prompt_tokens", 0) for record in records)
    out = sum(record.get("completion_tokens", 0) for record in records)
    return Usage(into, out, into + out)


async def whole_answers(
    model: ModelService, records: Sequence[Mapping[str, Any]], call: Call
) -> Sequence[Mapping[str, Any]]:
    """The model's answers to some records. Raises RequestError."""
    return cast("Sequence[Mapping[str, Any]]", await model.infer(list(records), call))


async def pieces_of(model: ModelService, record: Mapping[str, Any], call: Call) -> AsyncGenerator[Piece]:
    """Its answer to one record piece by piece, in one where the model does not stream. Raises RequestError."""
    if model.streams:
        async with aclosing(cast("AsyncGenerator[Piece]", model.stream(record, call))) as pieces:
            async for piece in pieces:
                yield piece
        return
    (answer,) = await whole_answers(model, [record], call)
    for one in answer.get("choices") or [answer]:
        yield Piece(one)
    yield Piece(answer, final=True)

"""Log probabilities of tokens, in the shapes of chat and of the older completions."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

_LEAST = -9999.0  # as OpenAI writes what JSON cannot: minus infinity
_NO_CHARACTER = "\ufffd"


class TopLogprob(msgspec.Struct):
    """One of the likeliest tokens. `bytes` is null where the token is but a part of a character."""

    token: str
    logprob: float
    bytes: list[int] | None


class TokenLogprob(msgspec.Struct):
    """The token that was chosen."""

    token: str
    logprob: float
    bytes: list[int] | None
    top_logprobs: list[TopLogprob]


class ChatLogprobs(msgspec.Struct):
    """Those of a choice, or of a piece of it."""

    content: list[TokenLogprob]
    refusal: None = None


class CompletionLogprobs(msgspec.Struct):
    """The older shape: one list for each thing. `text_offset` counts characters of the answer."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]


def chat_logprobs(entries: Sequence[Mapping[str, Any]]) -> ChatLogprobs:
    """`entries` are {token, logprob, top: list of {token, logprob}}."""
    return ChatLogprobs(
        [
            TokenLogprob(
                one["token"],
                _written(one["logprob"]),
                _bytes(one["token"]),
                [
                    TopLogprob(top["token"], _written(top["logprob"]), _bytes(top["token"]))
                    for top in one.get("top", ())
                ],
            )
            for one in entries
        ]
    )


def completion_logprobs(entries: Sequence[Mapping[str, Any]], offset: int) -> CompletionLogprobs:
    """The same; `offset` is where the first token's text stands. The chosen token is always among the likeliest."""
    told = CompletionLogprobs([], [], [], [])
    for one in entries:
        token, logprob = one["token"], _written(one["logprob"])
        top = {each["token"]: _written(each["logprob"]) for each in one.get("top", ())}
        told.tokens.append(token)
        told.token_logprobs.append(logprob)
        told.top_logprobs.append(top | {token: logprob})
        told.text_offset.append(offset)
        offset += len(token)
    return told


def _written(logprob: float) -> float:
    return max(float(logprob), _LEAST)


def _bytes(token: str) -> list[int] | None:
    return None if _NO_CHARACTER in token else list(token.encode())

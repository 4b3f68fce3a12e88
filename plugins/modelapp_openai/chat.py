"""/v1/chat/completions: conversations that a model goes on with, by its chat template."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from modelapp.errors import InvalidInput
from modelapp.mismatch import quoted
from modelapp.routes import HttpRequest, HttpResponse, HttpStream
from modelapp.service import ModelService, Service
from modelapp_openai.events import respond
from modelapp_openai.generation import (
    UNSERVED,
    Choice,
    Positive,
    Sampling,
    Usage,
    choices_of,
    head_of,
    passed_over,
    sampling_record,
    usage_of,
    wants_usage,
)
from modelapp_openai.listing import CHATTING, Listing
from modelapp_openai.logprobs import ChatLogprobs, chat_logprobs
from modelapp_openai.requests import Refusals, as_asked, ignored, ignored_headers, read_object, refuse

_NO_TOOLS = "models here answer with text and call nothing"
_REFUSED: Refusals = {
    "tools": (_NO_TOOLS, ([],)),
    "tool_choice": (_NO_TOOLS, ("none", "auto")),
    "functions": (_NO_TOOLS, ([],)),
    "function_call": (_NO_TOOLS, ("none", "auto")),
    "modalities": ("answers here are text", (["text"], [])),
    "audio": ("answers here are text", ()),
    "web_search_options": ("nothing is looked up for an answer", ()),
    **UNSERVED,
}
_REFUSED_OF_MESSAGES: Refusals = {"tool_calls": (_NO_TOOLS, ([],)), "function_call": (_NO_TOOLS, ({},))}


class ContentPart(msgspec.Struct):
    """A part of a message."""

    type: str
    text: str | None = None


class Message(msgspec.Struct):
    """One message. `developer` is another word for `system`."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[ContentPart]


class ChatRequest(Sampling, kw_only=True):
    """A conversation that waits for the assistant."""

    messages: Annotated[list[Message], Meta(min_length=1)]
    max_completion_tokens: Positive | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None


class AssistantMessage(msgspec.Struct, tag_field="role", tag="assistant"):
    """What the model says."""

    content: str
    refusal: None = None


class ChatChoice(msgspec.Struct):
    """One answer."""

    index: int
    message: AssistantMessage
    logprobs: ChatLogprobs | None
    finish_reason: str | None


class ChatCompletion(msgspec.Struct, tag_field="object", tag="chat.completion", kw_only=True):
    """The answers."""

    id: str
    created: int
    model: str
    system_fingerprint: str
    choices: list[ChatChoice]
    usage: Usage


class Delta(msgspec.Struct, omit_defaults=True):
    """What a chunk adds to the message."""

    role: str | UnsetType = UNSET
    content: str | UnsetType = UNSET


class ChunkChoice(msgspec.Struct):
    """A piece of one answer."""

    index: int
    delta: Delta
    logprobs: ChatLogprobs | None
    finish_reason: str | None


class ChatChunk(msgspec.Struct, tag_field="object", tag="chat.completion.chunk", kw_only=True):
    """One chunk of a stream."""

    id: str
    created: int
    model: str
    system_fingerprint: str
    choices: list[ChunkChoice]
    usage: Usage | UnsetType | None = UNSET


class Chat:
    """Answers /v1/chat/completions."""

    def __init__(self, service: Service, listing: Listing) -> None:
        self._release = service.release
        self._listing = listing
        self._most_bytes = service.app.server.max_body_bytes

    async def __call__(self, request: HttpRequest) -> HttpResponse | HttpStream:
        """One request. Raises RequestError."""
        document = await read_object(request, self._most_bytes)
        refuse(document, _REFUSED)
        _refuse_in_messages(document.get("messages"))
        asked, call = as_asked(document, ChatRequest), request.call
        model = self._listing.find(asked.model, CHATTING, call)
        shape = _Shape(f"chatcmpl-{call.id}", asked, self._release)
        headers = ignored_headers(passed_over(document, ChatRequest, _REFUSED) + _passed_over_in(document["messages"]))
        return await respond(model, [_record(asked, model)], call, asked, shape, headers)


class _Shape:
    """Writes one answer, whole or in chunks."""

    def __init__(self, id_: str, asked: ChatRequest, release: str) -> None:
        self._head = head_of(id_, asked, release)
        self._wants_logprobs = bool(asked.logprobs)
        self._each = asked.n or 1
        self._tells_usage = wants_usage(asked)

    def whole(self, answers: Sequence[Mapping[str, Any]]) -> ChatCompletion:
        """The answer to the conversation."""
        choices = [
            ChatChoice(one.index, AssistantMessage(one.text), self._logprobs(one), one.finish_reason)
            for one in choices_of(answers[0], self._each, 0)
        ]
        return ChatCompletion(**self._head, choices=choices, usage=usage_of(answers))

    def chunk(self, usage: Usage | None) -> ChatChunk:
        """A chunk without choices."""
        return ChatChunk(**self._head, choices=[], usage=usage if self._tells_usage else UNSET)

    def begin(self, index: int) -> list[msgspec.Struct]:
        """Who speaks."""
        return [ChunkChoice(index, Delta("assistant", ""), None, None)]

    def piece(self, choice: Choice) -> list[msgspec.Struct]:
        """The text; the reason of the end in a chunk of its own."""
        chunks: list[msgspec.Struct] = []
        if choice.text or choice.logprobs:
            chunks.append(ChunkChoice(choice.index, Delta(UNSET, choice.text), self._logprobs(choice), None))
        if choice.finish_reason is not None:
            chunks.append(ChunkChoice(choice.index, Delta(), None, choice.finish_reason))
        return chunks

    def _logprobs(self, choice: Choice) -> ChatLogprobs | None:
        return chat_logprobs(choice.logprobs) if self._wants_logprobs else None


def _record(asked: ChatRequest, model: ModelService) -> dict[str, Any]:
    record = sampling_record(asked, model)
    record["messages"] = [
        {"role": "system" if one.role == "developer" else one.role, "content": _text(one.content, number)}
        for number, one in enumerate(asked.messages)
    ]
    if asked.max_completion_tokens is not None:
        record["max_tokens"] = asked.max_completion_tokens
    if asked.logprobs:
        record["logprobs"] = asked.top_logprobs or 0
    elif asked.top_logprobs:
        raise InvalidInput("top_logprobs needs logprobs = true", field="top_logprobs")
    return record


def _text(content: str | list[ContentPart], number: int) -> str:
    if isinstance(content, str):
        return content
    texts: list[str] = []
    for at, part in enumerate(content):
        place = f"messages[{number}].content[{at}]"
        if part.type != "text":
            told = f'{place}.type must be "text", which is all that the model reads, not {quoted(part.type)}'
            raise InvalidInput(told, field=f"{place}.type")
        if part.text is None:
            raise InvalidInput(f"{place}.text is missing", field=f"{place}.text")
        texts.append(part.text)
    return "".join(texts)  # as chat templates are given them elsewhere


def _refuse_in_messages(messages: Any) -> None:
    for number, message in enumerate(messages if isinstance(messages, list) else ()):
        if isinstance(message, dict):
            try:
                refuse(message, _REFUSED_OF_MESSAGES)
            except InvalidInput as error:
                place = f"messages[{number}]."
                raise InvalidInput(place + error.message, field=place + error.field) from None


def _passed_over_in(messages: Sequence[Mapping[str, Any]]) -> list[str]:
    names = [name for message in messages for name in ignored(message, Message, "messages[].")]
    return [name for name in names if name.removeprefix("messages[].") not in _REFUSED_OF_MESSAGES]

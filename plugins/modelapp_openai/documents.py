"""How the routes below /v1 describe themselves in /openapi.json, made of the classes that read and write them."""

from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from modelapp_openai.chat import ChatChunk, ChatCompletion, ChatRequest
from modelapp_openai.completions import Completion, CompletionRequest
from modelapp_openai.embeddings import EmbeddingList, EmbeddingRequest
from modelapp_openai.listing import (
    CHATTING,
    EMBEDDING,
    GENERATING,
    SPEAKING,
    WRITING_DOWN,
    ListedModel,
    Listing,
    ModelList,
)
from modelapp_openai.requests import IGNORED_HEADER
from modelapp_openai.speech import SpeechRequest
from modelapp_openai.transcriptions import Transcription, TranscriptionRequest

Json = dict[str, Any]

ERRORS: Mapping[int, str] = {
    400: "The request cannot be read, or asks for what is not served; `param` names the field",
    401: "No bearer token, or an unknown one",
    403: "The token may not call this model",
    404: "No such model or route",
    408: "The body did not arrive in time",
    413: "The body is too large, as it is or inflated",
    415: "The content type or encoding is not read here",
    429: "Too many requests wait; Retry-After and Retry-After-Ms say when to come back",
    500: "The model failed, or answered what it should not",
    503: "Not ready, or stopping; Retry-After and Retry-After-Ms say when to come back",
    504: "No answer in the time allowed",
}
"""Status -> what it means below /v1."""
_ABOUT = (401, 403, 404, 429, 503)
_JSON, _FORM, _EVENTS = "application/json", "multipart/form-data", "text/event-stream"
_PREFIX = "OpenAI"
_REF = f"#/components/schemas/{_PREFIX}{{name}}"
_RETRY = {"Retry-After": {"schema": {"type": "integer", "minimum": 1}}}
_IGNORED = {IGNORED_HEADER: {"description": "Fields that were passed over", "schema": {"type": "string"}}}
_STRUCTS = (
    ChatChunk, ChatCompletion, ChatRequest, Completion, CompletionRequest, EmbeddingList, EmbeddingRequest, ListedModel,
    ModelList, SpeechRequest, Transcription, TranscriptionRequest,
)  # fmt: skip
_ERROR: Json = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string", "enum": ["invalid_request_error", "rate_limit_error", "server_error"]},
                "param": {"type": ["string", "null"], "description": "the field at fault"},
                "code": {"type": "string"},
            },
        }
    },
}


def components() -> Json:
    """What the operations refer to."""
    _, schemas = msgspec.json.schema_components(_STRUCTS, ref_template=_REF)
    failures = {
        f"{_PREFIX}{status}": {"description": text, "content": _content(_JSON, "Error")}
        | ({"headers": _RETRY} if status in (429, 503) else {})
        for status, text in ERRORS.items()
    }
    named = {f"{_PREFIX}{name}": schema for name, schema in schemas.items()}
    return {"schemas": {**named, f"{_PREFIX}Error": _ERROR}, "responses": failures}


class Documents:
    """Makes the operations; those that name a model may name one of `listing`."""

    def __init__(self, listing: Listing) -> None:
        self._listing = listing

    def models(self) -> Json:
        """GET /v1/models"""
        return _operation("models", "Every model that the token may call", _content(_JSON, "ModelList"), _ABOUT)

    def model(self, tasks: Collection[str]) -> Json:
        """GET /v1/models/{model}"""
        path = {"name": "model", "in": "path", "required": True, "schema": self._names(tasks)}
        operation = _operation("model", "One model", _content(_JSON, "ListedModel"), _ABOUT)
        return operation | {"parameters": [path]}

    def completions(self) -> Json:
        """POST /v1/completions"""
        answer = _content(_JSON, "Completion") | _events("Completion")
        return self._post("completions", "Go on with texts", answer, "CompletionRequest", GENERATING)

    def chat(self) -> Json:
        """POST /v1/chat/completions"""
        answer = _content(_JSON, "ChatCompletion") | _events("ChatChunk")
        return self._post("chat_completions", "Go on with a conversation", answer, "ChatRequest", CHATTING)

    def embeddings(self) -> Json:
        """POST /v1/embeddings"""
        answer = _content(_JSON, "EmbeddingList")
        return self._post("embeddings", "Texts as vectors", answer, "EmbeddingRequest", EMBEDDING)

    def speech(self) -> Json:
        """POST /v1/audio/speech"""
        sound = {"audio/*": {"schema": {"type": "string", "format": "binary"}}}
        return self._post("audio_speech", "Speak a text", sound, "SpeechRequest", SPEAKING)

    def transcriptions(self) -> Json:
        """POST /v1/audio/transcriptions"""
        answer = _content(_JSON, "Transcription") | {"text/plain": {"schema": {"type": "string"}}}
        operation = self._post(
            "audio_transcriptions", "Write speech down", answer, "TranscriptionRequest", WRITING_DOWN
        )
        file = {"type": "object", "required": ["file"], "properties": {"file": {"type": "string", "format": "binary"}}}
        asked = operation["requestBody"]["content"].pop(_JSON)
        asked["schema"]["allOf"].append(file)
        operation["requestBody"]["content"][_FORM] = asked
        return operation

    def _post(self, name: str, summary: str, answer: Json, asked: str, tasks: Collection[str]) -> Json:
        body = {"allOf": [_ref(asked), {"type": "object", "properties": {"model": self._names(tasks)}}]}
        operation = _operation(name, summary, answer, tuple(ERRORS))
        operation["responses"]["200"]["headers"] = _IGNORED
        return operation | {"requestBody": {"required": True, "content": {_JSON: {"schema": body}}}}

    def _names(self, tasks: Collection[str]) -> Json:
        names = self._listing.doing(tasks)
        return {"type": "string", "enum": names} if names else {"type": "string"}


def _operation(name: str, summary: str, answer: Json, failures: Collection[int]) -> Json:
    responses = {str(status): {"$ref": f"#/components/responses/{_PREFIX}{status}"} for status in failures}
    return {
        "operationId": f"openai_{name}",
        "summary": summary,
        "tags": ["OpenAI-shaped"],
        "responses": {"200": {"description": "The answer", "content": answer}, **responses},
    }


def _ref(name: str) -> Json:
    return {"$ref": _REF.format(name=name)}


def _content(kind: str, name: str) -> Json:
    return {kind: {"schema": _ref(name)}}


def _events(chunk: str) -> Json:
    """Each event by itself, as tools look at them; the last one is no JSON."""
    data = {"type": "string", "contentMediaType": _JSON, "contentSchema": _ref(chunk)}
    told = "Server-sent events, each a chunk as JSON; then data: [DONE]"
    return {_EVENTS: {"schema": {"description": told, "properties": {"data": data}}}}

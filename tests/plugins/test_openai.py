"""The routes below /v1 on the wire: events as clients take them, refusals, what is passed over, uploads."""

import gzip
import io
import json
from typing import Any

import numpy as np
import pytest
import soundfile

from modelapp.nulltext import expected
from modelapp.testing import Answer, RunningApp

CHAT: Any = {"model": "story", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 6, "temperature": 0}
SAID = "user: hi\nassistant: "
COMPLETION: Any = {"model": "story", "prompt": "Once", "max_tokens": 6, "temperature": 0}


@pytest.fixture
def ask(talking: RunningApp, boss: str) -> Any:
    """ask(path, value) posts a value as JSON, or bytes as they are."""

    def post(path: str, value: Any, **headers: str) -> Answer:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        sent = {"authorization": f"Bearer {boss}", "content-type": "application/json"}
        return talking.ask("POST", f"/v1/{path}", body, sent | {k.replace("_", "-"): v for k, v in headers.items()})

    return post


def events(answer: Answer) -> list[Any]:
    """The data of each event, decoded; the body is nothing but events."""
    assert answer.headers["content-type"] == "text/event-stream"
    *parts, rest = answer.body.decode().split("\n\n")
    assert rest == ""
    assert all(part.startswith("data: ") and "\n" not in part for part in parts)
    data = [part.removeprefix("data: ") for part in parts]
    return [one if one == "[DONE]" else json.loads(one) for one in data]


def told(answer: Answer) -> tuple[int, Any, Any]:
    """Status, param and code of an error in the protocol's shape."""
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    return answer.status, error["param"], error["code"]


def test_a_chat_stream_to_the_letter(ask: Any) -> None:
    """The role first, null and never "" for a reason that is not there yet, an empty last delta, then [DONE]."""
    answer = ask("chat/completions", CHAT | {"stream": True, "stream_options": {"include_usage": True}})
    *chunks, usage, done = events(answer)
    assert done == "[DONE]"
    text = expected(SAID, 6)
    deltas = [{"role": "assistant", "content": ""}, *({"content": letter} for letter in text), {}]
    assert [chunk["choices"] for chunk in chunks] == [
        [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None if delta else "length"}]
        for delta in deltas
    ]
    head = {name: chunks[0][name] for name in ("id", "object", "created", "model", "system_fingerprint")}
    assert head["object"] == "chat.completion.chunk"
    assert head["system_fingerprint"] == answer.headers["x-modelapp-release"]
    assert head["id"] == f"chatcmpl-{answer.headers['x-request-id']}"
    assert all(chunk | head == chunk and chunk["usage"] is None for chunk in chunks)
    tokens = {"prompt_tokens": len(SAID), "completion_tokens": 6, "total_tokens": len(SAID) + 6}
    assert usage == head | {"choices": [], "usage": tokens}
    assert answer.headers["cache-control"] == "no-store"


def test_a_completion_stream_to_the_letter(ask: Any) -> None:
    """Pieces of the same shape as the whole, the reason with the last of them; no usage where none was asked for."""
    *chunks, done = events(ask("completions", COMPLETION | {"stream": True}))
    assert done == "[DONE]"
    assert {chunk["object"] for chunk in chunks} == {"text_completion"}
    assert [(chunk["choices"][0]["text"], chunk["choices"][0]["finish_reason"]) for chunk in chunks] == [
        (letter, "length" if at == 5 else None) for at, letter in enumerate(expected("Once", 6))
    ]
    assert not any("usage" in chunk for chunk in chunks)


def test_half_a_character_never_leaves(ask: Any) -> None:
    """A character of three tokens comes in one piece; asked for as log probabilities its parts have no bytes."""
    euro = {str(byte): 100 for byte in "€".encode()}
    body = CHAT | {"logit_bias": euro, "temperature": 2, "seed": 1, "max_tokens": 40, "logprobs": True}
    whole = ask("chat/completions", body).json()["choices"][0]
    *chunks, _ = events(ask("chat/completions", body | {"stream": True}))
    pieces = [chunk["choices"][0]["delta"].get("content", "") for chunk in chunks]
    assert "".join(pieces) == whole["message"]["content"]
    assert all(len(token["token"]) <= 1 for token in whole["logprobs"]["content"])
    assert {tuple(token["bytes"]) if token["bytes"] else None for token in whole["logprobs"]["content"]} == {None}


def test_echo_gives_the_prompt_back(ask: Any) -> None:
    """Before each choice, streamed or not; not where that would need the text of token ids."""
    body = COMPLETION | {"prompt": ["One", "Two"], "echo": True}
    whole = [choice["text"] for choice in ask("completions", body).json()["choices"]]
    assert whole == [prompt + expected(prompt, 6) for prompt in ("One", "Two")]
    texts = ["", ""]
    for chunk in events(ask("completions", body | {"stream": True}))[:-1]:
        texts[chunk["choices"][0]["index"]] += chunk["choices"][0]["text"]
    assert texts == whole
    assert told(ask("completions", COMPLETION | {"echo": True, "prompt": [1, 2]})) == (400, "echo", "invalid_input")
    assert told(ask("completions", COMPLETION | {"echo": True, "logprobs": 1})) == (400, "echo", "invalid_input")


@pytest.mark.parametrize(
    ("path", "more", "param"),
    [
        ("completions", {"suffix": "end"}, "suffix"),
        ("completions", {"best_of": 3}, "best_of"),
        ("completions", {"logprobs": 6}, "logprobs"),
        ("completions", {"prompt": []}, "prompt"),
        ("completions", {"prompt": [[1], [1.5]]}, "prompt[1]"),
        ("completions", {"prompt": ["x"] * 2049}, "prompt"),
        ("completions", {"prompt": ["x"] * 33, "n": 2}, "prompt"),
        ("completions", {"model": "narrow", "n": 9}, "n"),
        ("completions", {"prompt": [999]}, "prompt"),
        ("completions", {"prompt": None}, "prompt"),
        ("completions", {"max_tokens": 0}, "max_tokens"),
        ("completions", {"max_tokens": True}, "max_tokens"),
        ("completions", {"n": 0}, "n"),
        ("completions", {"top_p": 0}, "top_p"),
        ("completions", {"stop": ""}, "stop"),
        ("completions", {"stop": ["a", ""]}, "stop[1]"),
        ("completions", {"logit_bias": {"x": 1}}, "logit_bias"),
        ("completions", {"stream_options": {"include_usage": True}}, "stream_options"),
        ("completions", {"guided_regex": "a+"}, "guided_regex"),
        ("completions", {"model": 7}, "model"),
        ("chat/completions", {"tool_choice": "required"}, "tool_choice"),
        ("chat/completions", {"functions": [{"name": "f"}]}, "functions"),
        ("chat/completions", {"response_format": {"type": "json_schema"}}, "response_format"),
        ("chat/completions", {"modalities": ["text", "audio"]}, "modalities"),
        ("chat/completions", {"top_logprobs": 2}, "top_logprobs"),
        ("chat/completions", {"logprobs": 2}, "logprobs"),
        ("chat/completions", {"messages": "hi"}, "messages"),
        ("chat/completions", {"messages": [{"role": "user"}]}, "messages[0].content"),
        ("chat/completions", {"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ("chat/completions", {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
         "messages[0].content[0].type"),
        ("chat/completions", {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
         "messages[0].content[0].text"),
        ("chat/completions", {"messages": [{"role": "assistant", "content": "", "tool_calls": [{}]}]},
         "messages[0].tool_calls"),
        ("embeddings", {"model": "vectors", "input": []}, "input"),
        ("embeddings", {"model": "vectors", "input": ["a", 1]}, "input[1]"),
        ("embeddings", {"model": "vectors", "input": ""}, "input"),
        ("embeddings", {"model": "vectors", "input": ["a", ""]}, "input[1]"),
        ("embeddings", {"model": "vectors", "input": "unreadable"}, "input"),
        ("embeddings", {"model": "vectors", "input": "a", "encoding_format": "int8"}, "encoding_format"),
        ("embeddings", {"model": "vectors", "input": "a", "dimensions": 2}, "dimensions"),
        ("embeddings", {"model": "story", "input": "a"}, "model"),
        ("audio/speech", {"model": "voice", "input": "x" * 4097}, "input"),
        ("audio/speech", {"model": "voice", "input": "x", "speed": 5}, "speed"),
        ("audio/speech", {"model": "voice", "input": "x", "response_format": "aac"}, "response_format"),
        ("audio/speech", {"model": "voice", "input": "x", "voice": "odd", "response_format": "opus"},
         "response_format"),
        ("audio/speech", {"model": "voice", "input": "x", "stream_format": "sse"}, "stream_format"),
    ],
)  # fmt: skip
def test_what_is_not_served_is_refused_by_name(ask: Any, path: str, more: dict[str, Any], param: str) -> None:
    """Never passed over where the answer would be another one than was asked for."""
    base = {"completions": COMPLETION, "chat/completions": CHAT}.get(path, {})
    assert told(ask(path, base | more)) == (400, param, "invalid_input")


def test_what_asks_for_nothing_is_no_mistake(ask: Any) -> None:
    """null, empty lists, and the values that are the default are what some clients always send."""
    nothing = {
        "tools": [], "tool_choice": "auto", "functions": None, "response_format": {"type": "text"}, "stop": None,
        "logit_bias": None, "modalities": ["text"], "stream": False, "stream_options": None, "logprobs": False,
    }  # fmt: skip
    answer = ask("chat/completions", CHAT | nothing)
    assert answer.json()["choices"][0]["message"]["content"] == expected(SAID, 6)
    assert "x-modelapp-ignored" not in answer.headers
    assert ask("completions", COMPLETION | {"suffix": "", "best_of": 1, "echo": False}).status == 200


def test_fields_that_nobody_knows_are_told_in_a_header(ask: Any) -> None:
    """Those that a caller makes up cannot break the header."""
    more = {"user": "u", "store": True, "x\r\nset-cookie": 1, "é": 2, "messages": [
        {"role": "developer", "name": "ann", "content": [{"type": "text", "text": "h"}, {"type": "text", "text": "i"}]}
    ]}  # fmt: skip
    answer = ask("chat/completions", CHAT | more)
    assert answer.headers["x-modelapp-ignored"] == "user, store, messages[].name"
    assert answer.json()["choices"][0]["message"]["content"] == expected("system: hi\nassistant: ", 6)
    streamed = ask("completions", COMPLETION | {"stream": True, "user": "u"})
    assert streamed.headers["x-modelapp-ignored"] == "user"
    for path, body in (
        ("embeddings", {"model": "vectors", "input": "a", "user": "u"}),
        ("audio/speech", {"model": "voice", "input": "a", "user": "u", "stream_format": "audio"}),
    ):
        assert ask(path, body).headers["x-modelapp-ignored"] == "user"


def test_a_text_to_text_model_completes_and_does_not_chat(ask: Any) -> None:
    """Its prompt is what it rewrites."""
    answer = ask("completions", COMPLETION | {"model": "rewrite"})
    assert answer.json()["choices"][0]["text"] == expected("Once", 6)
    refused = ask("chat/completions", CHAT | {"model": "rewrite"})
    assert 'its task is "text-to-text"' in refused.json()["error"]["message"]
    assert "models for this route: story, calm" in refused.json()["error"]["message"]


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"{", {}, 400, "bad_request"),
        (b"[1]", {}, 400, "bad_request"),
        (b'{"model": "story", "model": "story", "prompt": "x"}', {}, 400, "invalid_input"),
        (b"{}", {"content_type": "text/plain"}, 415, "unsupported_media"),
        (b"{}", {"content_encoding": "br"}, 415, "unsupported_media"),
        (gzip.compress(b" " * 20_000_000), {"content_encoding": "gzip"}, 413, "too_large"),
        (b'{"model": "story", "prompt": "x"}', {"authorization": "Bearer nobody"}, 401, "invalid_api_key"),
    ],
)
def test_bodies_that_cannot_be_read(ask: Any, body: bytes, headers: dict[str, str], status: int, code: str) -> None:
    """In the protocol's shape too."""
    assert told(ask("completions", body, **headers))[::2] == (status, code)


def test_a_compressed_body_is_read(ask: Any) -> None:
    """As on every other route."""
    answer = ask("completions", gzip.compress(json.dumps(COMPLETION).encode()), content_encoding="gzip")
    assert answer.json()["choices"][0]["text"] == expected("Once", 6)


def test_a_vector_that_is_none_is_no_answer(ask: Any) -> None:
    """NaN is the model's failure, whichever form was asked for."""
    for form in ("float", "base64"):
        answer = ask("embeddings", {"model": "vectors", "input": ["a", "nan"], "encoding_format": form})
        assert told(answer) == (500, None, "model_failed")
        assert answer.headers["x-should-retry"] == "false"


def form(**fields: str | bytes) -> tuple[bytes, str]:
    """A multipart body and its content type; bytes are a file. "__" in a name stands for "[]"."""
    parts = []
    for name, value in fields.items():
        head = f'--cut\r\nContent-Disposition: form-data; name="{name.replace("__", "[]")}"'
        head += '; filename="x.wav"' if isinstance(value, bytes) else ""
        parts.append(head.encode() + b"\r\n\r\n" + (value if isinstance(value, bytes) else value.encode()) + b"\r\n")
    return b"".join(parts) + b"--cut--\r\n", "multipart/form-data; boundary=cut"


@pytest.fixture(scope="module")
def second() -> bytes:
    """A WAV of one second."""
    file = io.BytesIO()
    soundfile.write(file, np.zeros(8000, np.float32), 8000, format="WAV")
    return file.getvalue()


def test_an_upload_is_written_down(ask: Any, second: bytes) -> None:
    """JSON says how long it was; what is not known is told in the header."""
    body, kind = form(model="ear", file=second, temperature="0", prompt="so far")
    answer = ask("audio/transcriptions", body, content_type=kind)
    assert answer.json() == {"text": "1.00 s", "usage": {"type": "duration", "seconds": 1.0}}
    assert answer.headers["x-modelapp-ignored"] == "prompt"
    body, kind = form(model="ear", file=second, response_format="text")
    text = ask("audio/transcriptions", body, content_type=kind)
    assert (text.body, text.headers["content-type"]) == (b"1.00 s", "text/plain; charset=utf-8")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": "ear"}, "file"),
        ({"file": b"RIFF"}, "model"),
        ({"model": "ear", "file": b"no sound at all"}, "file"),
        ({"model": "ear", "file": b"", "response_format": "verbose_json"}, "response_format"),
        ({"model": "ear", "file": b"", "response_format": "srt"}, "response_format"),
        ({"model": "ear", "file": b"", "stream": "true"}, "stream"),
        ({"model": "ear", "file": b"", "timestamp_granularities__": "word"}, "timestamp_granularities"),
        ({"model": "story", "file": b""}, "model"),
    ],
)
def test_uploads_that_cannot_be_served(ask: Any, fields: dict[str, Any], param: str) -> None:
    """By the name of the form's field."""
    body, kind = form(**fields)
    assert told(ask("audio/transcriptions", body, content_type=kind)) == (400, param, "invalid_input")
    assert told(ask("audio/transcriptions", b"{}"))[0] == 415

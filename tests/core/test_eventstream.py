"""Answers as server-sent events: what each piece holds, how the last event tells the whole, and who gets JSON."""

import json
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import numpy as np
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from modelapp.app import App, AppInfo, Endpoint, Field
from modelapp.call import Call
from modelapp.errors import ModelFailed, QueueFull
from modelapp.eventstream import wants_json
from modelapp.fieldtype import parse
from modelapp.generating import Piece
from modelapp.natural import natural_protocol
from modelapp.openapi import openapi_document

WHOLE = {"text": "grün und gut", "finish_reason": "stop"}
PARTS = ({"index": 0, "text": "grün\n", "tokens": [1]}, {"index": 0, "tokens": [2]}, {"index": 1, "text": "blau"})


class Teller:
    """A pipeline that answers in pieces, and fails where the request says so."""

    def __init__(self) -> None:
        self.closed = 0

    async def run(self, values: Mapping[str, Any], call: Call) -> Any:
        """All at once."""
        return {"text": "".join(part.get("text", "") for part in PARTS)} if values.get("fail") == "whole" else WHOLE

    async def stream(self, values: Mapping[str, Any], call: Call) -> AsyncGenerator[Piece]:
        """The parts, then the whole."""
        fail = values.get("fail", "")
        try:
            if fail == "first":
                raise QueueFull("the queue is full", retry_after_s=2)
            for part in PARTS:
                yield Piece(part)
            if fail == "later":
                raise ModelFailed("the model raised ValueError", field="text")
            if fail == "type":
                yield Piece({"text": 7})
            yield Piece({"text": "no reason"} if fail == "whole" else WHOLE, final=True)
        finally:
            self.closed += 1


def field(word: str, **more: Any) -> Field:
    """A field of that type word."""
    return Field(name="", type=parse(word), **more)


ENDPOINTS = {
    "tell": Endpoint(
        name="tell",
        model="m",
        stream=True,
        input={"fail": field("str", default="")},
        output={"text": field("str", min_chars=6), "finish_reason": field("str")},
    ),
    "free": Endpoint(name="free", model="m", stream=True),
}
APP = App(app=AppInfo(name="t"), endpoints=ENDPOINTS)


@pytest.fixture
def teller() -> Teller:
    """What answers both endpoints."""
    return Teller()


@pytest.fixture
def server(serve, teller):
    """The app over the wire."""
    return serve(natural_protocol(APP, dict.fromkeys(ENDPOINTS, teller)))


def events(body: bytes) -> list[tuple[str, Any]]:
    """The events of a body, as the WHATWG's parser would see them: kind and data."""
    found, kind, data = [], "message", []
    for line in body.decode().split("\n"):
        name, _, value = line.partition(": ")
        if name == "event":
            kind = value
        elif name == "data":
            data.append(value)
        elif not line and data:
            found.append((kind, json.loads("\n".join(data))))
            kind, data = "message", []
    assert not data, "the last event does not end"
    return found


def test_pieces_hold_what_is_declared_and_the_last_event_the_whole(server) -> None:
    """Undeclared keys and the pieces of further answers are left out, bounds hold for the whole alone."""
    answer = server.request("POST", "/tell", {})

    assert answer.headers["content-type"] == "text/event-stream"
    assert events(answer.body) == [("message", {"text": "grün\n"}), ("done", WHOLE)]


def test_the_whole_is_what_json_clients_get(server) -> None:
    """Byte for byte."""
    whole = server.request("POST", "/tell", {}, {"accept": "application/json"})

    assert whole.headers["content-type"] == "application/json"
    assert server.request("POST", "/tell", {}).body.endswith(b"event: done\ndata: " + whole.body + b"\n\n")


def test_without_declared_outputs_everything_is_sent(server) -> None:
    """Of every answer that was asked for."""
    found = events(server.request("POST", "/free", {}).body)
    assert found == [*(("message", part) for part in PARTS), ("done", WHOLE)]


def test_what_fails_first_is_an_ordinary_error(server, teller) -> None:
    """With its status and what to wait."""
    answer = server.request("POST", "/tell", {"fail": "first"})
    assert (answer.status, answer.headers["retry-after"]) == (429, "2")
    assert answer.json["error"]["code"] == "queue_full"
    assert server.request("POST", "/tell", {"fail": 7}).status == 422
    assert teller.closed == 1


@pytest.mark.parametrize(
    ("fail", "words"),
    [
        ("later", {"code": "model_failed", "message": "the model raised ValueError", "field": "text"}),
        ("type", {"code": "model_failed", "message": 'the output "text" must be str, got 7 (int)', "field": "text"}),
        (
            "whole",
            {
                "code": "model_failed",
                "message": 'the output "finish_reason" is missing; the model gave text',
                "field": "finish_reason",
            },
        ),
    ],
)
def test_what_fails_later_is_the_last_event(server, teller, fail, words) -> None:
    """No answer that is not as declared ends as if all were well."""
    found = events(server.request("POST", "/tell", {"fail": fail}).body)
    assert found == [("message", {"text": "grün\n"}), ("error", {"error": words})]
    assert teller.closed == 1


@pytest.mark.parametrize(
    ("accept", "json_wanted"),
    [
        (None, False),
        ("*/*", False),
        ("text/event-stream", False),
        ("application/json", True),
        ("Application/JSON; q=0.9, text/plain", True),
        ("application/json, text/event-stream", False),
    ],
)
def test_who_names_json_alone_gets_json(accept, json_wanted) -> None:
    """Everybody else gets the stream."""
    assert wants_json({} if accept is None else {"accept": accept}) is json_wanted


def test_the_document_tells_both_answers(teller) -> None:
    """And is valid OpenAPI."""
    document = openapi_document(APP, "r1", [natural_protocol(APP, dict.fromkeys(ENDPOINTS, teller))])

    OpenAPIV31SpecValidator(document).validate()
    content = document["paths"]["/tell"]["post"]["responses"]["200"]["content"]
    assert set(content) == {"application/json", "text/event-stream"}


def test_arrays_in_pieces_are_written_as_in_answers(serve) -> None:
    """An image is a PNG in a piece too."""

    class Painter(Teller):
        async def stream(self, values: Mapping[str, Any], call: Call) -> AsyncGenerator[Piece]:
            image = np.zeros((1, 1, 3), np.uint8)
            yield Piece({"picture": image})
            yield Piece({"picture": image}, final=True)

    endpoint = Endpoint(name="paint", model="m", stream=True, output={"picture": field("image")})
    app = App(app=AppInfo(name="t"), endpoints={"paint": endpoint})
    server = serve(natural_protocol(app, {"paint": Painter()}))

    (_, first), (_, last) = events(server.request("POST", "/paint", {}).body)
    assert first == last
    assert first["picture"].startswith("iVBOR")

"""Natural routes over the wire: good requests, and every kind of bad one with its status, shape and text."""

import base64
import gzip
import io
import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from PIL import Image

from modelapp.app import App, AppInfo, Endpoint, Field, Server
from modelapp.bodies import OFF_LOOP_BYTES
from modelapp.call import Call
from modelapp.errors import ModelFailed
from modelapp.fieldtype import parse
from modelapp.natural import natural_protocol

Serve = Callable[..., Any]
JSON = {"content-type": "application/json"}
CONTROL = {"x-modelapp-control": "let-me-in"}


def field(word: str, **bounds: Any) -> Field:
    """A field of that type word."""
    return Field(name="", type=parse(word), **bounds)


class Fake:
    """A pipeline that answers by a function of the values."""

    def __init__(self, answer: Callable[[Mapping[str, Any]], Any]) -> None:
        self._answer = answer

    async def run(self, values: Mapping[str, Any], call: Call) -> Any:
        """The function's result; its values as the step "seen"."""
        if call.probe:
            call.steps["seen"] = dict(values)
        return self._answer(values)


def poison(values: Mapping[str, Any]) -> Any:
    """A model that fails."""
    raise ModelFailed("the model raised ValueError: bad weights")


ENDPOINTS = {
    "add": Endpoint(
        name="add",
        model="m",
        timeout_s=5,
        input={
            "a": field("int", min=0),
            "b": field("float", default=1),
            "boxes": field("list[record]?", fields={"label": field("str")}),
        },
        output={"sum": field("float")},
    ),
    "flip": Endpoint(
        name="flip",
        model="m",
        path="/images/flip",
        max_body_mb=0.01,
        input={"photo": field("image", max_side_px=64), "note": field("str", default="")},
        output={"photo": field("image"), "note": field("str")},
    ),
    "free": Endpoint(name="free", model="m"),
    "misses": Endpoint(name="misses", model="m", output={"label": field("str"), "score": field("float")}),
    "unfinite": Endpoint(name="unfinite", model="m", output={"score": field("float")}),
    "poison": Endpoint(name="poison", model="m"),
    "large": Endpoint(name="large", model="m", input={"x": field("list[float]")}, output={"n": field("int")}),
}
APP = App(app=AppInfo(name="t"), endpoints=ENDPOINTS, server=Server(max_body_mb=20))
PIPELINES = {
    "add": Fake(lambda values: {"sum": np.float32(values["a"] + values["b"])}),
    "flip": Fake(lambda values: {"photo": values["photo"][:, ::-1], "note": values["note"]}),
    "free": Fake(dict),
    "misses": Fake(lambda values: {"label": "a"}),
    "unfinite": Fake(lambda values: {"score": float("nan")}),
    "poison": Fake(poison),
    "large": Fake(lambda values: {"n": len(values["x"])}),
}


@pytest.fixture
def server(serve: Serve) -> Any:
    """The app over the wire."""
    return serve(natural_protocol(APP, PIPELINES))


def red_left() -> bytes:
    """A picture whose left half is red, as PNG."""
    pixels = np.zeros((2, 4, 3), np.uint8)
    pixels[:, :2, 0] = 255
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def is_flipped(text: str) -> bool:
    """Whether the base64 PNG is red on its right half alone."""
    with Image.open(io.BytesIO(base64.b64decode(text))) as image:
        return np.asarray(image)[:, :, 0].tolist() == [[0, 0, 255, 255]] * 2


def test_each_endpoint_answers_at_its_path(server: Any) -> None:
    """JSON in and out, defaults filled in, the release and id beside it."""
    answer = server.request("POST", "/add", {"a": 2})
    assert (answer.status, answer.json) == (200, {"sum": 3.0})
    assert answer.headers["content-type"] == "application/json"
    assert server.request("POST", "/add", {"a": 2, "b": 0.5}, JSON).json == {"sum": 2.5}
    assert server.request("POST", "/free", {"any": [1, None]}).json == {"any": [1, None]}


def test_images_travel_in_base64_data_urls_and_forms(server: Any) -> None:
    """Three spellings of one request give one answer."""
    text = base64.b64encode(red_left()).decode()
    for photo in (text, f"data:image/png;base64,{text}"):
        assert is_flipped(server.request("POST", "/images/flip", {"photo": photo}).json["photo"])
    form = (
        b'--XX\r\nContent-Disposition: form-data; name="photo"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
        + red_left()
        + b'\r\n--XX\r\nContent-Disposition: form-data; name="note"\r\n\r\n7\r\n--XX--\r\n'
    )
    answer = server.request("POST", "/images/flip", form, {"content-type": "multipart/form-data; boundary=XX"})
    assert is_flipped(answer.json["photo"])
    assert answer.json["note"] == "7"


def test_large_and_compressed_bodies_are_read(server: Any) -> None:
    """Past the size that leaves the loop, and inflated within the endpoint's bound."""
    values = {"x": [0.5] * OFF_LOOP_BYTES}
    assert server.request("POST", "/large", values).json == {"n": OFF_LOOP_BYTES}
    packed = gzip.compress(json.dumps(values).encode())
    assert server.request("POST", "/large", packed, {"content-encoding": "gzip"}).json == {"n": OFF_LOOP_BYTES}
    bomb = gzip.compress(b" " * 20_000)
    answer = server.request("POST", "/images/flip", bomb, {"content-encoding": "gzip"})
    assert (answer.status, answer.json["error"]["code"]) == (413, "too_large")


BAD_INPUT = [
    ("wrong type", b'{"a": "7"}', {}, 422, "invalid_input", "a", '"a" must be int, got "7" (str)'),
    ("bool is no int", b'{"a": true}', {}, 422, "invalid_input", "a", '"a" must be int, got true (bool)'),
    ("out of bounds", b'{"a": -1}', {}, 422, "invalid_input", "a", '"a" must be at least 0, got -1'),
    ("missing field", b'{"b": 1}', {}, 422, "invalid_input", "a", '"a" is missing'),
    (
        "unknown field",
        b'{"a": 1, "c": 2}',
        {},
        422,
        "invalid_input",
        "c",
        '"c" is not declared; known here: a, b, boxes',
    ),
    (
        "misspelt field",
        b'{"a": 1, "box": 2}',
        {},
        422,
        "invalid_input",
        "box",
        '"box" is not declared; did you mean "boxes"?',
    ),
    (
        "nested place",
        b'{"a": 1, "boxes": [{"label": "x"}, {"label": 7}]}',
        {},
        422,
        "invalid_input",
        "boxes[1].label",
        '"boxes[1].label" must be str, got 7 (int)',
    ),
    ("no object", b"[1]", {}, 422, "invalid_input", None, "the body must be a JSON object, got a list of 1"),
    ("duplicate key", b'{"a": 1, "a": 2}', {}, 422, "invalid_input", "a", 'the key "a" stands twice in one object'),
    (
        "NaN",
        b'{"a": 1, "b": NaN}',
        {},
        400,
        "bad_request",
        None,
        "the body is not JSON: NaN at line 1, column 15 is not a JSON number",
    ),
    (
        "deep nesting",
        b'{"a": ' + b"[" * 100 + b"]" * 100 + b"}",
        {},
        400,
        "bad_request",
        None,
        "the JSON is nested too deeply: more than 64 levels",
    ),
    (
        "endless nesting",
        b"[" * 200_000,
        {},
        400,
        "bad_request",
        None,
        "the JSON is nested too deeply: more than 64 levels",
    ),
    (
        "broken JSON",
        b'{"a": 1,}',
        {},
        400,
        "bad_request",
        None,
        "the body is not JSON: trailing comma in object at line 1, column 9",
    ),
    ("empty body", b"", {}, 400, "bad_request", None, "the body is empty; send a JSON object"),
    (
        "bad UTF-8",
        b'{"a": "\xff"}',
        {},
        400,
        "bad_request",
        None,
        "the body is not JSON: it holds a byte that is not UTF-8 (0xff)",
    ),
    (
        "wrong content type",
        b"a=1",
        {"content-type": "application/x-www-form-urlencoded"},
        415,
        "unsupported_media",
        None,
        'the content type "application/x-www-form-urlencoded" is not read here; '
        "accepted: application/json and multipart/form-data; with curl, write --json in place of -d",
    ),
    (
        "broken form",
        b"nonsense",
        {"content-type": "multipart/form-data"},
        400,
        "bad_request",
        None,
        "the multipart content type names no boundary",
    ),
]


@pytest.mark.parametrize(
    ("body", "headers", "status", "code", "place", "text"),
    [case[1:] for case in BAD_INPUT],
    ids=[case[0] for case in BAD_INPUT],
)
def test_bad_input_is_told_by_status_code_field_and_text(
    server: Any, body: bytes, headers: Mapping[str, str], status: int, code: str, place: str | None, text: str
) -> None:
    """The whole error body, and an answer to the next good request."""
    answer = server.request("POST", "/add", body, headers)
    assert answer.status == status
    assert answer.json == {"error": {"code": code, "message": text, "field": place}}
    assert answer.headers["content-type"] == "application/json"
    assert server.request("POST", "/add", {"a": 1}).status == 200


def test_a_cut_body_is_refused_in_every_form(server: Any) -> None:
    """By Content-Length; and chunked, where the JSON itself shows that it is cut."""
    head = b"POST /add HTTP/1.1\r\nHost: x\r\n"
    answer = server.raw(head + b'Content-Length: 30\r\n\r\n{"a": 1}', cut=True)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'{"error":{"code":"bad_request","message":"the body ends too early' in answer
    answer = server.raw(head + b'Transfer-Encoding: chunked\r\n\r\n7\r\n{"a": 1\r\n', cut=True)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"the body is not JSON: it ends too early, after 7 bytes" in answer


def test_a_huge_body_is_refused_by_the_endpoints_own_bound(server: Any) -> None:
    """`max_body_mb` of the endpoint, else the server's; by Content-Length and chunked."""
    most = int(0.01 * 1024 * 1024)
    for body in (b"a" * (most + 1), iter([b"a" * most, b"a"])):
        answer = server.request("POST", "/images/flip", body)
        assert answer.status == 413
        assert answer.json["error"] == {
            "code": "too_large",
            "message": f"the body is larger than the {most} bytes that this route takes",
            "field": None,
        }
    assert server.request("POST", "/add", b"a" * (most + 1)).status == 400


def test_wrong_method_and_unknown_route(server: Any) -> None:
    """405 with Allow, 404 with the near route."""
    answer = server.request("GET", "/add")
    assert (answer.status, answer.headers["allow"]) == (405, "POST")
    assert answer.json["error"] == {"code": "method_not_allowed", "message": "/add takes POST, not GET", "field": None}
    answer = server.request("POST", "/ad", {"a": 1})
    assert answer.status == 404
    assert answer.json["error"] == {
        "code": "not_found",
        "message": 'there is no route "/ad"; did you mean "/add"?',
        "field": None,
    }


@pytest.mark.parametrize(
    ("path", "place", "text"),
    [
        ("/misses", "score", 'the output "score" is missing; the model gave label'),
        ("/unfinite", "score", 'the output "score" is NaN or infinite'),
        ("/poison", None, "the model raised ValueError: bad weights"),
    ],
)
def test_a_wrong_result_is_the_models_failure(server: Any, path: str, place: str | None, text: str) -> None:
    """500 model_failed, never a success with a hole in it."""
    answer = server.request("POST", path, {})
    assert answer.status == 500
    assert answer.json == {"error": {"code": "model_failed", "message": text, "field": place}}


def test_a_trusted_caller_may_look_at_a_step(server: Any) -> None:
    """The step's value instead of the answer; an unknown step is named; nobody else sees any."""
    probe = {**CONTROL, "x-modelapp-probe": "seen"}
    assert server.request("POST", "/add", {"a": 2}, probe).json == {"probe": {"a": 2, "b": 1.0, "boxes": None}}
    answer = server.request("POST", "/add", {"a": 2}, {**CONTROL, "x-modelapp-probe": "sean"})
    assert answer.status == 422
    assert answer.json["error"]["message"] == 'there is no step "sean" to look at; steps: seen'
    assert server.request("POST", "/add", {"a": 2}, {"x-modelapp-probe": "seen"}).json == {"sum": 3.0}

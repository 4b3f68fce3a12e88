"""The Open Inference Protocol's REST routes, in front of a fake replica."""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from modelapp.app import App, AppInfo, Model
from modelapp.call import Call
from modelapp.errors import ModelFailed, NotReady, RequestError
from modelapp.generating import Piece
from modelapp.routes import HttpRequest, HttpResponse, HttpStream, RouteTable
from modelapp.runtime import Rows
from modelapp.service import Readiness
from modelapp.signature import Signature, TensorSpec
from modelapp.tensors import check_inputs
from modelapp_oip.datatypes import BINARY_ONLY, DATATYPES, dtype_of
from modelapp_oip.rest import oip_routes
from modelapp_oip.statistics import Statistics
from modelapp_oip.tensors import Tail, read_tensor, write_tensor

AFFINE = Signature(
    inputs=(TensorSpec("x", "float32", ("batch", 2)),), outputs=(TensorSpec("y", "float32", ("batch", 2)),)
)
TEXT = Signature(inputs=(TensorSpec("t", "string", ("batch",)),), outputs=(TensorSpec("n", "int64", ("batch",)),))


class Fake:
    """A model that doubles numbers, or counts letters."""

    runtime = "null"
    streams = private = False
    labels = ()

    def __init__(self, name: str, signature: Signature | None) -> None:
        self.name = name
        self.signature = signature
        self.ready = signature is not None
        self.model = Model(name=name, source="s", runtime="null", max_batch_size=4)

    def not_ready(self) -> NotReady:
        """As the core says it."""
        return NotReady(f'model "{self.name}" is loading', retry_after_s=1)

    async def infer(self, rows: Rows, call: Call) -> Rows:
        """Check as the core does, then answer."""
        assert self.signature is not None
        arrays: Any = check_inputs(self.signature, rows)  # type: ignore[arg-type]
        if "t" in arrays:
            return {"n": np.array([len(text) for text in arrays["t"]])}
        return {"y": arrays["x"] * 2}


class FakeService:
    """A replica with three models, one of which is not loaded."""

    app = App(app=AppInfo(name="shop"))
    release = "0123456789abcdef"

    def __init__(self) -> None:
        self.models: Mapping[str, Fake] = {
            "affine": Fake("affine", AFFINE),
            "text": Fake("text", TEXT),
            "rows": Fake("rows", Signature(kind="records")),
            "late": Fake("late", None),
        }
        self.reason = ""

    def readiness(self) -> Readiness:
        """Ready unless a reason is set."""
        return Readiness(not self.reason, self.reason, {}, {})


def ask(method: str, path: str, body: object = None, service: FakeService | None = None) -> tuple[int, Any]:
    """Status and decoded body of one request through the route table."""
    table = RouteTable([oip_routes(service or FakeService(), Statistics())])
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def answer() -> HttpResponse:
        try:
            route, params = table.find(method, path)
            call = Call(asyncio.get_running_loop().time())
            return await route.handler(HttpRequest(method, path, "", {}, raw, params, call))
        except RequestError as error:
            return table.error_shape(path)(error)

    response = asyncio.run(answer())
    return response.status, json.loads(response.body)


def infer(model: str, *tensors: dict[str, Any], **keys: Any) -> tuple[int, Any]:
    """One inference request."""
    return ask("POST", f"/v2/models/{model}/infer", {"inputs": list(tensors), **keys})


def x(data: object, shape: list[int] | None = None, datatype: str = "FP32") -> dict[str, Any]:
    """The input of the affine model."""
    return {"name": "x", "shape": shape or [1, 2], "datatype": datatype, "data": data}


@pytest.mark.parametrize("path", ["/v2", "/v2/"])
def test_server_metadata_with_and_without_slash(path: str) -> None:
    """The specification writes the slash, Triton's client calls without."""
    status, body = ask("GET", path)
    assert status == 200
    assert (body["name"], body["version"]) == ("shop", "0123456789abcdef")
    assert "binary_tensor_data" in body["extensions"]


def test_health_has_a_body() -> None:
    """KServe's client reads the body; a replica that is not ready says why, with 503."""
    service = FakeService()
    assert ask("GET", "/v2/health/live") == (200, {"live": True})
    assert ask("GET", "/v2/health/ready", service=service) == (200, {"live": True, "ready": True})
    service.reason = "the app is starting"
    assert ask("GET", "/v2/health/ready", service=service) == (
        503,
        {"live": True, "ready": False, "error": "the app is starting"},
    )
    stopping = {"name": "affine", "ready": False, "error": "the app is starting"}
    assert ask("GET", "/v2/models/affine/ready", service=service) == (503, stopping)
    assert ask("GET", "/v2/models/affine/ready") == (200, {"name": "affine", "ready": True})
    assert ask("GET", "/v2/models/late/ready")[0] == 503


@pytest.mark.parametrize("path", ["/v2/models/affine", "/v2/models/affine/versions/1"])
def test_model_metadata(path: str) -> None:
    """Free sizes are -1; the version segment is optional."""
    status, body = ask("GET", path)
    assert status == 200
    assert body["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}]
    assert body["outputs"] == [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}]
    assert body["versions"] == ["1"]


@pytest.mark.parametrize("data", [[1, 2.5], [[1, 2.5]]])
def test_infer_takes_flat_and_nested_data(data: object) -> None:
    """The answer carries the model, the echoed id and row-major data."""
    status, body = infer("affine", x(data), id="abc")
    assert status == 200
    assert body == {
        "model_name": "affine",
        "model_version": "1",
        "id": "abc",
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 2], "data": [2.0, 5.0]}],
    }


def test_infer_takes_text() -> None:
    """BYTES are strings in JSON."""
    status, body = infer("text", {"name": "t", "shape": [2], "datatype": "BYTES", "data": ["one", "three"]})
    assert status == 200
    assert body["outputs"][0] == {"name": "n", "datatype": "INT64", "shape": [2], "data": [3, 5]}


def test_infer_sends_the_outputs_asked_for() -> None:
    """`outputs` selects; an unknown one is refused by name."""
    for outputs in ([{"name": "y"}], [], None):
        status, body = infer("affine", x([1, 2]), outputs=outputs, id=None, parameters=None)
        assert (status, [output["name"] for output in body["outputs"]]) == (200, ["y"])
    status, body = infer("affine", x([1, 2]), outputs=[{"name": "y"}, {"name": "y"}])
    assert (status, body) == (400, {"error": 'output "y" stands twice in "outputs"'})
    status, body = infer("affine", x([1, 2]), outputs=[{"name": "z"}])
    assert (status, body) == (400, {"error": "model \"affine\" has no output 'z'; its outputs: y"})


@pytest.mark.parametrize(
    ("tensor", "text"),
    [
        (x([1, 2, 3]), 'input "x" has the shape [1, 2], 2 elements, and 3 in its data'),
        (x([[1], [2]]), 'input "x" has the shape [1, 2] and its data is nested as [2, 1]'),
        (x([[1, 2], [3]]), 'the data of input "x" is not rectangular'),
        (x(["1", "2"]), 'input "x" is declared FP32 and its data is text'),
        (x([True, False]), 'input "x" is declared FP32 and its data is true or false'),
        (x([None, 1]), 'input "x" is declared FP32 and its data is null and whole numbers'),
        (x([True, 1.5]), 'input "x" is declared FP32 and its data is numbers and true or false'),
        (x([1e39, 1]), 'input "x" holds a value that FP32 cannot'),
        (x([1.5, 1], datatype="INT64"), 'input "x" is declared INT64 and its data is numbers'),
        (x([-1, 2**63], datatype="UINT64"), 'input "x" holds a value that UINT64 cannot'),
        (x([300, 1], datatype="UINT8"), 'input "x" holds a value that UINT8 cannot'),
        (x([1, 2], datatype="FP16"), 'input "x" is FP16, which has no JSON form; send it as binary data'),
        (x([1, 2], datatype="FLOAT"), "input \"x\" has the unknown datatype 'FLOAT'"),
        (x([1, 2], shape=[-1, 2]), 'input "x" must have a "shape" of whole numbers, none below 0'),
        (x([1, 2], datatype="FP64"), 'input "x" wants float32, got float64'),
        (x([1, 2], shape=[2]), 'input "x" wants shape [batch, 2], got [2]'),
        ({"name": "x", "shape": [1, 2], "datatype": "FP32"}, 'input "x" must have its "data" as a list'),
        ({"shape": [1, 2]}, 'every input must have a "name"'),
        ({**x([1, 2]), "name": "q"}, 'the model has no input "q"; its inputs: x'),
        ("x", 'every element of "inputs" must be an object'),
    ],
)
def test_bad_tensors_are_400_with_a_reason(tensor: Any, text: str) -> None:
    """Whatever is wrong with a tensor is told as {"error": text}."""
    status, body = infer("affine", tensor)
    assert status == 400
    assert list(body) == ["error"]
    assert text in body["error"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/v2/models/affine/infer", b"{", 400),
        ("POST", "/v2/models/affine/infer", b'{"inputs": [NaN]}', 400),
        ("POST", "/v2/models/affine/infer", b'{"inputs": [], "inputs": []}', 400),
        ("POST", "/v2/models/affine/infer", b"[]", 400),
        ("POST", "/v2/models/affine/infer", {"inputs": 3}, 400),
        ("POST", "/v2/models/affine/infer", {"inputs": [x([1, 2]), x([1, 2])]}, 400),
        ("POST", "/v2/models/affine/infer", {"inputs": [x([1, 2])], "id": 7}, 400),
        ("POST", "/v2/models/affine/infer", {"inputs": [x([1, 2])], "outputs": "y"}, 400),
        ("POST", "/v2/models/rows/infer", {"inputs": [x([1, 2])]}, 400),
        ("POST", "/v2/models/late/infer", {"inputs": [x([1, 2])]}, 503),
        ("POST", "/v2/models/none/infer", {"inputs": []}, 404),
        ("GET", "/v2/models/affine/versions/2", None, 404),
        ("GET", "/v2/modles", None, 404),
        ("DELETE", "/v2/models/affine", None, 405),
    ],
)
def test_every_failure_has_the_protocols_shape(method: str, path: str, body: object, status: int) -> None:
    """Clients index body["error"] whatever went wrong, unknown routes included."""
    got, answer = ask(method, path, body)
    assert got == status
    assert list(answer)[-1] == "error"
    assert isinstance(answer["error"], str)


@given(
    st.sampled_from(sorted(set(DATATYPES) - {"BYTES", *BINARY_ONLY})).flatmap(
        lambda word: st.tuples(
            st.just(word),
            npst.arrays(
                dtype_of(word),
                npst.array_shapes(min_dims=1, max_dims=3, max_side=4),
                elements={"allow_nan": False, "allow_infinity": False} if word.startswith("FP") else None,
            ),
        )
    )
)
def test_tensors_survive_the_wire(drawn: tuple[str, np.ndarray]) -> None:
    """What is written in JSON reads back as the same array, bit for bit."""
    word, array = drawn

    name, back = read_tensor(json.loads(json.dumps(write_tensor("a", word, array))), Tail(None))

    assert name == "a"
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.sampled_from(["name", "shape", "datatype", "data", "parameters"]), inner, max_size=5)
        ),
        max_leaves=12,
    )
)
def test_any_json_is_a_tensor_or_bad_input(value: Any) -> None:
    """No JSON value makes the reader fail in any other way."""
    try:
        name, array = read_tensor(value, Tail(None))
    except RequestError:
        return
    assert isinstance(name, str)
    assert isinstance(array, np.ndarray)


class Scribe(Fake):
    """A model that generates two words, and fails at a third where it is asked for one."""

    streams = True

    def __init__(self) -> None:
        super().__init__("scribe", Signature(kind="records"))
        self.model = Model(name="scribe", source="s", runtime="null", task="text-generation")

    async def stream(self, row: Mapping[str, Any], call: Call) -> AsyncGenerator[Piece]:
        """What it was asked, word by word."""
        for word in row["prompt"].split()[: row["max_tokens"]]:
            yield Piece({"index": 0, "text": word})
        if row["max_tokens"] > 2:
            raise ModelFailed("no more words")
        yield Piece({"text": "whole"}, final=True)


def streamed(body: object) -> list[Any]:
    """The events of a generate_stream."""
    service = FakeService()
    service.models = {**service.models, "scribe": Scribe()}
    table = RouteTable([oip_routes(service, Statistics())])  # type: ignore[arg-type]
    path = "/v2/models/scribe/generate_stream"

    async def read() -> list[bytes]:
        route, params = table.find("POST", path)
        call = Call(asyncio.get_running_loop().time())
        answer = await route.handler(HttpRequest("POST", path, "", {}, json.dumps(body).encode(), params, call))
        assert isinstance(answer, HttpStream)
        chunks = []
        try:
            async for chunk in answer.chunks:
                chunks.append(chunk)
        except RequestError as error:
            chunks.append(answer.last_words(error))
        return chunks

    return [json.loads(chunk.removeprefix(b"data: ").removesuffix(b"\n\n")) for chunk in asyncio.run(read())]


def test_a_model_that_streams_sends_an_event_a_piece() -> None:
    """Asked and answered in Triton's words too; the whole is not said again."""
    events = streamed({"text_input": "once upon a", "id": "7", "parameters": {"max_tokens": 2}})
    names = {"model_name": "scribe", "model_version": "1", "id": "7", "index": 0}
    assert events == [{**names, "text": word, "text_output": word} for word in ("once", "upon")]


def test_a_stream_that_fails_ends_with_its_error() -> None:
    """After the pieces that came."""
    *words, error = streamed({"prompt": "once upon a", "max_tokens": 3})
    assert [word["text"] for word in words] == ["once", "upon", "a"]
    assert error == {"error": "no more words"}

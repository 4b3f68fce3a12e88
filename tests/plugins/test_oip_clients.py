"""The protocol as clients speak it that nobody here wrote: Triton's and KServe's own, unmodified."""

import asyncio
import subprocess
import sys
import warnings
from collections.abc import Iterator
from functools import partial

import numpy as np
import pytest

from modelapp.signature import numpy_dtype
from modelapp.testing import AppProject, RunningApp

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what a client's own libraries warn of is not ours
    import tritonclient.http as tritonclient
    import tritonclient.http.aio as tritonclient_aio
    from tritonclient.utils import InferenceServerException

DTYPES = [
    "bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float16", "float32", "float64",
    "bfloat16", "string", "bytes",
]  # fmt: skip
APP = """
[app]
name = "numbers"

[server]
tokens_env = ""

[models.affine]
source = "handlers.py"
runtime = "null"
max_batch_size = 8
labels = "labels.txt"
[models.affine.null]
inputs = { x = "float32[batch, 2]" }
scale = 2.0

[models.words]
source = "handlers.py:Words"
runtime = "python"
max_batch_size = 4

[models.poison]
source = "handlers.py"
runtime = "null"
[models.poison.null]
inputs = { x = "float32[batch, 2]" }
poison = 13.0
""" + "".join(
    f"""
[models.{dtype}]
source = "handlers.py"
runtime = "null"
max_batch_size = 4
[models.{dtype}.null]
inputs = {{ x = "{dtype}[batch, n]" }}
"""
    for dtype in DTYPES
)
HANDLERS = '''
class Words:
    """Counts the letters of a text."""

    def predict(self, rows: list[dict]) -> list[dict]:
        return [{"letters": len(row["text_input"]), "text_output": row["text_input"].upper()} for row in rows]
'''
VALUES = {
    "bool": [[True, False, True]],
    "string": [["a", "ü", ""]],
    "bytes": [[b"a", b"\xff\x00", b""]],
    "uint8": [[0, 7, 255]],
    "int8": [[-128, 7, 127]],
}
WIRE = {
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
    "bfloat16": "BF16",
    "string": "BYTES",
    "bytes": "BYTES",
}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApp]:
    """The app above, serving."""
    project = AppProject(tmp_path_factory.mktemp("numbers"))
    with project.write(APP, {"labels.txt": "low\nhigh\n"}, handlers=HANDLERS).serve() as app:
        yield app


@pytest.fixture
def client(running: RunningApp) -> Iterator["tritonclient.InferenceServerClient"]:
    """Triton's client, connected."""
    client = tritonclient.InferenceServerClient(running.url.removeprefix("http://"))
    yield client
    client.close()


def array_of(dtype: str) -> np.ndarray:
    """A row of values for a model of that dtype, as the client takes them."""
    if dtype in ("string", "bytes"):
        values = [[item if isinstance(item, bytes) else item.encode() for item in VALUES[dtype][0]]]
        return np.array(values, object)
    return np.array(VALUES.get(dtype, [[0, 1, 2]]), numpy_dtype(dtype))


def sent(name: str, array: np.ndarray, datatype: str, *, binary: bool = True, module=tritonclient):
    """One input."""
    tensor = module.InferInput(name, list(array.shape), datatype)
    tensor.set_data_from_numpy(array, binary_data=binary)
    return tensor


def floats(*rows: list[float], name: str = "x", binary: bool = True):
    """The input of the affine model."""
    return sent(name, np.array(rows, np.float32), "FP32", binary=binary)


def test_health_and_metadata(client) -> None:
    """The client finds the server and the model alive, and their descriptions in the form it expects."""
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("affine")
    assert client.is_model_ready("affine", "1")
    metadata = client.get_server_metadata()
    assert metadata["name"] == "numbers"
    assert "binary_tensor_data" in metadata["extensions"]
    assert client.get_model_metadata("affine")["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}]


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_datatype_both_ways_as_raw_bytes(client, dtype: str) -> None:
    """What goes in comes out, for every datatype there is."""
    array = array_of(dtype)
    wire = WIRE.get(dtype, dtype.upper())

    answer = client.infer(dtype, [sent("x", array, wire)])

    assert answer.get_output("x")["datatype"] == wire
    np.testing.assert_array_equal(answer.as_numpy("x"), array)


@pytest.mark.parametrize("dtype", [dtype for dtype in DTYPES if dtype not in ("float16", "bfloat16", "bytes")])
def test_every_datatype_both_ways_in_json(client, dtype: str) -> None:
    """The same in JSON, where it has a form."""
    array = array_of(dtype)
    tensor = sent("x", array, WIRE.get(dtype, dtype.upper()), binary=False)

    answer = client.infer(dtype, [tensor], outputs=[tritonclient.InferRequestedOutput("x", binary_data=False)])

    wanted = [[text.decode() for text in array[0]]] if dtype == "string" else array.tolist()
    assert answer.as_numpy("x").tolist() == wanted


@pytest.mark.parametrize("way_in", [True, False])
@pytest.mark.parametrize("way_out", [True, False])
def test_raw_and_json_mix(client, way_in: bool, way_out: bool) -> None:
    """Each side of a request has its own form; the id comes back."""
    outputs = [tritonclient.InferRequestedOutput("x", binary_data=way_out)]

    answer = client.infer("affine", [floats([1, 2], [3, 4], binary=way_in)], outputs=outputs, request_id="7")

    np.testing.assert_array_equal(answer.as_numpy("x"), np.array([[2, 4], [6, 8]], np.float32))
    assert answer.get_response()["id"] == "7"
    assert ("data" in answer.get_output("x")) == (not way_out)


@pytest.mark.parametrize("request_packed", [None, "gzip", "deflate"])
@pytest.mark.parametrize("answer_packed", [None, "gzip", "deflate"])
def test_compression_both_ways(client, request_packed: str | None, answer_packed: str | None) -> None:
    """The client's two compressions, in requests and in answers; the header's length counts inflated bytes."""
    array = np.zeros((4, 2000), np.float32)

    answer = client.infer(
        "float32",
        [sent("x", array, "FP32")],
        request_compression_algorithm=request_packed,
        response_compression_algorithm=answer_packed,
    )

    np.testing.assert_array_equal(answer.as_numpy("x"), array)


def test_empty_tensors(client) -> None:
    """A tensor without elements is a tensor, raw and in JSON; without rows it is no request."""
    empty = np.zeros((2, 0), np.float32)

    for binary in (True, False):
        assert client.infer("float32", [sent("x", empty, "FP32", binary=binary)]).as_numpy("x").shape == (2, 0)
    with pytest.raises(InferenceServerException, match="at least one row"):
        client.infer("float32", [sent("x", np.zeros((0, 2), np.float32), "FP32")])


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "bytes", "bool"])
def test_large_tensors(client, dtype: str, binary: bool) -> None:
    """Half a megabyte and more, read and written beside the loop where that would take it long."""
    array = np.arange(150_000).reshape(2, -1).astype(numpy_dtype(dtype))
    if dtype == "bytes":
        array = np.array([[str(number).encode() for number in row] for row in array], object)
    outputs = [tritonclient.InferRequestedOutput("x", binary_data=binary)]

    answer = client.infer(dtype, [sent("x", array, WIRE.get(dtype, dtype.upper()), binary=binary)], outputs=outputs)

    wanted = array.astype(str) if dtype == "bytes" and not binary else array
    np.testing.assert_array_equal(answer.as_numpy("x"), wanted)


def test_more_rows_than_can_wait_are_refused_at_once(client) -> None:
    """A million rows cost their bytes and nothing else."""
    with pytest.raises(InferenceServerException, match="a request of 1000000 rows can never fit the queue"):
        client.infer("int8", [sent("x", np.zeros((1_000_000, 1), np.int8), "INT8")])
    with pytest.raises(InferenceServerException, match="can never fit the queue"):
        client.infer("int8", [sent("x", np.zeros((1_000_000, 0), np.int8), "INT8")])


@pytest.mark.parametrize("binary", [True, False])
def test_classification(client, binary: bool) -> None:
    """The highest values come as text with their place and class name, a row each."""
    outputs = [tritonclient.InferRequestedOutput("x", binary_data=binary, class_count=2)]

    answer = client.infer("affine", [floats([0.5, 1], [3, -1])], outputs=outputs)

    got = [[text if isinstance(text, str) else text.decode() for text in row] for row in answer.as_numpy("x").tolist()]
    assert got == [["2.0:1:high", "1.0:0:low"], ["6.0:0:low", "-2.0:1:high"]]


def test_statistics_and_configuration(client) -> None:
    """Figures grow by what was asked, and the configuration has what load generators look for."""
    before = client.get_inference_statistics("affine")["model_stats"][0]

    client.infer("affine", [floats([1, 2], [3, 4])])
    with pytest.raises(InferenceServerException):
        client.infer("affine", [floats([1, 2, 3])])

    after = client.get_inference_statistics("affine")["model_stats"][0]
    assert after["inference_count"] - before["inference_count"] == 2
    assert after["execution_count"] - before["execution_count"] == 1
    success, failed = after["inference_stats"]["success"], after["inference_stats"]["fail"]
    assert success["count"] - before["inference_stats"]["success"]["count"] == 1
    assert success["ns"] > before["inference_stats"]["success"]["ns"]
    assert failed["count"] - before["inference_stats"]["fail"]["count"] == 1
    assert {entry["name"] for entry in client.get_inference_statistics()["model_stats"]} >= {"affine", "words", "bool"}
    config = client.get_model_config("affine")
    assert config["max_batch_size"] == 8
    assert config["input"] == [{"name": "x", "data_type": "TYPE_FP32", "dims": [2]}]


def test_repository_index(client) -> None:
    """Every model with its state; load and unload are for administrators, of whom this app has none."""
    states = {entry["name"]: entry["state"] for entry in client.get_model_repository_index()}
    assert states["affine"] == "READY"
    assert set(states) == {"affine", "words", "poison", *DTYPES}
    for change in (client.load_model, client.unload_model):
        with pytest.raises(InferenceServerException, match="administrators"):
            change("affine")
    assert client.is_model_ready("affine")


@pytest.mark.parametrize(
    ("model", "tensor", "text"),
    [
        ("affine", floats([1, 2], name="y"), 'the model has no input "y"; its inputs: x'),
        ("none", floats([1, 2]), 'there is no model "none"'),
        ("affine", floats([1, 2, 3]), 'input "x" wants shape [batch, 2], got [1, 3]'),
        ("affine", sent("x", np.zeros((1, 2)), "FP64"), 'input "x" wants float32, got float64'),
        ("poison", floats([1, 13]), "holds the poison"),
    ],
)
def test_errors_reach_the_caller_in_words(client, model: str, tensor, text: str) -> None:
    """The client raises its own exception with our text, whatever went wrong."""
    with pytest.raises(InferenceServerException) as failed:
        client.infer(model, [tensor])
    assert text in str(failed.value)


def test_half_precision_in_json_names_the_way_out(client) -> None:
    """FP16 has no JSON form: the error says how to ask."""
    with pytest.raises(InferenceServerException, match='ask for it as binary data: the parameter "binary_data": true'):
        client.infer(
            "float16",
            [sent("x", array_of("float16"), "FP16")],
            outputs=[tritonclient.InferRequestedOutput("x", binary_data=False)],
        )


def test_parameters(client) -> None:
    """Priority and timeout are taken, unknown ones are nobody's business, and sequences are refused in words."""
    ask = partial(client.infer, "affine", [floats([1, 2])])

    assert ask(priority=1, timeout=5_000_000, parameters={"mine": "x"}).as_numpy("x").tolist() == [[2, 4]]
    with pytest.raises(InferenceServerException, match="sequence_id"):
        ask(sequence_id=5, sequence_start=True)
    with pytest.raises(InferenceServerException, match="time allowed"):
        ask(timeout=1)


def test_asynchronous_client(running: RunningApp) -> None:
    """The asyncio variant, many at once: each answer is its own request's."""

    async def ask_all() -> None:
        async with tritonclient_aio.InferenceServerClient(running.url.removeprefix("http://")) as client:
            assert await client.is_server_ready()

            async def ask(number: int) -> None:
                array = np.array([[number, -number]], np.float32)
                answer = await client.infer(
                    "affine",
                    [sent("x", array, "FP32", module=tritonclient_aio)],
                    request_compression_algorithm=("gzip", "deflate", None)[number % 3],
                )
                np.testing.assert_array_equal(answer.as_numpy("x"), array * 2)

            await asyncio.gather(*(ask(number) for number in range(64)))
            stats = await client.get_inference_statistics("affine")
            assert stats["model_stats"][0]["inference_count"] >= 64
            with pytest.raises(InferenceServerException, match="there is no model"):
                await client.get_model_metadata("none")

    asyncio.run(ask_all())


KSERVE = """
import asyncio, sys, warnings
warnings.simplefilter("ignore")
import logging
logging.disable()
import numpy as np
from kserve import InferInput, InferRequest, InferenceRESTClient, RESTConfig

async def main(url):
    client = InferenceRESTClient(config=RESTConfig(protocol="v2"))
    assert await client.is_server_live(url) and await client.is_server_ready(url)
    assert await client.is_model_ready(url, "affine")
    array = np.array([[1, 2], [3, 4]], np.float32)
    for binary in (False, True):
        tensor = InferInput("x", [2, 2], "FP32")
        tensor.set_data_from_numpy(array, binary_data=binary)
        answer = await client.infer(url, InferRequest("affine", [tensor]), model_name="affine")
        np.testing.assert_array_equal(answer.outputs[0].as_numpy(), array * 2)
    await client.close()

asyncio.run(main(sys.argv[1]))
"""


@pytest.mark.slow
def test_kserve_client(running: RunningApp) -> None:
    """KServe's own client reads the bodies of health, and takes and gives tensors raw and in JSON.

    In a process of its own, since its messages bear the names of Triton's.
    """
    words = [sys.executable, "-c", KSERVE, running.url]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr

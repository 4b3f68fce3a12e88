"""The gRPC service as clients speak it that nobody here wrote: Triton's own, unmodified, against a real replica."""

import asyncio
import queue
import threading
import time
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import grpc
import ml_dtypes
import numpy as np
import pytest

from modelapp.testing import AppProject, RunningApp, free_port

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what a client's own libraries warn of is not ours
    import tritonclient.grpc as tritonclient
    import tritonclient.grpc.aio as tritonaio
    from tritonclient.utils import InferenceServerException

APP = """
[app]
name = "numbers"

[models.affine]
source = "handlers.py"
runtime = "null"
max_batch_size = 8
[models.affine.null]
inputs = { x = "float32[batch, ?]" }
scale = 2.0
poison = -13.0

[models.kinds]
source = "handlers.py"
runtime = "null"
[models.kinds.null]
inputs = { %s }

[models.slow]
source = "handlers.py"
runtime = "null"
max_batch_size = 1
max_queue = 2
[models.slow.null]
inputs = { x = "float32[batch, 1]" }
delay_ms = 400

[models.stuck]
source = "handlers.py"
runtime = "null"
max_batch_size = 2
[models.stuck.null]
inputs = { x = "float32[batch, 1]" }
hang_on = 7.0
delay_ms = 2

[models.importer]
source = "handlers.py:Importer"
runtime = "python"
"""
HANDLERS = '''
import warnings

import numpy as np

from modelapp import Arrays, TensorSpec

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import tritonclient.grpc as tritonclient


class Importer:
    """Makes a message of Triton's in the process that serves messages of the same names."""

    inputs = (TensorSpec("x", "float32", ("batch", 1)),)
    outputs = (TensorSpec("size", "int64", ("batch",)),)

    def predict(self, batch: Arrays) -> Arrays:
        tensor = tritonclient.InferInput("some", [1, 1], "FP32")
        return {"size": np.array([tensor._get_tensor().ByteSize() for _ in batch["x"]])}
'''
KINDS = {
    word: np.dtype(word.lower()) for word in ("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64")
}
KINDS |= {"BOOL": np.dtype(bool), "FP16": np.dtype("f2"), "FP32": np.dtype("f4"), "FP64": np.dtype("f8")}
KINDS |= {"BF16": np.dtype(ml_dtypes.bfloat16), "BYTES": np.dtype(object)}


class Serving(NamedTuple):
    """The app, and where its gRPC service listens."""

    app: RunningApp
    address: str


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """The app above."""
    words = {word: "bytes" if dtype.hasobject else dtype.name for word, dtype in KINDS.items()}
    inputs = ", ".join(f'{word} = "{dtype}[batch, ?]"' for word, dtype in words.items())
    project = AppProject(tmp_path_factory.mktemp("numbers")).write(APP % inputs, handlers=HANDLERS)
    port = free_port()
    with project.serve("--set", f"server.grpc_port={port}") as app:
        yield Serving(app, f"127.0.0.1:{port}")


@pytest.fixture
def client(serving: Serving) -> Iterator[Any]:
    """Triton's client, connected."""
    client = tritonclient.InferenceServerClient(serving.address)
    yield client
    client.close()


def tensor(array: Any, datatype: str = "FP32", name: str = "x") -> Any:
    """One input."""
    sent = tritonclient.InferInput(name, list(array.shape), datatype)
    sent.set_data_from_numpy(array)
    return sent


def x(*values: float) -> list[Any]:
    """One row for the models with one input."""
    return [tensor(np.array([values], np.float32))]


def test_what_it_tells_of_itself(client: Any) -> None:
    """Health, metadata, configuration and the index of models are as the client expects them."""
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("affine", "1")
    assert client.get_server_metadata(as_json=True)["name"] == "numbers"
    metadata = client.get_model_metadata("affine", as_json=True)
    assert metadata["inputs"] == [{"name": "x", "datatype": "FP32", "shape": ["-1", "-1"]}]
    config = client.get_model_config("affine").config
    assert (config.max_batch_size, list(config.input[0].dims), config.backend) == (8, [-1], "null")
    index = client.get_model_repository_index(as_json=True)["models"]
    assert {(model["name"], model["state"]) for model in index} >= {("affine", "READY"), ("importer", "READY")}


def test_infer(client: Any) -> None:
    """Rows go in and come out as arrays, with or without outputs named, and the id comes back."""
    outputs = [tritonclient.InferRequestedOutput("x")]
    for asked in (None, outputs):
        answer = client.infer("affine", x(1, 2), outputs=asked, request_id="7", priority=1, timeout=5_000_000)
        np.testing.assert_array_equal(answer.as_numpy("x"), [[2, 4]])
        assert answer.get_response().id == "7"


def test_every_datatype(client: Any) -> None:
    """Each goes there and back, empty tensors among them."""
    for size in (3, 0):
        arrays = {word: np.ones((2, size), dtype) for word, dtype in KINDS.items()}
        arrays["BYTES"][:] = b"\0a"
        answer = client.infer("kinds", [tensor(array, word, word) for word, array in arrays.items()])
        for word, array in arrays.items():
            found = answer.as_numpy(word)
            assert (word, found.shape, found.tolist()) == (word, array.shape, array.tolist())


def test_compressed_messages(client: Any) -> None:
    """gRPC's own compression."""
    answer = client.infer("affine", x(*range(1000)), compression_algorithm="gzip")
    assert answer.as_numpy("x")[0, 999] == 1998


def test_classes(client: Any) -> None:
    """The highest values of an output, as text."""
    answer = client.infer("affine", x(1, 3, 2), outputs=[tritonclient.InferRequestedOutput("x", class_count=2)])
    assert answer.as_numpy("x").tolist() == [[b"6.0:1", b"4.0:2"]]


def test_statistics(client: Any) -> None:
    """Requests that were answered are counted by model."""
    before = client.get_inference_statistics("affine").model_stats[0]
    client.infer("affine", [tensor(np.ones((3, 1), np.float32))])
    after = client.get_inference_statistics("affine").model_stats[0]
    assert after.inference_count - before.inference_count == 3
    assert after.inference_stats.success.count - before.inference_stats.success.count == 1
    assert {one.name for one in client.get_inference_statistics().model_stats} >= {"affine", "kinds"}


@pytest.mark.parametrize(
    ("model", "version", "inputs", "code", "text"),
    [
        ("none", "", x(1), "NOT_FOUND", 'there is no model "none"'),
        ("affine", "2", x(1), "NOT_FOUND", 'no version "2"'),
        ("affine", "", [tensor(np.ones((1, 1), np.float32), name="y")], "INVALID_ARGUMENT", 'no input "y"'),
        ("affine", "", [tensor(np.ones((1, 1)), "FP64")], "INVALID_ARGUMENT", "wants float32, got float64"),
        ("affine", "", x(-13), "INTERNAL", "holds the poison"),
    ],
)
def test_errors_come_with_code_and_text(
    client: Any, model: str, version: str, inputs: list[Any], code: str, text: str
) -> None:
    """The client raises its own exception with both."""
    with pytest.raises(InferenceServerException) as failed:
        client.infer(model, inputs, model_version=version)
    assert failed.value.status() == f"StatusCode.{code}"
    assert text in failed.value.message()


def test_loading_is_for_those_who_may(client: Any) -> None:
    """Off unless a token allows it."""
    for ask in (client.load_model, client.unload_model):
        with pytest.raises(InferenceServerException) as failed:
            ask("affine")
        assert failed.value.status() in ("StatusCode.PERMISSION_DENIED", "StatusCode.UNAUTHENTICATED")
    assert client.is_model_ready("affine")


def test_a_deadline_ends_the_wait(client: Any) -> None:
    """Both the client's own and the request's parameter."""
    for asked in ({"client_timeout": 0.1}, {"timeout": 100_000}):
        with pytest.raises(InferenceServerException) as failed:
            client.infer("slow", x(1), **asked)
        assert failed.value.status() == "StatusCode.DEADLINE_EXCEEDED"


def test_a_full_queue_is_told(client: Any) -> None:
    """Some are served, the others refused at once."""
    done: queue.Queue[Any] = queue.Queue()
    for _ in range(6):
        client.async_infer("slow", x(1), lambda result, error: done.put(error))
    errors = [error for error in (done.get(timeout=20) for _ in range(6)) if error is not None]
    assert {error.status() for error in errors} == {"StatusCode.RESOURCE_EXHAUSTED"}
    assert 1 <= len(errors) <= 4


def test_cancelling_frees_the_model_and_harms_no_mate(client: Any) -> None:
    """A run that nobody waits for any more is stopped; a batch mate of a cancelled request gets its answer."""
    stuck: queue.Queue[Any] = queue.Queue()
    pending = client.async_infer("stuck", x(7), lambda result, error: stuck.put(error))
    mate: queue.Queue[Any] = queue.Queue()
    client.async_infer("stuck", x(1), lambda result, error: mate.put((result, error)))
    time.sleep(0.2)

    pending.cancel()

    assert stuck.get(timeout=20).status() == "StatusCode.CANCELLED"
    result, error = mate.get(timeout=20)
    assert error is None
    assert result.as_numpy("x").tolist() == [[1]]


class Streamed:
    """What comes back on a stream."""

    def __init__(self, client: Any) -> None:
        self.came: queue.Queue[tuple[Any, Any]] = queue.Queue()
        self.client = client
        client.start_stream(lambda result, error: self.came.put((result, error)))

    def take(self) -> tuple[Any, Any]:
        """The next answer."""
        return self.came.get(timeout=20)


def test_a_stream_keeps_order_and_outlives_failures(client: Any) -> None:
    """Answers come in the order of the requests, fast ones after slow ones too; an error is one answer among others."""
    stream = Streamed(client)
    client.async_stream_infer("slow", x(0), request_id="slow")
    for index in range(100):
        client.async_stream_infer("none" if index == 50 else "affine", x(index), request_id=str(index))

    assert stream.take()[0].get_response().id == "slow"
    for index in range(100):
        result, error = stream.take()
        if index == 50:
            assert 'no model "none"' in error.message()
        else:
            assert (result.get_response().id, result.as_numpy("x").tolist()) == (str(index), [[2 * index]])
    client.stop_stream()


def test_a_stream_that_is_cut_stops_its_work(client: Any) -> None:
    """What a stream had in progress is cancelled with it, so that others find the model free."""
    stream = Streamed(client)
    client.async_stream_infer("stuck", x(7))
    time.sleep(0.2)
    client.stop_stream(cancel_requests=True)
    assert client.infer("stuck", x(1), client_timeout=20).as_numpy("x").tolist() == [[1]]
    assert stream.client is client


def test_the_asyncio_client(serving: Serving) -> None:
    """One request, many at once, a stream, and a cancelled call."""

    async def all_of_it() -> None:
        async with tritonaio.InferenceServerClient(serving.address) as client:
            assert await client.is_model_ready("affine")
            answers = await asyncio.gather(*(client.infer("affine", x(index)) for index in range(64)))
            assert [answer.as_numpy("x")[0, 0] for answer in answers] == [2 * index for index in range(64)]

            async def requests() -> Any:
                for index in range(5):
                    yield {"model_name": "affine", "inputs": x(index)}

            streamed = [one async for one in client.stream_infer(requests())]
            assert [(one.as_numpy("x")[0, 0], error) for one, error in streamed] == [(2 * i, None) for i in range(5)]

            waiting = asyncio.ensure_future(client.infer("stuck", x(7)))
            await asyncio.sleep(0.2)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert (await client.infer("stuck", x(1), client_timeout=20)).as_numpy("x").tolist() == [[1]]

    asyncio.run(all_of_it())


def test_clients_from_many_threads(serving: Serving) -> None:
    """Sixty-four at a time, each with its own answers."""
    wrong: list[Any] = []

    def work(mark: int) -> None:
        client = tritonclient.InferenceServerClient(serving.address)
        for index in range(10):
            found = client.infer("affine", x(mark, index)).as_numpy("x").tolist()
            if found != [[2 * mark, 2 * index]]:
                wrong.append(found)
        client.close()

    threads = [threading.Thread(target=work, args=(100 + index,)) for index in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []


def test_an_app_may_import_a_client_of_the_same_names(client: Any) -> None:
    """The replica's messages and those of the library that a handler imports do not meet."""
    assert client.infer("importer", x(1)).as_numpy("size")[0] > 10


def test_a_message_over_the_limit_is_refused(client: Any) -> None:
    """[server] max_body_mb holds for gRPC too."""
    with pytest.raises(InferenceServerException) as failed:
        client.infer("affine", x(*np.zeros(11 * 2**18)))
    assert failed.value.status() == "StatusCode.RESOURCE_EXHAUSTED"


def test_every_answer_tells_where_it_comes_from(serving: Serving) -> None:
    """Release, request id and times follow every answer, good or bad."""
    from modelapp_oip.grpcmessages import message

    with grpc.insecure_channel(serving.address) as channel:
        infer = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        request = message("ModelInferRequest")(model_name="affine", raw_input_contents=[bytes(4)])
        request.inputs.add(name="x", datatype="FP32", shape=[1, 1])
        _, good = infer.with_call(request.SerializeToString(), metadata=(("x-request-id", "mine"),))
        with pytest.raises(grpc.RpcError) as bad:
            infer(b"\\xff", metadata=(("x-request-id", "mine"),))
    assert bad.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    for trailing in (dict(good.trailing_metadata()), dict(bad.value.trailing_metadata())):
        assert trailing["x-request-id"] == "mine"
        assert len(trailing["x-modelapp-release"]) == 16
        assert "total;dur=" in trailing["server-timing"]
    assert "execute;dur=" in dict(good.trailing_metadata())["server-timing"]

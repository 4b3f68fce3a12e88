"""The protocol as clients speak it that nobody here wrote: Triton's own, unmodified."""

import warnings
from collections.abc import Iterator

import numpy as np
import pytest

from modelapp.testing import AppProject, RunningApp

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what a client's own libraries warn of is not ours
    import tritonclient.http as tritonclient

APP = """
[app]
name = "numbers"

[models.affine]
source = "handlers.py"
runtime = "null"
max_batch_size = 8

[models.affine.null]
inputs = { x = "float32[batch, 2]" }
scale = 2.0
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApp]:
    """The app above, serving."""
    with (
        AppProject(tmp_path_factory.mktemp("numbers"))
        .write(APP, handlers="# the null runtime reads nothing\n")
        .serve() as app
    ):
        yield app


@pytest.fixture
def client(running: RunningApp) -> Iterator["tritonclient.InferenceServerClient"]:
    """Triton's client, connected."""
    client = tritonclient.InferenceServerClient(running.url.removeprefix("http://"))
    yield client
    client.close()


def tensor(*rows: list[float], name: str = "x") -> "tritonclient.InferInput":
    """One input, sent as JSON."""
    array = np.array(rows, np.float32)
    sent = tritonclient.InferInput(name, list(array.shape), "FP32")
    sent.set_data_from_numpy(array, binary_data=False)
    return sent


def test_health_and_metadata(client: "tritonclient.InferenceServerClient") -> None:
    """The client finds the server and the model alive, and their descriptions in the form it expects."""
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("affine")
    assert client.get_server_metadata()["name"] == "numbers"
    assert client.get_model_metadata("affine")["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}]


@pytest.mark.parametrize("named", [True, False])
def test_infer_in_json(client: "tritonclient.InferenceServerClient", named: bool) -> None:
    """Rows go in and come out as arrays, whether outputs are asked for by name or not."""
    outputs = [tritonclient.InferRequestedOutput("x", binary_data=False)] if named else None

    answer = client.infer("affine", [tensor([1.0, 2.0], [3.0, 4.0])], outputs=outputs, request_id="7")

    np.testing.assert_array_equal(answer.as_numpy("x"), np.array([[2, 4], [6, 8]], np.float32))
    assert answer.get_response()["id"] == "7"


@pytest.mark.parametrize(
    ("model", "name", "text"),
    [("affine", "y", 'the model has no input "y"; its inputs: x'), ("none", "x", 'there is no model "none"')],
)
def test_errors_reach_the_caller_in_words(
    client: "tritonclient.InferenceServerClient", model: str, name: str, text: str
) -> None:
    """The client raises its own exception with our text."""
    with pytest.raises(Exception, match=r"there is no model|has no input") as failed:
        client.infer(model, [tensor([1.0, 2.0], name=name)])
    assert text in str(failed.value)


def test_binary_tensors_are_refused_with_the_way_out(client: "tritonclient.InferenceServerClient") -> None:
    """The client sends binary tensors unless told otherwise; the error says what to tell it."""
    sent = tritonclient.InferInput("x", [1, 2], "FP32")
    sent.set_data_from_numpy(np.array([[1, 2]], np.float32))

    with pytest.raises(Exception, match=r"binary_data=False"):
        client.infer("affine", [sent])

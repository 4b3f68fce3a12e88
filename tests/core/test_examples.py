"""Inputs to try an app with."""

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelapp.app import App, AppInfo, AppTest, Endpoint, ExpectError, Field
from modelapp.examples import drawn_input, drawn_rows, first_tested_input
from modelapp.fieldtype import parse
from modelapp.signature import Signature, TensorSpec
from modelapp.values import Inputs


def field(name: str, word: str, **keys: Any) -> Field:
    """A declared input."""
    return Field(name=name, type=parse(word), **keys)


@pytest.mark.parametrize(
    ("word", "keys"),
    [
        ("str", {"min_chars": 3, "max_chars": 5}),
        ("str", {"choices": ("red", "blue")}),
        ("int", {"min": 5, "max": 9}),
        ("int", {"max": -2}),
        ("float", {"min": 0.5, "max": 0.75}),
        ("bool", {}),
        ("json", {}),
        ("image", {"max_side_px": 128}),
        ("audio", {"max_seconds": 1.0}),
        ("bytes", {}),
        ("video", {}),
        ("box", {}),
        ("tensor", {"shape": (2, -1)}),
        ("list[float]", {"min_items": 3}),
        ("list[list[int]]", {}),
        ("record", {"fields": {"a": field("a", "str"), "b": field("b", "int", default=1)}}),
        ("str?", {}),
    ],
)
def test_drawn_inputs_fit_their_declaration(word: str, keys: dict[str, Any]) -> None:
    """What is made up for an endpoint passes the endpoint's own checks."""
    fields = {"value": field("value", word, **keys)}

    Inputs(fields).read(drawn_input(fields))


def test_first_test_that_expects_an_answer_is_the_example(tmp_path: Path) -> None:
    """Tests of other endpoints and tests that expect an error are passed over; files are read."""
    (tmp_path / "a.bin").write_bytes(b"\1\2")
    endpoint = Endpoint(name="e", input={"blob": field("blob", "bytes"), "n": field("n", "int")})
    app = App(
        app=AppInfo(name="shop"),
        endpoints={"e": endpoint, "f": Endpoint(name="f")},
        tests=(
            AppTest(name="other", endpoint="f", input={"x": 1}),
            AppTest(name="refused", endpoint="e", input={"n": 1}, expect_error=ExpectError(status=422)),
            AppTest(name="right", endpoint="e", input={"blob": "a.bin", "n": 2}),
        ),
        root=tmp_path,
    )

    assert first_tested_input(app, endpoint) == {"blob": base64.b64encode(b"\1\2").decode(), "n": 2}
    assert first_tested_input(app, Endpoint(name="g")) is None


def test_drawn_rows_fit_the_signature() -> None:
    """One row of zeros in every input's own dtype, with one size wherever any is allowed."""
    signature = Signature(
        inputs=(
            TensorSpec("ids", "int64", ("batch", "n")),
            TensorSpec("text", "string", ("batch",)),
            TensorSpec("extra", "float32", ("batch",), optional=True),
        )
    )

    rows: Any = drawn_rows(signature)

    assert {name: (array.shape, array.dtype) for name, array in rows.items()} == {
        "ids": ((1, 8), np.dtype(np.int64)),
        "text": ((1,), np.dtype(object)),
    }
    assert rows["text"].tolist() == [""]
    assert drawn_rows(Signature(kind="records")) is None

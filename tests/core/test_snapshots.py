"""Files of recorded answers."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from modelapp.app import Field
from modelapp.expectedfiles import expect_file
from modelapp.fieldtype import parse
from modelapp.matchers import Tolerance
from modelapp.snapshots import json_text, npz, snapshot, stem

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=30) | st.dictionaries(st.text(max_size=9), inner, max_size=5),
    max_leaves=60,
)


def png(array: Any, level: int = 6) -> str:
    """A picture in base64."""
    content = io.BytesIO()
    Image.fromarray(array).save(content, "PNG", compress_level=level)
    return base64.b64encode(content.getvalue()).decode()


def field(word: str, **more: Any) -> Field:
    """A declared output."""
    return Field(name="x", type=parse(word), **more)


@given(VALUES)
def test_json_reads_back_as_it_was(value: Any) -> None:
    """However it is laid out."""
    text = json_text(value)
    assert json.loads(text) == value
    assert text.endswith("\n")


def test_long_json_is_laid_out_for_a_diff() -> None:
    """Fields and items on lines of their own, numbers many to a line, short values on one."""
    value = {"row": [0.125] * 40, "words": ["a", "b"], "rows": [{"name": "n" * 50, "at": [1, 2]}] * 3}
    lines = json_text(value).splitlines()
    assert max(map(len, lines)) <= 120
    assert lines[0:2] == ["{", '  "row": [']
    assert '  "words": ["a", "b"],' in lines
    assert lines.count('    {"name": "' + "n" * 50 + '", "at": [1, 2]}') == 1  # the last has no comma
    assert len(lines) == 13


def test_tensors_and_pictures_alone_are_kept_as_arrays(tmp_path: Path) -> None:
    """With the declared type; another way of packing the same pixels is no difference, another pixel is."""
    pixels = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    output = {"pic": field("image"), "t": field("tensor", dtype="float16", shape=(2, -1)), "file": field("tensor")}
    body = {"pic": png(pixels), "t": [[1.0, 2.5]], "file": 7}
    suffix, content = snapshot(body, output)
    path = tmp_path / f"x{suffix}"
    path.write_bytes(content)
    with np.load(path) as found:
        assert {name: (found[name].dtype, found[name].shape) for name in found.files} == {
            "pic": (np.uint8, (4, 5, 3)),
            "t": (np.float16, (1, 2)),
            "file": (np.float32, ()),
        }
    assert list(expect_file(path, {**body, "pic": png(pixels, 0)}, Tolerance())) == []
    assert len(list(expect_file(path, {**body, "pic": png(pixels + 1)}, Tolerance()))) == 1


@pytest.mark.parametrize(
    "body",
    [
        {"t": [1], "words": ["a"]},
        {"t": [1], "undeclared": [1]},
        {"t": "a text"},
        {"s": ["a", "b"]},
        {"pic": "no picture"},
        {"pic": None},
        [1, 2],
        {},
    ],
)
def test_anything_else_is_json(body: Any) -> None:
    """One field that is no array makes it so."""
    output = {
        "t": field("tensor"),
        "words": field("list[str]"),
        "s": field("tensor", dtype="string"),
        "pic": field("image"),
    }
    suffix, content = snapshot(body, output)
    assert suffix == ".json"
    assert json.loads(content) == body


def test_the_same_arrays_are_the_same_bytes() -> None:
    """So that recording again changes no digest."""
    assert npz({"a": np.arange(5)}) == npz({"a": np.arange(5)})


@pytest.mark.parametrize(
    ("name", "file"),
    [("half off", "half-off"), ("../../x", "x"), ("ü", "test"), ("a/b:c", "a-b-c"), ("v1.2_x", "v1.2_x")],
)
def test_a_name_of_a_test_is_made_a_name_of_a_file(name: str, file: str) -> None:
    """Without blanks, and never out of the folder."""
    assert stem(name) == file

"""expect_file: answers compared with .json and .npz files."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from modelapp.expectedfiles import expect_file
from modelapp.matchers import Tolerance

USUAL = Tolerance()


def check(path: Path, answer: Any) -> list[Any]:
    return list(expect_file(path, answer, USUAL))


def test_a_json_file_lists_the_fields_that_count(tmp_path: Path) -> None:
    """Fields beside those in the file are free, numbers have the tolerance."""
    path = tmp_path / "wanted.json"
    path.write_text(json.dumps({"vector": [1.0, 2.0]}))
    assert check(path, {"vector": [1.00001, 2.0], "more": 1}) == []
    assert check(path, {"vector": [1.1, 2.0]})[0].path == "vector[0]"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("wanted.json", None, "does not exist"),
        ("wanted.json", b"{", "cannot be read"),
        ("wanted.json", b"{}", "is empty"),
        ("wanted.npz", b"no archive", "cannot be read"),
        ("wanted.csv", b"1,2", "a .json or .npz file"),
    ],
)
def test_a_file_that_says_nothing_is_a_mismatch(tmp_path: Path, name: str, content: bytes | None, words: str) -> None:
    """A missing, broken or empty file never passes."""
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    (mismatch,) = check(path, {"a": 1})
    assert words in mismatch.expected


def test_an_empty_npz_is_a_mismatch(tmp_path: Path) -> None:
    """Comparing with no arrays would compare nothing."""
    np.savez(tmp_path / "wanted.npz")
    assert "is empty" in check(tmp_path / "wanted.npz", {"a": 1})[0].expected


@pytest.mark.parametrize(
    ("got", "holds"),
    [
        ([[1.0, 2.0], [3.0, 4.0]], True),
        ([[1.0, 2.0], [3.0, 4.00001]], True),
        ([[1.0, 2.0], [3.0, 4.1]], False),
        ([[1.0, 2.0, 3.0, 4.0]], False),
        ([[1.0, 2.0], [3.0]], False),
        ([[True, 2.0], [3.0, 4.0]], False),
        ("text", False),
        (None, False),
        ({}, False),
        ([["1", "2"], ["3", "4"]], False),
    ],
)
def test_arrays_compare_shape_and_values(tmp_path: Path, got: Any, holds: bool) -> None:
    """Shape must be equal, values within the tolerance; what is no array of numbers differs."""
    np.savez(tmp_path / "wanted.npz", field=np.array([[1, 2], [3, 4]], np.float32))
    assert (check(tmp_path / "wanted.npz", {"field": got}) == []) is holds


def test_a_wrong_array_names_the_place_and_the_count(tmp_path: Path) -> None:
    """The first wrong element is placed, and the reader learns how many there are."""
    np.savez(tmp_path / "wanted.npz", field=np.zeros((2, 3)))
    (mismatch,) = check(tmp_path / "wanted.npz", {"field": [[0, 0, 5], [0, 7, 0]]})
    assert mismatch.path == "field[0][2]"
    assert "2 of 6 differ" in mismatch.got


def test_a_field_that_is_missing_differs(tmp_path: Path) -> None:
    """An array in the file must be in the answer."""
    np.savez(tmp_path / "wanted.npz", field=np.zeros(2))
    assert check(tmp_path / "wanted.npz", {"other": [0, 0]})[0].got == "nothing"


def test_arrays_of_booleans_and_texts_compare_as_values(tmp_path: Path) -> None:
    """true is not 1 in arrays either."""
    np.savez(tmp_path / "wanted.npz", flags=np.array([True, False]), words=np.array(["a", "b"]))
    assert check(tmp_path / "wanted.npz", {"flags": [True, False], "words": ["a", "b"]}) == []
    assert len(check(tmp_path / "wanted.npz", {"flags": [1, 0], "words": ["a", "b"]})) == 2


def test_a_picture_compares_by_its_pixels(tmp_path: Path) -> None:
    """An image output, base64 in the answer, is compared with the array of its pixels."""
    pixels = np.arange(27, dtype=np.uint8).reshape(3, 3, 3)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    answer = {"picture": base64.b64encode(file.getvalue()).decode()}
    np.savez(tmp_path / "same.npz", picture=pixels)
    np.savez(tmp_path / "other.npz", picture=pixels + 50)
    assert check(tmp_path / "same.npz", answer) == []
    assert len(check(tmp_path / "other.npz", answer)) == 1

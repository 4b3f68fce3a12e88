"""`expect_file`: an answer compared with a .json or .npz file."""

import base64
import binascii
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelapp.matchers import MISSING, Mismatch, Tolerance, differences, resolve, show

if TYPE_CHECKING:  # numpy is imported only where an .npz file is read
    from numpy.typing import NDArray


def expect_file(path: Path, answer: Any, tolerance: Tolerance) -> Iterator[Mismatch]:
    """Each field in the file holds the file's value; fields that are not in the file are free."""
    readers = {".json": _json, ".npz": _npz}
    reader = readers.get(path.suffix)
    if reader is None:
        yield Mismatch("", f"a .json or .npz file to compare with, not {path.name}", show(answer))
        return
    try:
        yield from reader(path, answer, tolerance)
    except FileNotFoundError:
        yield Mismatch("", f"what {path.name} holds, which does not exist", show(answer))
    except (OSError, ValueError) as error:
        yield Mismatch("", f"what {path.name} holds, which cannot be read: {error}", show(answer))


def _json(path: Path, answer: Any, tolerance: Tolerance) -> Iterator[Mismatch]:
    expected = json.loads(path.read_text(encoding="utf-8"))
    if expected in ({}, []):
        yield Mismatch("", f"what {path.name} holds, which is empty", show(answer))
    yield from differences("", expected, answer, tolerance)


def _npz(path: Path, answer: Any, tolerance: Tolerance) -> Iterator[Mismatch]:
    import numpy as np

    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    if not arrays:
        yield Mismatch("", f"what {path.name} holds, which is empty", show(answer))
    for name, array in arrays.items():
        yield from _array(name, array, resolve(answer, name), tolerance)


def _array(name: str, expected: "NDArray[Any]", value: Any, tolerance: Tolerance) -> Iterator[Mismatch]:
    import numpy as np

    wanted = f"an array {list(expected.shape)} of {expected.dtype}"
    if value is MISSING:
        yield Mismatch(name, wanted, show(value))
        return
    if expected.dtype.kind not in "iuf":  # texts, booleans, complex numbers: as plain values
        yield from differences(name, expected.tolist(), value, tolerance)
        return
    got = _numbers(value)
    if got is None or got.shape != expected.shape:
        shape = "" if got is None else f"an array {list(got.shape)}: "
        yield Mismatch(name, wanted, shape + show(value))
        return
    left, right = expected.ravel().tolist(), got.ravel().tolist()
    wrong = [index for index, pair in enumerate(zip(left, right, strict=True)) if not tolerance.holds(*pair)]
    if wrong:
        place = "".join(f"[{index}]" for index in np.unravel_index(wrong[0], expected.shape))
        count = f"{len(wrong)} of {len(left)} differ"
        yield Mismatch(name + place, show(left[wrong[0]]), f"{show(right[wrong[0]])} ({count})")


def _numbers(value: Any) -> "NDArray[Any] | None":
    """Nested lists as an array, a base64 picture as its pixels; None for anything else."""
    import numpy as np

    if isinstance(value, str):
        return pixels(value)
    if isinstance(value, Mapping) or _holds_bool(value):
        return None
    try:
        array = np.asarray(value)
    except ValueError:  # ragged
        return None
    return array if array.dtype.kind in "iuf" else None


def _holds_bool(value: Any) -> bool:
    return any(map(_holds_bool, value)) if isinstance(value, list) else isinstance(value, bool)


def pixels(text: str) -> "NDArray[Any] | None":
    """The pixels of a picture in base64; None where it is none."""
    import numpy as np
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(base64.b64decode(text, validate=True))) as image:
            return np.asarray(image)
    except (binascii.Error, UnidentifiedImageError, OSError):
        return None

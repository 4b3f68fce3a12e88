"""Files of recorded answers: what `expect_file` compares with, written so that a diff of it can be read."""

import io
import json
import re
import textwrap
import zipfile
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from modelapp.app import Field
from modelapp.expectedfiles import pixels

if TYPE_CHECKING:  # numpy is imported only where an .npz file is written
    from numpy.typing import NDArray

FOLDER = "snapshots"
_WIDTH = 120
_TEXT_TYPES = ("string", "bytes")


def stem(name: str) -> str:
    """A test's name as a file's: letters, digits, dots and dashes."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "test"


def snapshot(value: Any, output: Mapping[str, Field]) -> tuple[str, bytes]:
    """The suffix and the content of a file: .npz where all of it are tensors and pictures, else .json."""
    found = _arrays(value, output)
    return (".json", json_text(value).encode()) if found is None else (".npz", npz(found))


def _arrays(value: Any, output: Mapping[str, Field]) -> "dict[str, NDArray[Any]] | None":
    if not isinstance(value, Mapping) or not value:
        return None
    arrays = {name: array_of(item, output.get(name)) for name, item in value.items()}
    return None if any(array is None for array in arrays.values()) else arrays  # type: ignore[return-value] # none is


def array_of(value: Any, field: Field | None) -> "NDArray[Any] | None":
    """A declared tensor of numbers, or the pixels of a declared picture; None for anything else."""
    if field is None or field.type.word not in ("tensor", "image"):
        return None
    if field.type.word == "image":
        return pixels(value) if isinstance(value, str) else None
    import numpy as np

    if field.dtype in _TEXT_TYPES:
        return None
    try:
        return np.asarray(value, dtype=field.dtype)
    except (ValueError, TypeError, OverflowError):
        return None


def npz(arrays: "Mapping[str, NDArray[Any]]") -> bytes:
    """An .npz file; the same arrays give the same bytes. Unlike numpy's own writer it takes any name."""
    import numpy as np

    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, array, allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy")
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, member.getvalue())
    return content.getvalue()


def json_text(value: Any) -> str:
    """JSON with short values on one line, and the fields and items of long ones on lines of their own."""
    return f"{_lines(value, '')}\n"


def _lines(value: Any, indent: str) -> str:
    one = json.dumps(value, ensure_ascii=True)
    if len(indent) + len(one) <= _WIDTH or not isinstance(value, dict | list):
        return one
    inner = f"{indent}  "
    if isinstance(value, dict):
        fields = (f"{inner}{json.dumps(name)}: {_lines(item, inner)}" for name, item in value.items())
        return "{\n" + ",\n".join(fields) + f"\n{indent}}}"
    if all(isinstance(item, int | float) for item in value):
        rows = textwrap.wrap(one[1:-1], _WIDTH - len(inner), break_long_words=False, break_on_hyphens=False)
        return "[\n" + "\n".join(inner + row for row in rows) + f"\n{indent}]"
    return "[\n" + ",\n".join(inner + _lines(item, inner) for item in value) + f"\n{indent}]"

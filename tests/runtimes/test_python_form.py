"""The two forms of predict, as its type hints declare them, and what is said of any other."""

from collections.abc import Callable

import pytest

from modelapp.errors import LoadError
from modelapp.runtime import LoadedModel, Run

Load = Callable[..., LoadedModel]

ARRAYS = """
    from collections.abc import Mapping
    from typing import Any
    import numpy as np
    from numpy.typing import NDArray
    from modelapp.signature import TensorSpec

    class Model:
        inputs = (TensorSpec("x", "float32", ("batch", 2)),)
        outputs = (TensorSpec("y", "float32", ("batch",)),)

        def predict(self, batch: Mapping[str, NDArray[Any]]) -> dict[str, np.ndarray]:
            return {"y": batch["x"].sum(axis=1)}
"""


@pytest.mark.parametrize(
    ("head", "taken", "answered"),
    [
        ("", "list[dict]", "list[dict]"),
        ("from typing import Any", "list[dict[str, Any]]", "list[dict[str, Any]]"),
        ("from collections.abc import Mapping, Sequence", "Sequence[Mapping[str, object]]", "Sequence[Mapping]"),
        ("import typing", "typing.List[typing.Dict[str, str]]", "typing.List[dict]"),
        ("from typing import TypedDict\nclass Row(TypedDict):\n    text: str", "list[Row]", "list[dict]"),
        ("from __future__ import annotations", "list[dict]", "list[dict]"),
        ("", "'list[dict]'", "'list[dict]'"),
        ("from modelapp.runtime import Records", "Records", "Records"),
    ],
)
def test_records_may_be_declared_in_many_ways(load_python: Load, head: str, taken: str, answered: str) -> None:
    """Any list of mappings is records, also in strings and by the names that modelapp gives."""
    method = f"def predict(self, batch: {taken}) -> {answered}: return [dict(row) for row in batch]"
    model = load_python(f"{head}\nclass Model:\n    {method}\n")
    assert model.signature.kind == "records"
    assert model.infer([{"text": "a"}], Run()) == [{"text": "a"}]


@pytest.mark.parametrize(
    "hint", ["dict[str, np.ndarray]", "Mapping[str, NDArray[np.float32]]", "Arrays", "'Mapping[str, NDArray[Any]]'"]
)
def test_arrays_may_be_declared_in_many_ways(load_python: Load, hint: str) -> None:
    """Any mapping from str to numpy arrays is arrays."""
    head = """
from collections.abc import Mapping
import numpy as np
from modelapp.runtime import Arrays
from modelapp.signature import TensorSpec
from numpy.typing import NDArray
"""
    specs = 'inputs = (TensorSpec("x", "float32", (None,)),)\n    outputs = [TensorSpec("x", "float32", (None,))]'
    body = f"class Model:\n    {specs}\n    def predict(self, batch: {hint}) -> {hint}:\n        return batch\n"
    assert load_python(head + body).signature.kind == "tensors"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("pass", "has no method predict"),
        ("predict = 3", "has no method predict"),
        ("def predict(self, batch): return batch", 'the parameter "batch" of predict has no type hint'),
        ("def predict(self, batch: list[dict]): return batch", "the answer of predict has no type hint"),
        ("def predict(self, batch: list) -> list: return batch", "neither arrays nor records"),
        ("def predict(self, batch: list[str]) -> list[dict]: return batch", "neither arrays nor records"),
        ("def predict(self, batch: dict[str, list]) -> list[dict]: return []", "neither arrays nor records"),
        (
            "def predict(self, batch: list[dict]) -> Arrays: return {}",
            "to take records and to answer arr",
        ),
        ("def predict(self) -> list[dict]: return []", "it takes nothing"),
        ("def predict(self, a: list[dict], b: int) -> list[dict]: return []", "it takes a, b"),
        ("def predict(self, *, batch: list[dict]) -> list[dict]: return []", "it takes batch"),
        ("async def predict(self, batch: list[dict]) -> list[dict]: return []", "async or a generator"),
        ("def predict(self, batch: list[dict]) -> list[dict]: yield {}", "async or a generator"),
    ],
)
def test_odd_signatures_show_the_accepted_forms(load_python: Load, body: str, told: str) -> None:
    """A predict that is neither form is refused at load, and both forms are shown."""
    with pytest.raises(LoadError, match=told) as caught:
        load_python(f"from modelapp.runtime import Arrays\nclass Model:\n    {body}\n")
    assert "def predict(self, batch: Mapping[str, NDArray[Any]])" in caught.value.help
    assert "def predict(self, batch: list[Row]) -> list[Answer]" in caught.value.help
    assert caught.value.model == "m"


def test_hint_that_cannot_be_read(load_python: Load) -> None:
    """A hint that names nothing is told by that name."""
    code = "class Model:\n    def predict(self, batch: 'list[Row]') -> 'list[Row]': return batch\n"
    with pytest.raises(LoadError, match="name 'Row' is not defined") as caught:
        load_python(code)
    assert "TYPE_CHECKING" in caught.value.help


@pytest.mark.parametrize("missing", ["inputs", "outputs"])
def test_arrays_need_their_tensors_declared(load_python: Load, missing: str) -> None:
    """A class over arrays without `inputs` or `outputs` is shown the line to write."""
    with pytest.raises(LoadError, match=f"the class needs `{missing}`, a tuple of TensorSpec") as caught:
        load_python(ARRAYS.replace(f"{missing} =", f"{missing}_gone ="))
    assert f'{missing} = (TensorSpec("x", "float32", ("batch", 4)),)' in caught.value.help


def test_fixed_rows_are_not_batched(load_python: Load) -> None:
    """A class that declares a fixed axis 0 runs one request at a time and says so."""
    signature = load_python(ARRAYS.replace('("batch", 2)', "(1, 2)")).signature
    assert not signature.batched
    assert signature.notes == ('"x" is declared without an open axis 0, so requests run one at a time.',)

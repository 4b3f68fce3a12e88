"""The inputs of tests on their way to a model: what reaches it is what requests would bring."""

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelapp import rehearsal
from modelapp.errors import LoadError
from modelapp.loader import load_app
from modelapp.plugins import Plugins
from modelapp.rehearsal import rehearse, uses
from modelapp.runtime import Run
from modelapp.signature import Signature, read_tensor

APP = """\
[app]
name = "shop"
[models.first]
source = "handlers.py:First"
runtime = "python"
[models.net]
source = "net.bin"
runtime = "null"
[models.rival]
source = "missing.py:Rival"
runtime = "python"
[endpoints.ask]
steps = [
  { name = "row", run = "first", needs = ["x"] },
  { name = "fed", run = "handlers.py:feed", needs = ["row"] },
  { name = "out", run = "net", needs = ["fed"] },
]
[endpoints.ask.input]
x = { type = "float", max = 100 }
[endpoints.choose]
split = { arms = { net = 1, rival = 99 } }
[endpoints.choose.input]
x = { type = "tensor", shape = [1] }
[endpoints.other]
model = "first"
[endpoints.other.input]
x = "float"
[[tests]]
name = "one"
endpoint = "ask"
input = { x = 3 }
expect_min = { y = 0 }
[[tests]]
name = "many"
endpoint = "ask"
cases = "cases.jsonl"
metric = "accuracy"
metric_field = "y"
metric_min = 0
[[tests]]
name = "too much"
endpoint = "ask"
input = { x = 101 }
expect_error = { status = 422 }
[[tests]]
name = "wrong"
endpoint = "ask"
input = { x = 99 }
expect_min = { y = 0 }
[[tests]]
name = "arm"
endpoint = "choose"
input = { x = [7] }
expect_min = { y = 0 }
[[tests]]
name = "rival's"
endpoint = "choose"
arm = "rival"
input = { x = [8] }
expect_min = { y = 0 }
[[tests]]
name = "elsewhere"
endpoint = "other"
input = { x = 9 }
expect_min = { y = 0 }
"""
HANDLERS = """\
import numpy as np
class First:
    def predict(self, batch: list[dict]) -> list[dict]:
        return [{"row": one["x"] + 1} for one in batch]
def feed(row):
    if row["row"] == 100:
        raise ValueError("not that one")
    return {"x": np.array([row["row"]], np.float32)}
"""


class Listening:
    """A stand-in that keeps what comes."""

    signature = Signature(inputs=(read_tensor("x", "float32[batch]"),), outputs=(read_tensor("y", "float32[batch]"),))
    device = "cpu"

    def __init__(self) -> None:
        self.heard: dict[str, list[list[float]]] = {}
        self.test = ""

    def begin(self, test: str) -> None:
        """The test that comes next."""
        self.test = test

    def infer(self, rows: Any, run: Run) -> Any:
        """The rows themselves."""
        self.heard.setdefault(self.test, []).append(np.asarray(rows["x"]).tolist())
        return {"y": rows["x"]}

    def close(self) -> None:
        """Nothing to give back."""


@pytest.fixture
def app(write_app: Any) -> Any:
    """The app above."""
    cases = "\n".join(json.dumps({"input": {"x": x}, "expect": {"y": x}}) for x in (1, 2))
    root = write_app(APP, {"handlers.py": HANDLERS, "net.bin": b"x", "cases.jsonl": cases, "missing.py": "Rival = 1"})
    return load_app(root / "app.toml", Plugins.load())


def test_every_test_brings_its_inputs_through_the_steps_before(app: Any) -> None:
    """The model before it and the function between them ran; a split endpoint chose it; refused inputs never came."""
    model = Listening()
    notes = asyncio.run(rehearse(app, Plugins.load(), "net", model, model.begin))
    assert model.heard == {'test "one"': [[4.0]], 'test "many"': [[2.0], [3.0]], 'test "arm"': [[7.0]]}
    assert len(notes) == 1
    assert notes[0].startswith('test "wrong" was not answered: ')


def test_a_model_before_it_that_does_not_load_is_told(app: Any, tmp_path: Path) -> None:
    """Nothing can come to it then."""
    (app.root / "handlers.py").write_text(HANDLERS.replace("batch: list[dict]", "batch: int"))
    with pytest.raises(LoadError, match="first"):
        asyncio.run(rehearse(app, Plugins.load(), "net", Listening(), lambda _: None))


def test_tests_of_a_model(app: Any) -> None:
    """Those whose requests may come to it, and of a split endpoint those that do not ask for another arm."""
    assert [test.name for test in rehearsal.tests_of(app, "net")] == ["one", "many", "too much", "wrong", "arm"]
    assert [test.name for test in rehearsal.tests_of(app, "first")] == ["one", "many", "too much", "wrong", "elsewhere"]
    assert uses(app.endpoints["choose"], "rival")
    assert not uses(app.endpoints["other"], "net")

"""`modelapp export` on real models: the walk-through of its page, a wrong export, 8 bits, and an interruption."""

import json
import re
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "export.md").read_text()

TEXT = """[app]
name = "tiny"

[models.story]
source = "SOURCE"
runtime = "torch"
task = "text-generation"

[models.story.generation]
context_tokens = 128
max_tokens = 40
cache_mb = 64

[endpoints.tell]
model = "story"

[endpoints.tell.input]
prompt = "str"
max_tokens = { type = "int", default = 12, min = 1, max = 40 }

[endpoints.tell.output]
text = "str"
completion_tokens = "int"

[[tests]]
name = "it goes on"
input = { prompt = "> open the door" }
expect_min = { completion_tokens = 1 }
"""


def block(start: str) -> str:
    """A block of the page that begins so."""
    found = re.search(rf"^```{start}.*?\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


@pytest.fixture
def price(write_app: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The app of the page, with weights."""
    root: Path = write_app(block("toml"), {"handlers.py": block("python file=handlers.py"), "models/keep": ""})
    import safetensors.torch
    import torch

    torch.manual_seed(0)
    names: dict[str, Any] = {}
    exec((root / "handlers.py").read_text(), names)
    safetensors.torch.save_file(names["Price"]().state_dict(), root / "models" / "price.safetensors")
    return root


@pytest.mark.slow
def test_the_walk_through(price: Path, modelapp: Any) -> None:
    """What the page shows comes out, and the app passes its tests with the lines that are printed."""
    done = modelapp("export", "price", cwd=price, timeout_s=300)
    assert done.returncode == 0, done.stderr
    shown = [line.split("  ")[0] for line in block("text").splitlines() if line != "..."]
    printed = [line.split("  ")[0] for line in done.stdout.splitlines()]
    for line in shown:
        assert re.sub(r"\d\.?\d*e-\d+", "", line) in {re.sub(r"\d\.?\d*e-\d+", "", one) for one in printed}
    lines = done.stdout.partition("in app.toml:\n")[2]
    table = '[models.price]\nsource = "handlers.py:Price"\nfiles = { weights = "models/price.safetensors" }\n'
    table += 'runtime = "torch"\n'
    text = (price / "app.toml").read_text()
    assert table in text
    text = re.sub(r"\[models\.price\.torch\]\n.*\n", "", text.replace(table, lines))
    (price / "app.toml").write_text(text)
    assert modelapp("test", cwd=price).returncode == 0
    again = modelapp("export", "price", cwd=price)
    assert (again.returncode, "served by the onnx runtime already" in again.stderr) == (2, False)
    assert "is there already" in again.stderr


@pytest.mark.slow
def test_a_wrong_export_is_refused(price: Path, modelapp: Any) -> None:
    """A network that computes something else while it is exported: status 1, the place named, nothing written."""
    code = (price / "handlers.py").read_text()
    wrong = code.replace(".squeeze(1)}", ".squeeze(1) * (1.01 if torch.compiler.is_compiling() else 1)}")
    assert wrong != code
    (price / "handlers.py").write_text(wrong)
    done = modelapp("export", "price", "--json", cwd=price, timeout_s=300)
    found = json.loads(done.stdout)
    assert (done.returncode, found["verdict"], found["written"], found["app_toml"]) == (1, "fail", None, None)
    assert "the exported model is not the same, and nothing was written: " in done.stderr
    tests = [one for one in found["parity"]["comparisons"] if one["given"] == 'test "two rooms"']
    assert [(one["output"], one["ok"]) for one in tests] == [("price", False)]
    assert tests[0]["max_rel"] == pytest.approx(0.01, rel=0.05)
    assert sorted(path.name for path in (price / "models").iterdir()) == ["keep", "price.safetensors"]


@pytest.mark.slow
def test_8_bits_are_judged_by_the_tests(price: Path, modelapp: Any) -> None:
    """A test that is stricter than 8 bits allow fails: nothing is kept, unless it is asked for all the same."""
    app = price / "app.toml"
    answer = json.loads(modelapp("predict", "rooms=[[3,4,2.5],[2,2,2.5]]", cwd=price).stdout)["price"]
    app.write_text(
        app.read_text() + f'\n[[tests]]\nname = "exact"\ninput = {{ rooms = [[3, 4, 2.5], [2, 2, 2.5]] }}\n'
        f"expect = {{ price = {answer} }}\nrel_tol = 1e-7\nabs_tol = 1e-7\n"
    )
    for words, kept in (([], False), (["--force"], True)):
        done = modelapp("export", "price", "--precision", "int8", "--json", *words, cwd=price, timeout_s=300)
        found = json.loads(done.stdout)
        assert (done.returncode, found["verdict"], found["parity"]["ok"]) == (1, "fail", True)
        assert (found["written"] is not None) == kept == (price / "models" / "price-onnx-int8").exists()
        assert [(one["name"], one["original"]["verdict"], one["int8"]["verdict"]) for one in found["tests"]] == [
            ("two rooms", "pass", "pass"),
            ("exact", "pass", "fail"),
        ]
        assert 0 < abs(found["tests"][0]["change"]["price"]) < 0.01
        assert "exact passed and fails now" in done.stderr


@pytest.mark.slow
def test_what_8_bits_move_in_a_text_is_told(write_app: Any, modelapp: Any) -> None:
    """As numbers and as a sentence: differences of logits, and steps whose likeliest token is the same."""
    tiny = Path(__file__).parents[2] / "apps" / "dungeon" / "models" / "tiny_gpt2"
    root = write_app(TEXT.replace("SOURCE", "models/tiny"), {"models/keep": ""})
    shutil.copytree(tiny, root / "models" / "tiny")
    done = modelapp("export", "story", "--precision", "int8", "--json", cwd=root, timeout_s=300)
    found = json.loads(done.stdout)
    assert (done.returncode, found["parity"]["ok"], found["drift"]["fault"]) == (0, True, None)
    drift = found["drift"]
    assert 0 < drift["max_rel"] < 0.1
    assert drift["steps"] / 2 < drift["same_token"] <= drift["steps"]
    onnx = TEXT.replace("SOURCE", "models/story-onnx/model.onnx").replace('"torch"', '"onnx"')
    assert modelapp("export", "story", cwd=root, timeout_s=300).returncode == 0
    (root / "app.toml").write_text(onnx)
    again = modelapp("export", "story", "--precision", "int8", "--force", cwd=root, timeout_s=300)
    assert again.returncode == 0, again.stderr
    assert f"the likeliest token is the same in {drift['same_token']} of {drift['steps']} steps" in again.stdout


@pytest.mark.slow
def test_what_torch_says_of_its_insides_is_kept_for_who_asks(price: Path, modelapp: Any) -> None:
    """A network that decides by values is written by the older exporter, in few lines; with -vv come all."""
    code = (price / "handlers.py").read_text()
    head = "def forward(self, rooms):\n"
    decides = code.replace(head, f"{head}        if rooms.sum() > 1e9: rooms = -rooms\n")
    assert decides != code
    (price / "handlers.py").write_text(decides)
    done = modelapp("export", "price", cwd=price, timeout_s=300)
    assert done.returncode == 0, done.stderr
    assert "note: torch.export could not: " in done.stderr
    assert len(done.stderr.splitlines()) < 10
    asked = modelapp("export", "price", "--force", "-vv", cwd=price, timeout_s=300)
    assert "GraphModule" in asked.stderr


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_leaves_nothing(price: Path, background: Any, number: signal.Signals) -> None:
    """Neither a half folder nor the one that it was built in."""
    job = background("export", "price", "--out", "made/for/it", cwd=price)
    while "exporting model" not in job.stderr:
        assert job.process.poll() is None, job.stderr
        time.sleep(0.02)
    job.process.send_signal(number)
    assert job.process.wait(60) == 130
    assert "interrupted" in job.stderr
    assert not (price / "made").exists()

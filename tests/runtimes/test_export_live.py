"""`modelapp export` on real models: the walk-through of its page, a wrong export, 8 bits, and an interruption."""

import json
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "export.md").read_text()


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

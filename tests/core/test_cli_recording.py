"""`modelapp test --record` and its like, and `predict --save-as`, as users run them."""

import io
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

APP = """\
#:schema ./app.schema.json
[app]
name = "reviews"

[endpoints.judge]
steps = [{ name = "verdict", run = "handlers.py:judge", needs = ["text"] }]
[endpoints.judge.input]
text = "str"
[endpoints.judge.output]
good = "bool"
score = "float"
words = "list[str]"
drawn = "image"
at = "float"

# what this is about
[[tests]]
name = "a good day"
input = { text = "a good day" }

# about the server
[server]
port = 0
"""
HANDLERS = """\
import time
import numpy as np
def judge(text):
    if text == "broken":
        raise ValueError("broken")
    drawn = np.full((4, 4, 3), len(text), np.uint8)
    return {"good": "good" in text, "score": len(text) / 3, "words": text.split(), "drawn": drawn, "at": time.time()}
"""
CASES = [("good", True), ("fine", True), ("dull", False), ("broken", False)]


@pytest.fixture(autouse=True)
def _not_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where these tests run, CI may be set."""
    monkeypatch.delenv("CI", raising=False)


@pytest.fixture
def app(write_app: Any) -> Path:
    """An app with a test that expects nothing."""
    cases = "".join(json.dumps({"input": {"text": text}, "expect": {"good": good}}) + "\n" for text, good in CASES)
    return write_app(APP, {"handlers.py": HANDLERS, "cases.jsonl": cases})


def test_recording_writes_what_comes_out_and_then_the_test_passes(app: Path, modelapp: Any) -> None:
    """Scalars into app.toml, lists and pictures to a file, what varies nowhere; the diff is shown, the name listed."""
    checked = modelapp("check", cwd=app)
    assert checked.returncode == 3
    assert "= run:  modelapp test 'a good day' --record" in checked.stdout
    done = modelapp("test", "a good day", "--record", cwd=app)
    assert done.returncode == 0, done.stderr
    added = 'expect = { good = true, score = 3.33333 }\nexpect_file = "snapshots/a-good-day.json"\n'
    assert (app / "app.toml").read_text() == APP.replace('"a good day" }\n', f'"a good day" }}\n{added}')
    assert done.stdout.startswith("recorded  a good day   expect, expect_file snapshots/a-good-day.json\nPASS")
    assert "+expect = { good = true, score = 3.33333 }\n" in done.stderr
    assert "note: a good day: left out, not the same each time: at\n" in done.stderr
    kept = json.loads((app / "snapshots/a-good-day.json").read_text())
    assert kept["words"] == ["a", "good", "day"]
    assert kept["drawn"].startswith("iVBOR")
    assert 'test = "a good day"' in (app / "app.lock").read_text()
    assert modelapp("check", cwd=app).returncode == 0
    again = modelapp("test", "--record", cwd=app)
    assert (again.returncode, again.stdout.startswith("PASS")) == (0, True)


def test_what_a_running_app_answers_is_recorded_without_another(app: Path, modelapp: Any, background: Any) -> None:
    """A file with a test that expects nothing cannot be served, so it is valid first."""
    (app / "app.toml").write_text(APP.replace('"a good day" }\n', '"a good day" }\nexpect = { good = true }\n'))
    served = background("run", cwd=app)
    while "ready" not in served.stdout:
        assert served.process.poll() is None, served.stderr
        time.sleep(0.05)
    (app / "app.toml").write_text(APP)
    done = modelapp("test", "--record", cwd=app)
    assert done.returncode == 0, done.stderr
    assert "using the running app" in done.stderr


def test_accepting_changes_the_named_test_alone(app: Path, modelapp: Any) -> None:
    """Another that fails too goes on failing, until all are accepted."""
    (app / "app.toml").write_text(
        APP + '\n[[tests]]\nname = "two"\ninput = { text = "good" }\nexpect = { score = 9 } # mine\n'
    )
    assert modelapp("test", "a good day", "--record", cwd=app).returncode == 0
    handlers = (app / "handlers.py").read_text()
    (app / "handlers.py").write_text(handlers.replace("/ 3", "/ 2").replace("text.split()", "[text]"))
    before = (app / "app.toml").read_text()
    assert modelapp("test", cwd=app).returncode == 1
    done = modelapp("test", "--accept", "a good day", cwd=app)
    assert (done.returncode, "accepted  a good day" in done.stdout) == (0, True), done.stderr
    assert (app / "app.toml").read_text() == before.replace("3.33333", "5.0")
    assert json.loads((app / "snapshots/a-good-day.json").read_text())["words"] == ["a good day"]
    assert modelapp("test", cwd=app).returncode == 1
    assert modelapp("test", "--accept-all", cwd=app).returncode == 0
    assert "expect = { score = 2.0 } # mine\n" in (app / "app.toml").read_text()
    assert modelapp("test", "--accept", "none", cwd=app).returncode == 4


def test_what_is_never_the_same_is_inconclusive_and_leaves_the_file(app: Path, modelapp: Any) -> None:
    """Status 4, with the reason."""
    (app / "handlers.py").write_text("import random\ndef judge(text):\n    return {'good': random.random()}\n")
    text = APP.replace(
        'good = "bool"\nscore = "float"\nwords = "list[str]"\ndrawn = "image"\nat = "float"', 'good = "float"'
    )
    (app / "app.toml").write_text(text)
    done = modelapp("test", "--record", "--json", cwd=app)
    assert done.returncode == 4
    document = json.loads(done.stdout)
    assert document["verdict"] == "inconclusive"
    assert document["recording"]["written"] == []
    assert document["recording"]["not_written"][0]["reason"].startswith("nothing is the same in 3 calls")
    assert (app / "app.toml").read_text() == text


def test_failed_cases_are_saved_once(app: Path, modelapp: Any) -> None:
    """Each as a test of its own, which fails as it should."""
    cases = 'cases = "cases.jsonl"\nmetric = "accuracy"\nmetric_field = "good"\nmetric_min = 0.5\n'
    (app / "app.toml").write_text(APP.replace('input = { text = "a good day" }\n', cases))
    for saved in (2, 0):
        done = modelapp("test", "a good day", "--save-failures", cwd=app)
        assert done.returncode == 1  # a case without an answer fails the test
        assert done.stdout.count("saved     a good day-line-") == saved
    text = (app / "app.toml").read_text()
    assert 'name = "a good day-line-2"\ninput = { text = "fine" }\nexpect = { good = true }\n' in text
    assert text.index('"a good day-line-4"') < text.index("# about the server")
    failed = modelapp("test", "--tag", "from-cases", cwd=app)
    assert "2 failed" in failed.stdout


def test_nothing_is_written_where_ci_is_set(app: Path, modelapp: Any) -> None:
    """By none of the options."""
    for words in (
        ("test", "--record"),
        ("test", "--accept", "x"),
        ("test", "--accept-all"),
        ("test", "--save-failures"),
        ("predict", "text=x", "--save-as", "x"),
    ):
        done = modelapp(*words, cwd=app, env={"CI": "true"})
        assert (done.returncode, "which is not done where CI is set" in done.stderr) == (2, True), done.stderr
    assert (app / "app.toml").read_text() == APP


def test_a_call_is_saved_as_a_test(app: Path, modelapp: Any) -> None:
    """It passes; its name must be free; a call that is answered with an error is none to keep."""
    (app / "app.toml").write_text(APP.replace('"a good day" }\n', '"a good day" }\nexpect = { good = true }\n'))
    done = modelapp("predict", "text=hello", "--save-as", "hello", "--json", cwd=app)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["recording"]["written"][0]["test"] == "hello"
    text = (app / "app.toml").read_text()
    assert (
        '\n[[tests]]\nname = "hello"\ninput = { text = "hello" }\nexpect = { good = false, score = 1.66667 }\n' in text
    )
    assert modelapp("test", "hello", cwd=app).returncode == 0
    taken = modelapp("predict", "text=hello", "--save-as", "hello", cwd=app)
    assert (taken.returncode, 'there is a test "hello" already' in taken.stderr) == (2, True)
    refused = modelapp("predict", "text=broken", "--save-as", "bad", cwd=app)
    assert (refused.returncode, "was not written" in refused.stderr) == (1, True)
    assert (app / "app.toml").read_text() == text


def test_a_recorded_file_that_changed_is_told_before_it_is_compared(app: Path, modelapp: Any) -> None:
    """And a failure says first that something else made it."""
    assert modelapp("test", "--record", cwd=app).returncode == 0
    snapshot = app / "snapshots/a-good-day.json"
    lock = app / "app.lock"
    lock.write_text(lock.read_text().replace("made_with = [", 'made_with = ["numpy 0.1", '))
    snapshot.write_text(snapshot.read_text().replace('"day"', '"night"'))
    done = modelapp("test", cwd=app)
    assert done.returncode == 1
    assert 'a-good-day.json is not the file that was recorded for test "a good day" (app.lock)' in done.stderr
    assert "reason    recorded with numpy 0.1, this is " in done.stdout


MODEL = """\
[app]
name = "twice"

[models.twice]
source = "twice.onnx"
runtime = "onnx"

[endpoints.twice]
model = "twice"
[endpoints.twice.input]
x = { type = "tensor", dtype = "float32", shape = [3] }
[endpoints.twice.output]
y = { type = "tensor", dtype = "float32", shape = [3] }

[endpoints.shrink]
steps = [{ name = "out", run = "handlers.py:shrink", needs = ["photo"] }]
[endpoints.shrink.input]
photo = "image"
[endpoints.shrink.output]
small = "image"

[[tests]]
name = "three"
endpoint = "twice"
input = { x = [1.0, 2.0, 0.1] }
"""


def test_tensors_and_pictures_of_an_app_of_onnx_are_recorded_as_arrays(
    write_app: Any, modelapp: Any, tmp_path: Path
) -> None:
    """In .npz files; a picture from elsewhere is copied into the app."""
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "x"], ["y"])],
        "twice",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
    )
    content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(content)
    handlers = "def shrink(photo):\n    return {'small': photo[::2, ::2]}\n"
    app = write_app(MODEL, {"twice.onnx": content.SerializeToString(), "handlers.py": handlers})
    done = modelapp("test", "--record", cwd=app)
    assert done.returncode == 0, done.stderr
    with np.load(app / "snapshots/three.npz") as found:
        assert found["y"].dtype == np.float32
        assert found["y"].tolist() == np.array([2, 4, 0.2], np.float32).tolist()
    assert "onnxruntime" in (app / "app.lock").read_text()
    picture = io.BytesIO()
    Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3)).save(picture, "PNG")
    (tmp_path / "cat.png").write_bytes(picture.getvalue())
    called = modelapp("predict", "shrink", f"photo=@{tmp_path / 'cat.png'}", "--save-as", "cat", cwd=app)
    assert called.returncode == 0, called.stderr
    assert 'endpoint = "shrink"\ninput = { photo = "data/cat.png" }\n' in (app / "app.toml").read_text()
    assert (app / "data/cat.png").read_bytes() == picture.getvalue()
    with np.load(app / "snapshots/cat.npz") as found:
        assert found["small"].shape == (2, 2, 3)
    assert modelapp("test", cwd=app).returncode == 0

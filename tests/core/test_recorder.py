"""What is written into app.toml for answers that come by script."""

import hashlib
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelapp.app import App, AppInfo, AppTest, Endpoint, ExpectError, Field
from modelapp.client import Answer, Client, ConnectionLost
from modelapp.document import Document
from modelapp.errors import SurroundingsError
from modelapp.fieldtype import parse
from modelapp.lockfile import Recorded
from modelapp.recorder import Recorder
from modelapp.recording import Unrecordable
from modelapp.spans import index
from modelapp.testrun import check
from modelapp.writeback import Draft

HEAD = '[app]\nname = "a"\n'
TAIL = "\n# the end\n[server]\nport = 0\n"


class Scripted(Client):
    """Answers with what the script makes of an input."""

    def __init__(self, script: Callable[[Any], Any]) -> None:
        super().__init__("http://127.0.0.1:1")
        self.script = script
        self.calls = 0

    def call(
        self, endpoint: Endpoint, values: Any, *, probe: str | None = None, arm: str | None = None, **_: Any
    ) -> Answer:
        """The script's answer."""
        self.calls += 1
        found = self.script(values)
        if isinstance(found, Exception):
            raise found
        return found if isinstance(found, Answer) else Answer(200, found, {}, 1.0)


def counting(body: dict[str, Any]) -> Callable[[Any], Any]:
    """A script that answers `body` with a number that is never the same."""
    count = itertools.count()
    return lambda _: {**body, "ms": next(count)}


class Bench:
    """An app with one test, a script that answers, and a recorder for them."""

    def __init__(self, root: Path, script: Any, output: Any, keys: dict[str, Any]) -> None:
        self.test = AppTest(name="cave", **keys)
        self.path = root / "app.toml"
        self.path.write_text(f'{HEAD}\n[[tests]]\nname = "cave"\n{TAIL}')
        fields = {name: Field(name=name, type=parse(word)) for name, word in (output or {}).items()}
        photo = {"photo": Field(name="photo", type=parse("image"))}
        endpoints = {"e": Endpoint(name="e", output=fields, input=photo)}
        self.app = App(app=AppInfo(name="a"), endpoints=endpoints, tests=(self.test,), root=root)
        self.client = Scripted(script if callable(script) else lambda _: script)
        self.kept: list[Recorded] = []
        text = self.path.read_text()
        self.draft = Draft(Document(self.path, text, index(text)))
        for key in ("input", "expect", "expect_file"):
            if value := keys.get(key):
                self.draft.set(("tests", 0, key), value)
        self.draft.write()
        self.recorder = Recorder(self.app, self.draft, self.client, lambda _: ("ort 1",), self.kept.append)

    def written(self) -> str:
        """What app.toml says of the test after writing."""
        self.recorder.write()
        return self.path.read_text().removeprefix(f'{HEAD}\n[[tests]]\nname = "cave"\n').removesuffix(TAIL)

    def refused(self, work: Callable[[AppTest], Any]) -> str:
        """Why a work on the test is refused; then nothing of it is written."""
        before = self.path.read_bytes()
        with pytest.raises(Unrecordable) as caught:
            work(self.test)
        self.recorder.write()
        assert (self.path.read_bytes(), self.kept) == (before, [])
        return str(caught.value)


@pytest.fixture
def bench(tmp_path: Path) -> Callable[..., Bench]:
    """bench(script or body, output={...}, expect={...}, ...) makes one."""

    def make(script: Any, *, output: Any = None, **keys: Any) -> Bench:
        return Bench(tmp_path, script, output, keys)

    return make


Make = Callable[..., Bench]


def test_a_short_answer_goes_into_the_test(bench: Make) -> None:
    """Rounded, after three calls."""
    one = bench({"label": "cave", "score": 0.123456789})
    found = one.recorder.record(one.test)
    assert one.written() == 'expect = { label = "cave", score = 0.123457 }\n'
    assert (found.how, found.keys, found.file, one.client.calls) == ("recorded", ("expect",), "", 3)
    assert one.kept == []


def test_the_rest_goes_to_a_file_whose_digest_is_kept(bench: Make) -> None:
    """With what it was made with; and a test with both passes."""
    body = {"label": "cave", "words": ["a", "b"], "none": None}
    one = bench(body)
    one.recorder.record(one.test)
    assert one.written() == 'expect = { label = "cave" }\nexpect_file = "snapshots/cave.json"\n'
    content = (one.app.root / "snapshots/cave.json").read_bytes()
    assert json.loads(content) == {"words": ["a", "b"], "none": None}
    assert one.kept == [Recorded("cave", hashlib.sha256(content).hexdigest(), ("ort 1",))]
    recorded = AppTest(name="cave", expect={"label": "cave"}, expect_file="snapshots/cave.json")
    assert list(check(one.app, recorded, Answer(200, body, {}, 1.0))) == []


def test_a_file_that_is_there_is_not_overwritten(bench: Make) -> None:
    """It may be anybody's, unless it says the same."""
    one = bench({"words": ["a"]})
    (one.app.root / "snapshots").mkdir()
    (one.app.root / "snapshots/cave.json").write_text("mine")
    one.recorder.record(one.test)
    assert 'expect_file = "snapshots/cave-2.json"' in one.written()
    assert (one.app.root / "snapshots/cave.json").read_text() == "mine"
    other = bench({"words": ["a"]})
    other.recorder.record(other.test)
    assert 'expect_file = "snapshots/cave-2.json"' in other.written()


def test_a_file_that_the_test_names_is_made_where_it_says(bench: Make) -> None:
    """Unless it cannot hold the answer."""
    one = bench({"words": ["a"]}, expect_file="data/mine.json")
    one.recorder.record(one.test)
    assert one.written() == 'expect_file = "data/mine.json"\n'
    assert json.loads((one.app.root / "data/mine.json").read_text()) == {"words": ["a"]}
    other = bench({"words": ["a"]}, expect_file="data/mine.npz")
    assert "name a .json file" in other.refused(other.recorder.record)


def test_what_varies_is_left_out(bench: Make) -> None:
    """And said."""
    one = bench(counting({"label": "cave"}))
    assert one.recorder.record(one.test).varied == ("ms",)
    assert one.written() == 'expect = { label = "cave" }\n'


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (counting({}), "nothing is the same in 3 calls"),
        ({}, "the answer is empty"),
        (Answer(500, {"error": "broken"}, {}, 1.0), "no answer to record, but 500"),
        (lambda _: ConnectionLost("it is gone"), "no answer to record, but it is gone"),
    ],
)
def test_what_no_test_can_be_made_of_is_refused(bench: Make, script: Any, why: str) -> None:
    """Nothing is written."""
    one = bench(script)
    assert one.refused(one.recorder.record).startswith(why)


def test_a_score_is_not_recorded(bench: Make) -> None:
    """Nor accepted: it is a bound."""
    one = bench({"x": 1}, cases="c.jsonl", metric="accuracy")
    assert "metric_min" in one.refused(one.recorder.record)
    assert "metric_min" in one.refused(one.recorder.accept)


def test_accepting_changes_what_differs_and_nothing_else(bench: Make) -> None:
    """Places that the test does not speak of stay free, what fits stays as it is written."""
    expect = {"label": "old", "score": 0.5, "r": {"x": 1}, "gone": 1}
    one = bench({"label": "new", "score": 0.50001, "r": {"x": 2, "y": 3}, "more": 1}, expect=expect)
    assert one.recorder.accept(one.test).keys == ("expect",)
    assert one.written() == 'expect = { label = "new", score = 0.5, r = { x = 2 } }\n'


def test_accepting_rewrites_the_places_of_a_file(bench: Make) -> None:
    """Those that are in it; and its digest."""
    one = bench({"words": ["new"], "more": 1}, expect_file="x.json")
    (one.app.root / "x.json").write_text('{"words": ["old"]}')
    assert one.recorder.accept(one.test).file == "x.json"
    assert one.written() == 'expect_file = "x.json"\n'
    content = (one.app.root / "x.json").read_bytes()
    assert json.loads(content) == {"words": ["new"]}
    assert one.kept == [Recorded("cave", hashlib.sha256(content).hexdigest(), ("ort 1",))]


def test_accepting_rewrites_arrays(bench: Make) -> None:
    """With the type they had."""
    one = bench({"t": [1, 3]}, output={"t": "tensor"}, expect_file="x.npz")
    np.savez(one.app.root / "x.npz", t=np.array([1, 2], np.float16))
    one.recorder.accept(one.test)
    one.recorder.write()
    with np.load(one.app.root / "x.npz") as found:
        assert (found["t"].dtype, found["t"].tolist()) == (np.float16, [1, 3])


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ({"expect": {"x": 1}, "expect_min": {"x": 3}}, "expect_min is a rule"),
        ({"expect": {"x": 1}, "expect_max": {"x": 1}}, "expect_max is a rule"),
        ({"expect_match": {"s": "^b"}}, "expect_match is a rule"),
        ({"expect_contains": {"l": ["b"]}}, "expect_contains is a rule"),
        ({"expect_error": ExpectError(status=422)}, "an error is expected"),
        ({"expect": {"gone": 1}}, "nothing that it expects is in the answer any more"),
        ({"expect": {"ms": 1}}, "not the same each time: ms"),
        ({"expect": {"n": 1}}, "TOML cannot hold null"),
        ({"expect_file": "none.json"}, "none.json cannot be read"),
        ({"expect_file": "bad.json"}, "bad.json cannot be read"),
        ({"expect_file": "bad.npz"}, "bad.npz cannot be read"),
    ],
)
def test_what_a_person_must_decide_is_not_accepted(bench: Make, keys: dict[str, Any], why: str) -> None:
    """Bounds, patterns and errors are no recordings; what varies and what cannot be written are said."""
    body = {"x": 2, "s": "a", "l": ["a"], "n": None}
    one = bench(counting(body), **keys)
    for name in ("bad.json", "bad.npz"):
        (one.app.root / name).write_text("{")
    assert one.refused(one.recorder.accept).startswith(why)


def test_a_call_is_saved_as_a_test_with_its_files(bench: Make, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A file of the app is named, another is copied beside it, once."""
    one = bench({"y": 1})
    outside = tmp_path_factory.mktemp("outside") / "cat.png"
    outside.write_bytes(b"picture")
    (one.app.root / "data").mkdir()
    (one.app.root / "data/cat.png").write_bytes(b"another")
    (one.app.root / "data/dog.png").write_bytes(b"dog")
    one.recorder.save_call(AppTest(name="call", input={"photo": str(outside), "n": 1}))
    one.recorder.save_call(AppTest(name="own", input={"photo": str(one.app.root / "data/dog.png")}))
    assert one.written() == (
        '\n[[tests]]\nname = "call"\ninput = { photo = "data/cat-2.png", n = 1 }\nexpect = { y = 1 }\n'
        '\n[[tests]]\nname = "own"\ninput = { photo = "data/dog.png" }\nexpect = { y = 1 }\n'
    )
    assert (one.app.root / "data/cat-2.png").read_bytes() == b"picture"
    assert (one.app.root / "data/cat.png").read_bytes() == b"another"


def test_an_input_that_toml_cannot_hold_is_not_saved(bench: Make) -> None:
    """null has no word there."""
    one = bench({"y": 1})
    why = one.refused(lambda _: one.recorder.save_call(AppTest(name="call", input={"x": None})))
    assert why == "its input cannot be written into app.toml: TOML cannot hold null"


def test_failed_cases_become_tests_once(bench: Make) -> None:
    """Named after test and line; what is saved already is left alone, even under another name."""
    script = lambda values: {"y": values["x"]} if values["x"] != "error" else Answer(500, {}, {}, 1.0)  # noqa: E731
    one = bench(script, cases="c.jsonl", metric="accuracy", metric_field="y", metric_min=0.5)
    cases = [(1, 1), (2, 9), ("error", 3), (0.1, 0.10000000001), (None, 4)]
    lines = [json.dumps({"input": {"x": x}, "expect": {"y": y}}) for x, y in cases]
    (one.app.root / "c.jsonl").write_text("\n".join(lines))
    found = list(one.recorder.save_failures(one.test))
    assert [getattr(item, "test", item) for item in found[:3]] == ["cave-line-2", "cave-line-3", "cave-line-4"]
    name, error = found[3]
    assert (name, str(error)) == (
        "cave-line-5",
        "its input cannot be written into app.toml: TOML cannot hold null",
    )
    assert one.written() == (
        '\n[[tests]]\nname = "cave-line-2"\ninput = { x = 2 }\nexpect = { y = 9 }\ntags = ["from-cases"]\n'
        '\n[[tests]]\nname = "cave-line-3"\ninput = { x = "error" }\nexpect = { y = 3 }\ntags = ["from-cases"]\n'
        '\n[[tests]]\nname = "cave-line-4"\ninput = { x = 0.1 }\nexpect = { y = 0.10000000001 }\n'
        'abs_tol = 0\nrel_tol = 0\ntags = ["from-cases"]\n'
    )
    again = [item for item in one.recorder.save_failures(one.test) if not isinstance(item, tuple)]
    assert again == []


def test_a_file_that_changed_meanwhile_keeps_everything_from_being_written(bench: Make) -> None:
    """No file, no digest."""
    one = bench({"words": ["a"]})
    one.recorder.record(one.test)
    one.path.write_text("mine")
    with pytest.raises(SurroundingsError, match="has changed on disk"):
        one.recorder.write()
    assert (one.path.read_text(), one.kept, list(one.app.root.iterdir())) == ("mine", [], [one.path])

"""`modelapp export` as a command: what it refuses before any model library is imported."""

import json
from typing import Any

import pytest

from modelapp.app import AppTest
from modelapp.cli.variants import Losses
from modelapp.matchers import Mismatch
from modelapp.verdicts import Outcome

APP = """\
[app]
name = "app"
[models.story]
source = "handlers.py:Story"
runtime = "python"
[endpoints.ask]
model = "story"
[endpoints.ask.input]
x = "int"
"""
HANDLERS = "class Story:\n    def predict(self, x: int) -> int:\n        return x\n"


@pytest.fixture
def app(write_app: Any) -> Any:
    """An app whose model cannot be exported."""
    return write_app(APP, {"handlers.py": HANDLERS})


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (["stroy"], 2, 'there is no model "stroy"\n  help: did you mean "story"?'),
        (["story"], 2, 'the python runtime cannot export model "story" to onnx'),
        (["story", "--out", "handlers.py"], 2, "handlers.py is no folder of an exported model"),
        (["story", "--out", "."], 2, "is no folder of an exported model"),
        (["story", "--to", "tflite"], 2, "invalid choice: 'tflite'"),
        (["story", "--precision", "int3"], 2, "invalid choice: 'int3'"),
        ([], 2, "MODEL"),
    ],
)
def test_refusals(app: Any, modelapp: Any, words: list[str], status: int, told: str) -> None:
    """Each with what to do, nothing on standard output, and nothing written."""
    before = sorted(path.name for path in app.rglob("*"))
    outcome = modelapp("export", *words, cwd=app)
    assert (outcome.returncode, outcome.stdout) == (status, "")
    assert told in outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert sorted(path.name for path in app.rglob("*")) == before


def test_a_refusal_as_json(app: Any, modelapp: Any) -> None:
    """One document, as of every verb."""
    outcome = modelapp("export", "stroy", "--json", cwd=app)
    found = json.loads(outcome.stdout)
    assert found["error"]["kind"] == "UsageError"
    assert found["error"]["exit_status"] == outcome.returncode == 2


def test_a_profile_and_overrides_are_laid_over_the_file(app: Any, modelapp: Any) -> None:
    """As for every verb: the model that is exported is the one that would be served."""
    outcome = modelapp("export", "story", "--set", 'models.tale.source="handlers.py:Story"', cwd=app)
    assert outcome.returncode == 3
    assert "tale" in outcome.stderr


def outcome(name: str, verdict: Any, **measured: float) -> Outcome:
    """What came of a test."""
    mismatches = (Mismatch("y", "1", "2"),) if verdict == "fail" else ()
    return Outcome(
        test=AppTest(name=name), endpoint="ask", verdict=verdict, measured={"ms": 1, **measured}, mismatches=mismatches
    )


def test_what_tests_lose_is_shown_beside_what_they_had() -> None:
    """Verdicts and scores before and after, and of what fails now what was expected; times are no loss."""
    before = [outcome("a", "pass", accuracy=0.9), outcome("b", "pass"), outcome("c", "fail"), outcome("d", "fail")]
    after = [outcome("a", "pass", accuracy=0.875), outcome("b", "fail"), outcome("c", "fail"), outcome("d", "pass")]
    losses = Losses("int8", before, after)
    assert losses.lost == ["b"]
    assert losses.lines() == [
        "test  original           int8                 change",
        "a     PASS accuracy 0.9  PASS accuracy 0.875  accuracy -0.025",
        "b     PASS               FAIL                 -",
        "c     FAIL               FAIL                 -",
        "d     FAIL               PASS                 -",
        f"b: {Mismatch('y', '1', '2')}",
    ]
    document = losses.document()
    assert document[0]["original"] == {"verdict": "pass", "measured": {"accuracy": 0.9}}
    assert document[0]["int8"] == {"verdict": "pass", "measured": {"accuracy": 0.875}}
    assert document[0]["change"] == {"accuracy": pytest.approx(-0.025)}

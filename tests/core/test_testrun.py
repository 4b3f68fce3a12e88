"""Running [[tests]] over a client that answers by script."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from modelapp.app import App, AppInfo, AppTest, Endpoint, ExpectError
from modelapp.client import Answer, Client, ConnectionLost
from modelapp.errors import AppFileError
from modelapp.testrun import checks_something, run_tests
from modelapp.verdicts import Outcome

Script = Callable[[Mapping[str, Any], dict[str, Any]], Any]


class Scripted(Client):
    """Answers each call as the script says: a body, an Answer, or an exception to raise."""

    def __init__(self, script: Script) -> None:
        super().__init__("http://127.0.0.1:1")
        self.script = script
        self.calls: list[dict[str, Any]] = []

    def call(
        self,
        endpoint: Endpoint,
        values: Mapping[str, Any],
        *,
        probe: str | None = None,
        arm: str | None = None,
        seed: int | None = None,
    ) -> Answer:
        """The script's answer."""
        self.calls.append({"endpoint": endpoint.name, "values": values, "probe": probe, "arm": arm, "seed": seed})
        found = self.script(values, self.calls[-1])
        if isinstance(found, Exception):
            raise found
        return found if isinstance(found, Answer) else Answer(200, found, {}, 2.0)


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., tuple[Outcome, Scripted]]:
    """Runs one test against a script; `files` lie beside app.toml."""

    def start(script: Any, files: Mapping[str, str] | None = None, **keys: Any) -> tuple[Outcome, Scripted]:
        for name, content in (files or {}).items():
            (tmp_path / name).write_text(content)
        client = Scripted(script if callable(script) else lambda *_: script)
        app = App(app=AppInfo(name="a"), endpoints={"e": Endpoint(name="e")}, root=tmp_path)
        (outcome,) = run_tests(app, client, [AppTest(name="t", **keys)])
        return outcome, client

    return start


Run = Callable[..., tuple[Outcome, Scripted]]


@pytest.mark.parametrize(
    ("keys", "verdict"),
    [
        ({"expect": {"x": 1}}, "pass"),
        ({"expect": {"x": 2}}, "fail"),
        ({"expect_min": {"x": 1}, "expect_max": {"x": 1}}, "pass"),
        ({"expect_min": {"x": 2}}, "fail"),
        ({"expect_max": {"x": 0}}, "fail"),
        ({"expect_contains": {"words": ["a"]}}, "pass"),
        ({"expect_contains": {"words": ["c"]}}, "fail"),
        ({"expect_match": {"text": "^h"}}, "pass"),
        ({"expect_match": {"text": "^x"}}, "fail"),
        ({"expect": {"x": 1.05}, "abs_tol": 0.1}, "pass"),
        ({"expect": {"x": 1.05}, "rel_tol": 0.1}, "pass"),
        ({"expect": {"x": 1.05}, "rel_tol": 0.01}, "fail"),
        ({"expect": {"x": 1}, "expect_match": {"text": "^x"}}, "fail"),
        ({"expect_error": ExpectError(status=422)}, "fail"),
    ],
)
def test_every_matcher_decides(run: Run, keys: dict[str, Any], verdict: str) -> None:
    """All matchers of a test must hold."""
    assert run({"x": 1, "words": ["a", "b"], "text": "hi"}, **keys)[0].verdict == verdict


def test_a_file_of_expected_values_decides(run: Run) -> None:
    """It lies beside app.toml."""
    assert run({"x": 1}, {"w.json": '{"x": 1}'}, expect_file="w.json")[0].verdict == "pass"
    assert run({"x": 1}, {"w.json": '{"x": 2}'}, expect_file="w.json")[0].verdict == "fail"


def test_a_test_that_checks_nothing_is_inconclusive(run: Run) -> None:
    """And does not even call."""
    outcome, client = run({"x": 1}, input={"y": 1})
    assert outcome.verdict == "inconclusive"
    assert outcome.reason == "it checks nothing"
    assert client.calls == []


@pytest.mark.parametrize(
    "keys", [{"cases": "c.jsonl", "metric": "accuracy"}, {"cases": "c.jsonl", "metric_min": 0.5}, {"expect": {}}]
)
def test_half_a_check_is_none(keys: dict[str, Any]) -> None:
    """A metric without a bound, a bound without a metric, an empty table."""
    assert not checks_something(AppTest(name="t", **keys))


def test_an_error_answer_fails_a_test_that_expects_values(run: Run) -> None:
    """The answer is shown."""
    outcome, _ = run(Answer(500, {"error": {"code": "model_failed"}}, {}, 1.0), expect={"x": 1})
    assert outcome.verdict == "fail"
    assert outcome.mismatches[0].got.startswith("500 ")


def test_an_expected_error_passes_by_status_and_words(run: Run) -> None:
    """Both must be right."""
    refusal = Answer(422, {"error": {"code": "invalid_input", "message": "prompt is empty"}}, {}, 1.0)
    assert run(refusal, expect_error=ExpectError(status=422, contains="prompt"))[0].verdict == "pass"
    assert run(refusal, expect_error=ExpectError(status=422, contains="image"))[0].verdict == "fail"
    assert run(refusal, expect_error=ExpectError(status=400))[0].verdict == "fail"


@pytest.mark.parametrize(
    "error", [ConnectionLost("gone"), FileNotFoundError(2, "No such file or directory", "data/x.png")]
)
def test_a_call_that_cannot_be_made_fails(run: Run, error: Exception) -> None:
    """A replica that died and an input file that is missing are no passes."""
    outcome, _ = run(error, expect={"x": 1})
    assert outcome.verdict == "fail"


@pytest.mark.parametrize(
    ("good", "keys", "verdict"),
    [
        (5, {"repeat": 5}, "pass"),
        (4, {"repeat": 5}, "fail"),
        (4, {"repeat": 5, "pass_min": 4}, "pass"),
        (3, {"repeat": 5, "pass_min": 4}, "fail"),
    ],
)
def test_repeats(run: Run, good: int, keys: dict[str, int], verdict: str) -> None:
    """Every repeat is a request of its own, and pass_min of them must pass."""
    answers = iter([{"x": 1}] * good + [{"x": 0}] * (5 - good))
    outcome, client = run(lambda *_: next(answers), expect={"x": 1}, **keys)
    assert outcome.verdict == verdict
    assert (outcome.passed, outcome.tried, len(client.calls)) == (good, 5, 5)


def test_a_probe_looks_at_a_step(run: Run) -> None:
    """A record by its fields, any other result by the step's name."""
    outcome, client = run({"probe": {"label": "cat"}}, probe="seen", expect={"label": "cat"})
    assert outcome.verdict == "pass"
    assert client.calls[0]["probe"] == "seen"
    assert run({"probe": [1, 2]}, probe="seen", expect={"seen": [1, 2], "seen[0]": 1})[0].verdict == "pass"
    assert run({"probe": None}, probe="seen", expect={"seen": None})[0].verdict == "pass"


def test_a_probe_that_is_not_answered_fails(run: Run) -> None:
    """A replica that ignores the probe must not pass by the answer's own fields."""
    assert run({"label": "cat"}, probe="seen", expect={"label": "cat"})[0].verdict == "fail"


def test_an_arm_is_forced(run: Run) -> None:
    """The request says which."""
    assert run({"x": 1}, arm="v2", expect={"x": 1})[1].calls[0]["arm"] == "v2"


def test_measured_values_are_kept(run: Run) -> None:
    """Time, and the numbers that bounds are about."""
    outcome, _ = run({"score": 0.75}, expect_min={"score": 0.5})
    assert outcome.measured == {"score": 0.75, "ms": 2.0}


CASES = "\n".join(json.dumps({"input": {"x": x}, "expect": {"y": x % 2 == 0}}) for x in range(4))
SCORED = {"cases": "c.jsonl", "metric": "accuracy", "metric_field": "y"}


def even_but_not_two(values: Mapping[str, Any], _: object) -> Any:
    """Right for three of the four cases."""
    return {"y": values["x"] == 0}


@pytest.mark.parametrize(
    ("bounds", "verdict"),
    [
        ({"metric_min": 0.75}, "pass"),
        ({"metric_min": 0.76}, "fail"),
        ({"metric_max": 0.75}, "pass"),
        ({"metric_max": 0.5}, "fail"),
        ({"metric_min": 0.7, "metric_max": 0.8}, "pass"),
    ],
)
def test_cases_are_scored(run: Run, bounds: dict[str, float], verdict: str) -> None:
    """The score over all cases is held to its bounds."""
    outcome, client = run(even_but_not_two, {"c.jsonl": CASES}, **SCORED, **bounds)
    assert outcome.verdict == verdict
    assert outcome.measured == {"accuracy": 0.75, "cases": 4.0}
    assert len(client.calls) == 4


def test_no_cases_are_inconclusive(run: Run) -> None:
    """An empty file proves nothing."""
    outcome, _ = run({"y": True}, {"c.jsonl": "\n"}, **SCORED, metric_min=0.5)
    assert outcome.verdict == "inconclusive"
    assert "no cases" in outcome.reason


def test_an_undefined_score_is_inconclusive(run: Run) -> None:
    """Precision without a positive answer is no number."""
    keys = {**SCORED, "metric": "precision", "metric_min": 0.0}
    assert run({"y": False}, {"c.jsonl": CASES}, **keys)[0].verdict == "inconclusive"


def test_a_case_without_an_answer_fails_the_test(run: Run) -> None:
    """Leaving it out would flatter the score; the case is named by its line."""
    outcome, _ = run(
        lambda values, _: Answer(500, {}, {}, 1.0) if values["x"] == 2 else {"y": True},
        {"c.jsonl": CASES},
        **SCORED,
        metric_min=0.0,
    )
    assert outcome.verdict == "fail"
    assert outcome.mismatches[0].path == "c.jsonl:3"


def test_a_field_that_is_not_in_the_answers_is_inconclusive(run: Run) -> None:
    """A misspelt metric_field does not score as wrong answers, nor as right ones."""
    outcome, _ = run({"z": 1}, {"c.jsonl": CASES}, **SCORED, metric_min=0.0)
    assert outcome.verdict == "inconclusive"
    assert "lacks the field" in outcome.reason


def test_a_broken_cases_file_is_an_error_in_the_app(run: Run) -> None:
    """It is told like a broken app.toml."""
    with pytest.raises(AppFileError):
        run({"y": 1}, {"c.jsonl": "{"}, **SCORED, metric_min=0.0)


OWN = """
def share(expected, got):
    return sum(map(bool, got)) / len(got)

def broken(expected, got):
    raise ValueError("no")

def endless(expected, got):
    return float("nan")
"""


@pytest.mark.parametrize(
    ("name", "verdict", "words"),
    [("share", "pass", ""), ("broken", "inconclusive", "ValueError: no"), ("endless", "inconclusive", "no finite")],
)
def test_a_metric_of_the_apps_own(run: Run, name: str, verdict: str, words: str) -> None:
    """A function of handlers.py over expected and answered values; one that fails decides nothing."""
    keys = {**SCORED, "metric": f"handlers.py:{name}", "metric_min": 0.5}
    outcome, _ = run({"y": True}, {"c.jsonl": CASES, "handlers.py": OWN}, **keys)
    assert outcome.verdict == verdict
    assert words in outcome.reason


def test_each_repeat_has_a_seed_of_its_own(run: Callable[..., tuple[Outcome, Scripted]]) -> None:
    """From the test's on, or [app]'s where it has none, so that chance is the same in every run of the tests."""
    _, client = run({"x": 1}, seed=7, repeat=3, expect={"x": 1})
    assert [call["seed"] for call in client.calls] == [7, 8, 9]
    _, client = run({"x": 1}, expect={"x": 1})
    assert [call["seed"] for call in client.calls] == [0]

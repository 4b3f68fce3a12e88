"""Cases that failed, one by one."""

import json
from pathlib import Path
from typing import Any

import pytest

from modelapp.app import App, AppInfo, AppTest, Endpoint
from modelapp.client import Answer, Client
from modelapp.failedcases import failed_cases

CASES = [
    {"input": {"x": 1}, "expect": {"y": 1}},
    {"input": {"x": 2}, "expect": {"y": 9}},
    {"input": {"x": "error"}, "expect": {"y": 3}},
    {"input": {"x": 4}, "expect": {}},
    {"input": {"x": "none"}, "expect": {"y": 5}},
]


class Echo(Client):
    """Answers {"y": x}, {} for "none", and an error for "error"."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:1")

    def call(
        self, endpoint: Endpoint, values: Any, *, probe: str | None = None, arm: str | None = None, **_: Any
    ) -> Answer:
        """The answer."""
        if values["x"] == "error":
            return Answer(500, {"error": {"code": "model_failed"}}, {}, 1.0)
        return Answer(200, {} if values["x"] == "none" else {"y": values["x"]}, {}, 1.0)


@pytest.mark.parametrize(
    ("metric", "lines"), [("accuracy", [2, 3, 5]), ("exact_match", [2, 3, 5]), ("mae", [3]), ("f1", [3])]
)
def test_cases_fail_by_an_error_or_where_equality_counts_by_their_value(
    tmp_path: Path, metric: str, lines: list[int]
) -> None:
    """A score over all cases says nothing of one; a case that is known nothing of cannot fail."""
    (tmp_path / "c.jsonl").write_text("\n".join(map(json.dumps, CASES)))
    app = App(app=AppInfo(name="a"), endpoints={"e": Endpoint(name="e")}, root=tmp_path)
    test = AppTest(name="t", cases="c.jsonl", metric=metric, metric_field="y", metric_min=0.5)
    found = list(failed_cases(app, Echo(), test))
    assert [case.line for case in found] == lines
    assert found[0].input == CASES[lines[0] - 1]["input"]

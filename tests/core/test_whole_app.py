"""A whole small app by its verbs: split, probes, arms, repeats and cases, against the real replica."""

from pathlib import Path

from modelapp.testing import AppProject

APP = """
[app]
name = "shares"

[models.v12]
source = "handlers.py"
runtime = "null"
null = { inputs = { x = "float32[batch, 1]" }, scale = 2.0 }

[models.v13]
source = "handlers.py"
runtime = "null"
null = { inputs = { x = "float32[batch, 1]" }, scale = 3.0 }

[endpoints.times]
split = { by = "x-user", arms = { v12 = 90, v13 = 10 } }
postprocess = "handlers.py:single"

[endpoints.times.input]
x = "list[float]"

[endpoints.times.output]
x = "float"

[endpoints.both]
steps = [
  { name = "low", run = "v12", needs = ["x"] },
  { name = "high", run = "v13", needs = ["x"] },
  { name = "sum", run = "handlers.py:add", needs = ["low", "high"] },
]

[endpoints.both.input]
x = "list[float]"

[endpoints.both.output]
total = "float"

[[tests]]
name = "old arm"
endpoint = "times"
arm = "v12"
input = { x = [2.0] }
expect = { x = 4.0 }

[[tests]]
name = "new arm"
endpoint = "times"
arm = "v13"
input = { x = [2.0] }
expect = { x = 6.0 }

[[tests]]
name = "total"
endpoint = "both"
input = { x = [2.0] }
expect = { total = 10.0 }
repeat = 3

[[tests]]
name = "a step"
endpoint = "both"
input = { x = [2.0] }
probe = "high"
expect = { x = [6.0] }

[[tests]]
name = "all of them"
endpoint = "both"
cases = "cases.jsonl"
metric = "mae"
metric_field = "total"
metric_max = 0.001
"""

HANDLERS = """
def single(result):
    return {"x": float(result["x"][0])}

def add(low, high):
    return {"total": float(low["x"][0] + high["x"][0])}
"""

CASES = """
{"input": {"x": [1.0]}, "expect": {"total": 5.0}}
{"input": {"x": [3.0]}, "expect": {"total": 15.0}}
"""


def project(folder: Path, app: str = APP) -> AppProject:
    """The app in a folder."""
    return AppProject(folder).write(app, {"cases.jsonl": CASES.lstrip()}, handlers=HANDLERS)


def test_every_kind_of_test_passes(tmp_path: Path) -> None:
    """Forced arms, a probed step, repeats and scored cases, one verdict each."""
    document = project(tmp_path).run("test", "--json").json()

    assert {test["name"]: test["verdict"] for test in document["tests"]} == dict.fromkeys(
        ["old arm", "new arm", "total", "a step", "all of them"], "pass"
    )


def test_wrong_expectations_fail_with_what_came(tmp_path: Path) -> None:
    """Each wrong expectation is its own failure, with the line in app.toml, what was expected and what came."""
    wrong = APP.replace("expect = { x = 4.0 }", "expect = { x = 5.0 }").replace(
        "metric_max = 0.001", "metric_min = 1.0"
    )

    outcome = project(tmp_path, wrong).run("test")

    assert outcome.exit_code == 1, str(outcome)
    assert "FAIL  old arm" in outcome.stdout
    assert "FAIL  all of them" in outcome.stdout
    assert "2 failed, 3 passed" in outcome.stdout
    assert "app.toml:" in outcome.stdout


def test_callers_stay_on_their_arm(tmp_path: Path) -> None:
    """The answer tells the arm, and the same caller meets the same one every time."""
    with project(tmp_path).serve() as running:
        headers = {"content-type": "application/json"}
        seen = {
            user: {
                running.ask("POST", "/times", '{"x": [1.0]}', {**headers, "x-user": user}).headers["x-modelapp-arm"]
                for _ in range(3)
            }
            for user in map(str, range(40))
        }

    assert all(len(arms) == 1 for arms in seen.values())
    assert set.union(*seen.values()) == {"v12", "v13"}

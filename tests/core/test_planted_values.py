"""Planted values: what is sensitive comes out of no exit, however a request, a model or a test fails."""

import base64
import json
from pathlib import Path

import pytest

from modelapp.testing import AppProject, Outcome

NAME, CARD, AGE, TAG, INNER = "Quillon Vexworth", "4929-1177-0042", 918273645, "zibbleword", "plumtangle9"
MADE, SCORE = "grobnikov answer", 0.738291
PHOTO = b"photograph-of-quillon"
PLANTED = (NAME, "Quillon", "Vexworth", CARD, str(AGE), TAG, INNER, MADE, "grobnikov", str(SCORE), "738291")

APP = """
[app]
name = "clinic"

[models.m]
source = "handlers.py:M"
runtime = "python"
max_batch_size = 4

[endpoints.ask]
access_log = "all"
steps = [
  { name = "seen", run = "handlers.py:look", needs = ["name", "card", "ages", "person", "extra", "photo", "mode"] },
  { name = "made", run = "m", needs = ["seen"] },
]
[endpoints.ask.input]
name = { type = "str", sensitive = true, max_chars = 40, pattern = "^[A-Z]" }
card = { type = "str", sensitive = true, default = "a made-up one" }
kind = { type = "str", sensitive = true, default = "a", choices = ["a", "b"] }
ages = { type = "list[int]", sensitive = true, max = 1000000000 }
person = { type = "record", fields = { tag = { type = "str", sensitive = true }, city = "str" } }
extra = { type = "json", sensitive = true, default = {} }
photo = { type = "bytes?", sensitive = true }
mode = { type = "str", default = "fine" }
[endpoints.ask.output]
text = { type = "str", sensitive = true }
score = { type = "float", sensitive = true, max = 1 }
inner = { type = "list[record]", fields = { id = { type = "str", sensitive = true }, kind = "str" } }
mode = "str"

[endpoints.direct]
model = "m"
[endpoints.direct.input]
rows = { type = "json", sensitive = true }
"""
HANDLERS = f"""
from modelapp import InvalidInput

NAME, MADE, SCORE = {NAME!r}, {MADE!r}, {SCORE!r}


def look(name, card, ages, person, extra, photo, mode):
    if mode == "raise":
        raise ValueError(f"cannot take {{name}} {{card}} {{ages}} {{person}} {{extra}}")
    if mode == "part":
        raise KeyError(name.split()[1].lower())
    if mode == "refuse":
        raise InvalidInput(f"{{name!r}} of {{person['tag']}} with {{ages}} is not welcome: {{card}}", field=card)
    if mode == "exit":
        raise SystemExit(name)
    if mode == "nested":
        try:
            raise ValueError(name)
        except ValueError as error:
            raise RuntimeError(card) from error
    return {{"name": name, "card": card, "ages": ages, "mode": mode}}


class M:
    def predict(self, batch: list[dict]) -> list[dict]:
        return [self._one(row) for row in batch]

    def _one(self, row):
        mode = row.get("mode", "")
        if mode == "model":
            raise ValueError(f"the model chokes on {{row}}")
        if mode == "model part":
            raise KeyError(row["name"].split()[0].lower())
        if mode == "model refuses":
            raise InvalidInput(f"the model refuses {{row}}")
        answer = {{"text": MADE, "score": SCORE, "inner": [{{"id": {INNER!r}, "kind": "k"}}], "mode": mode}}
        if mode == "wrong type":
            answer["text"] = SCORE
        if mode == "wrong number":
            answer["score"] = MADE
        if mode == "too large":
            answer["score"] = 738291
        if mode == "stranger":
            answer["inner"] = [{{"id": {INNER!r}, "kind": "k", MADE: 1}}]
        if mode == "missing":
            answer["inner"] = [{{MADE: 1}}]
        if mode == "nan":
            answer["score"] = float("nan")
        if mode == "not json":
            answer["inner"] = {{MADE: SCORE}}
        return answer
"""
INPUT = {
    "name": NAME,
    "card": CARD,
    "ages": [AGE, 3],
    "person": {"tag": TAG, "city": "Rome"},
    "extra": {"deep": [{INNER: NAME}]},
    "photo": base64.b64encode(PHOTO).decode(),
}
MODES = (
    "raise",
    "part",
    "refuse",
    "exit",
    "nested",
    "model",
    "model part",
    "model refuses",
    "wrong type",
    "wrong number",
    "too large",
    "stranger",
    "missing",
    "nan",
    "not json",
)
BAD = (
    {"name": CARD},
    {"name": NAME * 5},
    {"name": [NAME]},
    {"name": AGE},
    {"name": None},
    {"name": {NAME: CARD}},
    {"kind": NAME},
    {"ages": NAME},
    {"ages": [NAME]},
    {"ages": [AGE * 10]},
    {"ages": {NAME: AGE}},
    {"ages": AGE},
    {"person": NAME},
    {"person": [NAME, CARD]},
    {"person": {"tag": [TAG], "city": "Rome"}},
    {"person": {"tag": TAG, "city": "Rome", NAME: 1}},
    {"person": {"tag": TAG, "city": 7}},
    {"person": {"city": TAG}},
    {"photo": NAME},
    {"photo": f"data:{NAME},{CARD}"},
    {"photo": AGE},
)


def expect_clean(*texts: str | bytes) -> None:
    """None of what is planted stands in any of the texts, in whatever letter case."""
    for text in texts:
        low = (text.decode(errors="replace") if isinstance(text, bytes) else text).lower()
        found = [one for one in PLANTED if one.lower() in low]
        assert not found, f"{found} in: {low[:3000]}"


def expect_clean_folders(*folders: Path) -> None:
    """Nor in any file below."""
    for folder in folders:
        for path in folder.rglob("*"):
            own = path.name in ("app.toml", "handlers.py", "cases.jsonl", "photo.bin") or path.suffix == ".pyc"
            if path.is_file() and not own:
                expect_clean(path.read_bytes(), str(path))


@pytest.fixture
def clinic(tmp_path: Path) -> AppProject:
    """The app, with a cache of its own."""
    project = AppProject(tmp_path / "clinic", env={"XDG_CACHE_HOME": str(tmp_path / "cache")})
    return project.write(APP, handlers=HANDLERS)


def test_nothing_planted_comes_out_of_a_running_app(clinic: AppProject, tmp_path: Path) -> None:
    """Bad input of every kind, functions, models and answers that fail, and bodies that cannot be read.

    The same app answers what is asked of it, so that the values are really there.
    """
    with clinic.serve("-v") as app:
        good = app.post("/ask", INPUT)
        assert (good.status, good.json()["text"]) == (200, MADE)
        bodies = []
        for mode in MODES:
            answer = app.post("/ask", {**INPUT, "mode": mode})
            assert answer.status in (422, 500), (mode, answer)
            bodies.append(answer.body)
        for change in BAD:
            answer = app.post("/ask", {**INPUT, **change})
            assert answer.status == 422, (change, answer)
            bodies.append(answer.body)
        for rows in ([{"mode": "model", "name": NAME}], {"name": NAME, "mode": "model part"}):
            bodies.append(app.post("/direct", {"rows": rows}).body)
        twice = json.dumps(INPUT)[:-1] + f', "extra": {{"{NAME}": 1, "{NAME}": 2}}}}'
        cut = json.dumps(INPUT)[:-20]
        for body in (twice, cut, json.dumps(NAME), json.dumps([INPUT])):
            bodies.append(app.ask("POST", "/ask", body).body)
        bodies += [_form(app, INPUT, "person", NAME), _form(app, INPUT, "ages", NAME), _form(app, INPUT, "name", CARD)]
        document = app.ask("GET", "/openapi.json").body
        metrics = app.ask("GET", "/metrics").body
        dumped = clinic.run("dump")
        assert dumped.exit_code == 0, dumped
        output = app.stop()
    assert b"a made-up one" not in document
    assert "POST /ask 200" in output.stderr
    expect_clean(*bodies, document, metrics, dumped.stdout)
    expect_clean(output.stdout, output.stderr)
    expect_clean_folders(clinic.folder, tmp_path / "cache")


def _form(app, values, name, text):
    """The body of the error for a form in which a field holds another text."""
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in values.items()}
    parts = texts | {name: text}
    lines = [f'--b\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n' for key, value in parts.items()]
    answer = app.ask("POST", "/ask", "".join(lines) + "--b--\r\n", {"content-type": "multipart/form-data; boundary=b"})
    assert answer.status == 422, answer
    return answer.body


TOLD = {**INPUT, "photo": "data/photo.bin"}
TOML = json.dumps(TOLD).replace('": ', '" = ')
REFUSED = json.dumps({**TOLD, "mode": "refuse"}).replace('": ', '" = ')
TESTS = f"""
[[tests]]
name = "differs"
endpoint = "ask"
input = {TOML}
expect = {{ text = "another", score = 0.1, "inner[0].id" = "x", mode = "not this" }}

[[tests]]
name = "whole"
endpoint = "ask"
input = {TOML}
expect = {{ inner = [{{ id = "x", kind = "k" }}, {{ id = "y", kind = "k" }}] }}

[[tests]]
name = "bounds"
endpoint = "ask"
input = {TOML}
expect_min = {{ score = 0.9 }}
expect_max = {{ score = 0.1 }}
expect_match = {{ text = "^nothing" }}
expect_contains = {{ text = "nothing", inner = [{{ id = "z" }}] }}

[[tests]]
name = "passes"
endpoint = "ask"
input = {TOML}
expect_min = {{ score = 0.1 }}

[[tests]]
name = "no error"
endpoint = "ask"
input = {TOML}
expect_error = {{ status = 422 }}

[[tests]]
name = "error"
endpoint = "ask"
input = {REFUSED}
expect = {{ mode = "fine" }}

[[tests]]
name = "file"
endpoint = "ask"
input = {TOML}
expect_file = "data/expected.json"

[[tests]]
name = "step"
endpoint = "ask"
input = {TOML}
probe = "seen"
expect = {{ name = "another", mode = "another" }}

[[tests]]
name = "cases"
endpoint = "ask"
cases = "data/cases.jsonl"
metric = "handlers.py:judge"
metric_field = "text"
metric_min = 0.9
"""


def with_tests(clinic: AppProject, tests: str, more: str = "") -> AppProject:
    """The app with tests that hold the planted values, as a careless author writes them."""
    cases = json.dumps({"input": TOLD, "expect": {"text": "x"}})
    files: dict[str, str | bytes] = {
        "data/photo.bin": PHOTO,
        "data/expected.json": json.dumps({"text": "other"}),
        "data/cases.jsonl": cases + "\n",
    }
    judge = "\n\ndef judge(expected, got):\n    raise ValueError(f'cannot judge {got}')\n"
    return clinic.write(APP + tests + more, files, handlers=HANDLERS + judge)


def everything(outcome: Outcome) -> tuple[str, str]:
    """All that a command printed."""
    return outcome.stdout, outcome.stderr


def test_no_report_of_tests_holds_what_is_planted(clinic: AppProject, tmp_path: Path) -> None:
    """Lines, JSON, JUnit, and the summary of a CI, of tests that fail in every way; plain fields are still shown."""
    with_tests(clinic, TESTS)
    summary = tmp_path / "summary.md"
    environment = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary)}
    lines = clinic.run("test", "-v", "--junit", str(tmp_path / "junit.xml"), env=environment)
    document = clinic.run("test", "--json")
    assert (lines.exit_code, document.exit_code) == (1, 1), lines
    assert document.json()["counts"] == {"fail": 7, "inconclusive": 1, "pass": 1}, document
    assert "not this" in lines.stdout
    expect_clean(*everything(lines), *everything(document), summary.read_text(), (tmp_path / "junit.xml").read_text())
    expect_clean_folders(clinic.folder / ".modelapp", tmp_path / "cache")


RECORDED = f"""
[[tests]]
name = "new"
endpoint = "ask"
input = {TOML}

[[tests]]
name = "neighbour"
endpoint = "ask"
input = {TOML}
expect = {{ text = {json.dumps(MADE)} }}
"""


def test_what_is_sensitive_is_not_recorded(clinic: AppProject, tmp_path: Path) -> None:
    """It is left out of what is written, and told by its name; the diff hides what stands around the change."""
    with_tests(clinic, RECORDED)
    before = (clinic.folder / "app.toml").read_text()
    recorded = clinic.run("test", "--record", "new")
    assert recorded.exit_code == 0, recorded
    after = (clinic.folder / "app.toml").read_text()
    assert 'expect = { mode = "fine" }' in after
    assert "left out, sensitive: text, score, inner[0].id" in recorded.stderr
    for planted in (MADE, str(SCORE), INNER):
        assert after.count(planted) == before.count(planted)
    expect_clean(*everything(recorded))
    expect_clean_folders(clinic.folder)


def test_a_sensitive_input_is_never_saved_and_a_sensitive_expectation_never_accepted(
    clinic: AppProject, tmp_path: Path
) -> None:
    """Neither from a call nor from a case; app.toml stays as it was."""
    with_tests(clinic, TESTS)
    (clinic.folder / "in.json").write_text(json.dumps(INPUT["extra"]))
    before = (clinic.folder / "app.toml").read_bytes()
    words = [f"{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in INPUT.items()]
    words[-1] = f"photo=data:;base64,{INPUT['photo']}"
    saved = clinic.run("predict", "--save-as", "call", "ask", *words)
    accepted = clinic.run("test", "--accept", "differs", "--accept", "file", "differs", "file")
    failures = clinic.run("test", "--save-failures", "cases")
    assert (clinic.folder / "app.toml").read_bytes() == before
    assert "input is sensitive: name" in saved.stderr, saved
    assert "sensitive" in accepted.stderr, accepted
    assert failures.exit_code != 0
    expect_clean(saved.stderr, *everything(accepted), *everything(failures))


def test_a_failing_warm_up_tells_nothing_of_the_test_that_it_uses(clinic: AppProject) -> None:
    """The first test's input warms the models up; its failure keeps the app from starting, and is printed."""
    broken = TESTS.replace('"extra"', '"mode" = "model", "extra"', 1)
    failed = with_tests(clinic, broken).run("test")
    assert failed.exit_code == 5, failed
    assert "ValueError" in failed.stderr
    expect_clean(*everything(failed))


def test_bad_input_on_the_command_line_is_not_repeated(clinic: AppProject) -> None:
    """It may be in a log of a shell that keeps errors."""
    failed = clinic.run("predict", "ask", f"ages={NAME}")
    assert failed.exit_code == 2, failed
    expect_clean(*everything(failed))

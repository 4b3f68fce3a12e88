"""[[tests]] that check nothing, or name what does not exist."""

from typing import Any, NamedTuple

import pytest

EDIT, ADVICE = "(an edit mends it)", "(only a person can tell)"


class Case(NamedTuple):
    """One change that breaks the app, and what must be said: where, on which characters, and what mends it."""

    id: str
    old: str
    new: str
    code: str
    line: int
    column: int
    marked: str
    message: str
    help: str
    mended_by: str


CASES = [
    Case(
        "dup test",
        'name = "mel"',
        'name = "cave"',
        "MA050",
        54,
        8,
        '"cave"',
        'two tests are called "cave"',
        'write name = "cave-2"',
        EDIT,
    ),
    Case(
        "checks nothing",
        'expect = { tokens = 12, "boxes[0].label" = "cave" }\nexpect_match = { text = \'(?i)you\' }\n',
        "",
        "MA051",
        38,
        1,
        "[[tests]]",
        'test "cave" checks nothing',
        "add what must come out, e.g. expect = { ... }",
        ADVICE,
    ),
    Case(
        "test endpoint",
        'endpoint = "both"',
        'endpoint = "bth"',
        "MA052",
        64,
        12,
        '"bth"',
        'no endpoint is called "bth"',
        'did you mean "both"?',
        EDIT,
    ),
    Case(
        "test input",
        'input = { prompt = "x" }',
        'input = { promt = "x" }',
        "MA053",
        56,
        11,
        "promt",
        'endpoint "continue" has no input "promt"',
        'did you mean "prompt"?',
        EDIT,
    ),
    Case(
        "test input type",
        'input = { prompt = "x" }',
        "input = { prompt = 5 }",
        "MA053",
        56,
        20,
        "5",
        '"prompt" must be a text',
        "give a value that fits, or expect the error: expect_error = { status = 422 }",
        ADVICE,
    ),
    Case(
        "test input missing",
        'input = { prompt = "x" }',
        "input = { count = 5 }",
        "MA053",
        56,
        9,
        "{ count = 5 }",
        'test "mel" leaves out the input "prompt"',
        "add prompt to its input",
        ADVICE,
    ),
    Case(
        "test input bound",
        'input = { prompt = "x" }',
        'input = { prompt = "" }',
        "MA053",
        56,
        20,
        '""',
        '"prompt" must have at least 1 character',
        "give a value that fits, or expect the error: expect_error = { status = 422 }",
        ADVICE,
    ),
    Case(
        "test file",
        "data/cave.png",
        "data/cav.png",
        "MA057",
        41,
        50,
        '"data/cav.png"',
        "there is no file data/cav.png",
        'did you mean "data/cave.png"?',
        EDIT,
    ),
    Case(
        "cases file",
        "data/holdout.jsonl",
        "data/hold.txt",
        "MA057",
        48,
        9,
        '"data/hold.txt"',
        "there is no file data/hold.txt",
        "put the file at data/hold.txt",
        ADVICE,
    ),
    Case(
        "expect field",
        "tokens = 12",
        "token = 12",
        "MA053",
        42,
        12,
        "token",
        'endpoint "continue" has no output "token"',
        'did you mean "tokens"?',
        EDIT,
    ),
    Case(
        "expect deep field",
        '"boxes[0].label"',
        '"boxs[0].label"',
        "MA053",
        42,
        25,
        '"boxs[0].label"',
        'endpoint "continue" has no output "boxs"',
        'did you mean "boxes[0].label"?',
        EDIT,
    ),
    Case(
        "match field",
        "text = '(?i)you'",
        "texd = '(?i)you'",
        "MA053",
        43,
        18,
        "texd",
        'endpoint "continue" has no output "texd"',
        'did you mean "text"?',
        EDIT,
    ),
    Case(
        "metric",
        '"accuracy"',
        '"acuracy"',
        "MA054",
        49,
        10,
        '"acuracy"',
        'no metric is called "acuracy"',
        'did you mean "accuracy"?',
        EDIT,
    ),
    Case(
        "metric missing",
        'metric = "accuracy"\n',
        "",
        "MA054",
        45,
        1,
        "[[tests]]",
        'test "holdout" does not say how its cases are scored',
        'add metric = "accuracy"',
        EDIT,
    ),
    Case(
        "metric without cases",
        "repeat = 10",
        "metric_min = 0.5\nrepeat = 10",
        "MA054",
        59,
        1,
        "metric_min",
        '"metric_min" scores cases, and test "mel" has none',
        "add cases, or remove it",
        EDIT,
    ),
    Case(
        "metric field",
        'metric_field = "text"',
        'metric_field = "txt"',
        "MA053",
        50,
        16,
        '"txt"',
        'endpoint "continue" has no output "txt"',
        'did you mean "text"?',
        EDIT,
    ),
    Case(
        "probe",
        'probe = "words"',
        'probe = "word"',
        "MA055",
        57,
        9,
        '"word"',
        'endpoint "continue" has no step "word"',
        'did you mean "words"?',
        EDIT,
    ),
    Case(
        "arm",
        'arm = "poem"',
        'arm = "story2"',
        "MA056",
        65,
        7,
        '"story2"',
        'endpoint "both" has no arm "story2"',
        'did you mean "story"?',
        EDIT,
    ),
    Case(
        "pass_min",
        "pass_min = 8",
        "pass_min = 11",
        "MA058",
        60,
        12,
        "11",
        '"pass_min" is more than "repeat"',
        "write pass_min = 10",
        EDIT,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_each_mistake_is_told_where_it_stands(dungeon: Any, case: Case) -> None:
    """Code, line, column, marked characters, message and help are exactly these, and nothing else is said."""
    problem = dungeon.only(dungeon.text.replace(case.old, case.new, 1))
    start = problem.column - 1
    assert (problem.code, problem.message, problem.help) == (case.code, case.message, case.help)
    assert (problem.line, problem.column) == (case.line, case.column)
    assert problem.source[start : start + problem.length] == case.marked


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_the_edit_of_each_mistake_makes_the_file_valid(dungeon: Any, case: Case) -> None:
    """Where a problem carries an edit the file loads with it; where it carries a command, it is this one."""
    text = dungeon.text.replace(case.old, case.new, 1)
    problem = dungeon.only(text)
    if case.mended_by == EDIT:
        assert problem.edit is not None
        dungeon.load(problem.edit.apply(text))
    else:
        assert problem.edit is None
        assert problem.command == ("" if case.mended_by == ADVICE else case.mended_by)

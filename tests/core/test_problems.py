"""How a problem is shown: to people, as JSON, and to GitHub."""

import json
from pathlib import Path
from typing import Any

import attrs
import pytest

from modelapp.problems import OVERRIDE, Edit, Problem, Related, in_order, shown


def _problem(**more: Any) -> Problem:
    values: dict[str, Any] = {
        "code": "MA010",
        "message": '[models.story] has no key "max_bach_size"',
        "file": Path("app.toml"),
        "line": 7,
        "column": 1,
        "length": 13,
        "source": "max_bach_size = 8",
        "label": "unknown key",
        "help": 'did you mean "max_batch_size"?',
    }
    return Problem(**{**values, **more})


def test_a_problem_is_five_lines() -> None:
    """Message, place, source line, carets with label, help; then notes."""
    assert _problem(notes=("a note",)).render().splitlines() == [
        'error[MA010]: [models.story] has no key "max_bach_size"',
        "  --> app.toml:7:1",
        " 7 | max_bach_size = 8",
        "   | ^^^^^^^^^^^^^ unknown key",
        '   = help: did you mean "max_batch_size"?',
        "   = note: a note",
    ]


def test_related_places_stand_in_the_order_of_the_file() -> None:
    """An earlier place is shown above, a later one below, and the gutter is as wide as the largest line number."""
    earlier = Related(line=4, column=1, length=14, source="[models.story]", label="defined here")
    later = Related(line=120, column=1, length=7, source="[other]", label="and here")
    lines = _problem(related=(later, earlier), line=10).render().splitlines()
    assert lines[1] == "   --> app.toml:10:1"
    assert lines[2:8] == [
        "  4 | [models.story]",
        "    | ^^^^^^^^^^^^^^ defined here",
        " 10 | max_bach_size = 8",
        "    | ^^^^^^^^^^^^^ unknown key",
        "120 | [other]",
        "    | ^^^^^^^ and here",
    ]


def test_carets_stand_under_what_they_mean_after_tabs_and_wide_characters() -> None:
    """A tab is repeated, a wide character counts two columns, a combining one none."""
    tabbed = _problem(source="\tkey = 1", column=2, length=3, label="x").render().splitlines()
    assert tabbed[3] == "   | \t^^^ x"
    wide = _problem(source='a = "漢字e\u0301"; b', column=11, length=1, label="x").render().splitlines()
    assert wide[3] == "   | " + " " * 11 + "^ x"
    marked = _problem(source='a = "漢字"', column=6, length=2, label="x").render().splitlines()
    assert marked[3] == "   | " + " " * 5 + "^^^^ x"


def test_a_very_long_line_is_cut_around_its_place() -> None:
    """Only a window of the line is shown, and the carets still stand under the marked characters."""
    source = "a" * 500 + "WRONG" + "b" * 500
    lines = _problem(source=source, column=501, length=5, label="x").render().splitlines()
    shown_line, carets = lines[2].partition("| ")[2], lines[3].partition("| ")[2]
    assert len(shown_line) < 200
    assert shown_line.startswith("...")
    assert shown_line.endswith("...")
    assert shown_line[carets.index("^") : carets.rindex("^") + 1] == "WRONG"


def test_control_characters_do_not_reach_the_terminal() -> None:
    """An escape sequence in the source line is shown as a replacement character."""
    assert "\x1b" not in _problem(source="a = \x1b[2J", column=5).render()


def test_a_problem_of_the_whole_file_shows_no_line() -> None:
    """Line 0: there is a place, and no source."""
    problem = _problem(line=0, column=0, source="", command="pip install x", help="")
    assert problem.render().splitlines()[1:] == ["  --> app.toml", "   = run:  pip install x"]


def test_the_json_form_holds_everything_in_plain_values() -> None:
    """json.dumps takes it, and the edit and related places are in it."""
    related = (Related(line=1, column=2, length=3, source="s", label="l"),)
    problem = _problem(notes=("n",), related=related, edit=Edit(start=1, end=2, text="t"))
    told = json.loads(json.dumps(problem.as_dict()))
    assert told["file"] == "app.toml"
    assert told["edit"] == {"start": 1, "end": 2, "text": "t"}
    assert told["related"] == [{"line": 1, "column": 2, "length": 3, "source": "s", "label": "l"}]
    assert set(told) == {field.name for field in attrs.fields(Problem)}


def test_the_github_form_escapes_what_would_end_it() -> None:
    """Newlines and percent signs of the text, commas and colons of the properties."""
    problem = _problem(message="50% is\nwrong", file=Path("a,b:c.toml"), help="write 1")
    told = problem.annotation()
    assert "\n" not in told
    assert told.startswith("::error file=a%2Cb%3Ac.toml,line=7,col=1,endColumn=14,title=MA010::")
    assert told.endswith("::50%25 is%0Awrong%0Ahelp: write 1")


def test_a_problem_of_an_override_marks_no_file() -> None:
    """GitHub could not show it in any; the option itself is told instead."""
    problem = _problem(message="too large", file=OVERRIDE, line=1, column=1, source="server.port=1", help="")
    assert problem.annotation() == "::error title=MA010::--set server.port=1: too large"


def test_problems_are_sorted_by_place() -> None:
    """File, then line, then column: not in the order they were found."""
    places = [("b.toml", 1, 1), ("a.toml", 9, 2), ("a.toml", 9, 1), ("a.toml", 2, 5)]
    problems = [_problem(file=Path(file), line=line, column=column) for file, line, column in places]
    assert [problem.place for problem in in_order(problems)] == ["a.toml:2:5", "a.toml:9:1", "a.toml:9:2", "b.toml:1:1"]


def test_files_below_the_current_folder_are_shown_relative_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An absolute path is shortened where that is what the user sees, else left."""
    monkeypatch.chdir(tmp_path)
    assert shown(tmp_path / "shop" / "app.toml") == "shop/app.toml"
    assert shown(Path("/elsewhere/app.toml")) == "/elsewhere/app.toml"


def test_an_edit_replaces_its_characters() -> None:
    """Everything outside [start, end) stays."""
    assert Edit(start=2, end=4, text="XYZ").apply("abcdef") == "abXYZef"

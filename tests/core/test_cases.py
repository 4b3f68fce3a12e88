"""Files of test cases."""

from pathlib import Path

import pytest

from modelapp.cases import Case, read_cases
from modelapp.errors import AppFileError


def test_each_line_is_a_case_and_blank_lines_are_skipped(tmp_path: Path) -> None:
    """Line numbers are those of the file."""
    path = tmp_path / "cases.jsonl"
    path.write_text('{"input": {"x": 1}, "expect": {"y": 2}}\n\n{"input": {"x": 3}, "expect": {"y": 4}}\n')
    assert read_cases(path) == [Case(1, {"x": 1}, {"y": 2}), Case(3, {"x": 3}, {"y": 4})]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "no JSON"),
        ("[]", "a JSON object"),
        ('{"input": {}}', 'an object "expect"'),
        ('{"input": {}, "expect": 7}', 'an object "expect"'),
        ('{"input": {}, "expect": {}, "expected": {}}', 'no key "expected"'),
    ],
)
def test_every_wrong_line_is_told_with_its_place(tmp_path: Path, line: str, words: str) -> None:
    """All wrong lines come at once, each with file and line."""
    path = tmp_path / "cases.jsonl"
    path.write_text(f'{{"input": {{}}, "expect": {{}}}}\n{line}\n{line}\n')
    with pytest.raises(AppFileError) as caught:
        read_cases(path)
    assert [problem.line for problem in caught.value.problems] == [2, 3]
    assert words in caught.value.problems[0].message


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """The error is about the file that app.toml names."""
    with pytest.raises(AppFileError, match=r"gone\.jsonl"):
        read_cases(tmp_path / "gone.jsonl")

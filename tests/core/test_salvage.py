"""What a broken app.lock still tells of its recorded outputs."""

import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelapp.errors import AppFileError
from modelapp.lockfile import LOCK, Lock, LockedFile, Recorded, render
from modelapp.salvage import remains, sides

TESTS = st.sampled_from(["a", "b", "c", "d [e]", 'f "g"'])
RECORDED = st.builds(
    Recorded,
    TESTS,
    st.sampled_from("01").map(lambda digit: digit * 64),
    st.lists(st.sampled_from(["x 1", "x 2", "cpu"]), max_size=2).map(tuple),
)
RECORDS = st.lists(RECORDED, max_size=5, unique_by=lambda one: one.test).map(tuple)


def lock_of(recorded: tuple[Recorded, ...], digit: str) -> Lock:
    return Lock(files=(LockedFile("model.onnx", digit * 64, 1),), recorded=recorded)


def left_of(root: Path, text: str) -> set[Recorded]:
    (root / LOCK).write_text(text, encoding="utf-8")
    return set(remains(root).recorded)


@settings(max_examples=40)
@given(ours=RECORDS, theirs=RECORDS, style=st.sampled_from(["--diff3", "--zdiff3", ""]))
def test_both_sides_of_a_merge_are_kept(tmp_path_factory, ours, theirs, style: str) -> None:
    """Whatever git makes of two branches that began without records, also where a conflict cuts blocks in two."""
    root = tmp_path_factory.mktemp("app")
    texts = {
        "ours": render(lock_of(ours, "a")),
        "base": render(lock_of((), "b")),
        "theirs": render(lock_of(theirs, "c")),
    }
    for name, text in texts.items():
        (root / name).write_text(text, encoding="utf-8")
    command = ["git", "merge-file", "-p", *filter(None, [style]), "ours", "base", "theirs"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert "<<<<<<<" in done.stdout
    assert left_of(root, done.stdout) >= {*ours, *theirs}
    known = remains(root).recorded
    for one in ours:  # the first that fits the file is taken
        assert next(kept for kept in known if (kept.test, kept.sha256) == (one.test, one.sha256)) == one


def test_both_sides_of_a_block_are_kept(tmp_path: Path) -> None:
    """Which of them holds is for the file to say."""
    text = (
        'lock_version = 1\n[[recorded]]\ntest = "a"\n<<<<<<< ours\n'
        f'sha256 = "{"1" * 64}"\nmade_with = ["x 1"]\n||||||| base\nsha256 = "{"0" * 64}"\n=======\n'
        f'sha256 = "{"2" * 64}"\nmade_with = ["x 2"]\n>>>>>>> theirs\n'
    )
    expected = {Recorded("a", "1" * 64, ("x 1",)), Recorded("a", "2" * 64, ("x 2",)), Recorded("a", "0" * 64)}
    assert left_of(tmp_path, text) == expected
    assert left_of(tmp_path, text.replace("\n", "\r\n")) == expected


def test_blocks_around_a_broken_one_are_kept(tmp_path: Path) -> None:
    """A hand broke one line; a stranger's table and a lone marker do not matter either."""
    good = render(Lock(recorded=(Recorded("a", "1" * 64, ("x 1",)),)))
    bad = '[[recorded]]\ntest = "b\n[[recorded]]\ntest = 3\n[[recorded]\n=======\n[strange]\nx = 1\n'
    other = f'[[recorded]]\ntest = "c"\nsha256 = "{"2" * 64}"\n'
    assert left_of(tmp_path, good + bad + other) == {Recorded("a", "1" * 64, ("x 1",)), Recorded("c", "2" * 64)}


@given(st.text())
@settings(max_examples=100)
def test_any_text_at_all_is_looked_through(tmp_path_factory, text: str) -> None:
    """Nothing in a file keeps `modelapp lock` from making it anew, a later format excepted."""
    root = tmp_path_factory.mktemp("app")
    good = render(Lock(recorded=(Recorded("a", "1" * 64, ("x 1",)),)))
    assert Recorded("a", "1" * 64, ("x 1",)) in left_of(root, f"{good}\n[broken]\n{text.replace('lock_version', '')}")


def test_a_later_format_is_left_alone_in_a_conflict_too(tmp_path: Path) -> None:
    """One branch was locked by a later modelapp."""
    with pytest.raises(AppFileError) as raised:
        left_of(tmp_path, "<<<<<<< ours\nlock_version = 1\n=======\nlock_version = 2\n>>>>>>> theirs\n")
    assert [one.code for one in raised.value.problems] == ["MA082"]


def test_a_text_without_conflicts_has_one_side() -> None:
    """The text."""
    assert sides("a\nb\n") == ["a\nb\n"]


def test_a_folder_without_a_lock_has_no_remains(tmp_path: Path) -> None:
    """There is nothing to know."""
    assert remains(tmp_path) == Lock()

"""app.lock as a text: the same whoever writes it, merged by git, refused with a place where it is broken."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelapp.errors import AppFileError, SurroundingsError
from modelapp.lockfile import (
    LOCK,
    Lock,
    LockedFile,
    LockedPlugin,
    LockedSource,
    Recorded,
    parse,
    read_lock,
    render,
    write_lock,
)

SHA = "0123456789abcdef" * 4
DIGESTS = st.text("0123456789abcdef", min_size=64, max_size=64)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
SIZES = st.integers(0, 2**50)
FILES = st.builds(LockedFile, NAMES, DIGESTS, SIZES)
SOURCES = st.builds(LockedSource, NAMES, NAMES | st.just(""), NAMES, NAMES | st.just(""), NAMES, DIGESTS, SIZES)
RECORDED = st.builds(Recorded, NAMES, DIGESTS, st.lists(NAMES, max_size=3).map(tuple))
PLUGINS = st.builds(LockedPlugin, NAMES, NAMES)


def each_once(blocks, key):
    """Tuples of blocks of which no two have the same key."""
    return st.lists(blocks, max_size=4, unique_by=key).map(tuple)


LOCKS = st.builds(
    Lock,
    each_once(FILES, lambda one: one.path),
    each_once(SOURCES, lambda one: (one.model, one.file, one.source)),
    each_once(RECORDED, lambda one: one.test),
    each_once(PLUGINS, lambda one: one.name),
)


def as_sets(lock: Lock) -> Sequence[frozenset[object]]:
    """A lock without its order."""
    return [frozenset(blocks) for blocks in attrs.astuple(lock, recurse=False)]


def merged(folder: Path, ours: str, base: str, theirs: str) -> tuple[str, int]:
    """What git makes of two changes of a file, and how many conflicts it leaves."""
    for name, text in (("ours", ours), ("base", base), ("theirs", theirs)):
        (folder / name).write_bytes(text.encode())
    command = ["git", "merge-file", "-p", "ours", "base", "theirs"]
    done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
    assert 0 <= done.returncode < 128, done.stderr
    return done.stdout.decode(), done.returncode


def locked(number: int, digit: str = "a") -> LockedFile:
    return LockedFile(f"data/{number:04}.bin", digit * 64, number)


@given(LOCKS)
def test_what_is_written_is_read(lock: Lock) -> None:
    """Any names, also with quotes, line ends and control characters in them."""
    assert as_sets(parse(Path(LOCK), render(lock))) == as_sets(lock)


@given(LOCKS, st.randoms())
def test_the_text_does_not_depend_on_the_order_of_what_was_found(lock: Lock, random) -> None:
    """One lock has one text; its lines end in LF alone."""
    fields = [random.sample(blocks, len(blocks)) for blocks in attrs.astuple(lock, recurse=False)]
    text = render(lock)
    assert render(Lock(*map(tuple, fields))) == text
    assert "\r" not in text
    assert text.endswith("\n")


def test_the_whole_text() -> None:
    """Sorted by table and name, one block an item, no word about what is not known."""
    lock = Lock(
        files=(LockedFile("models/b.onnx", SHA, 2), LockedFile("a/c.txt", SHA, 1)),
        sources=(LockedSource("text", "", "package:p/m.onnx", "p", "1.0", SHA, 3),),
        recorded=(Recorded("greedy", SHA, ("onnxruntime 1.0", "cpu")), Recorded("by hand", SHA)),
        plugins=(LockedPlugin("acme", "2"),),
    )
    assert render(lock) == (
        "# Kept by `modelapp lock`.\nlock_version = 1\n"
        f'\n[[file]]\npath = "a/c.txt"\nsha256 = "{SHA}"\nsize_bytes = 1\n'
        f'\n[[file]]\npath = "models/b.onnx"\nsha256 = "{SHA}"\nsize_bytes = 2\n'
        '\n[[source]]\nmodel = "text"\nsource = "package:p/m.onnx"\ndistribution = "p"\nversion = "1.0"\n'
        f'sha256 = "{SHA}"\nsize_bytes = 3\n'
        f'\n[[recorded]]\ntest = "by hand"\nsha256 = "{SHA}"\n'
        f'\n[[recorded]]\ntest = "greedy"\nsha256 = "{SHA}"\nmade_with = ["onnxruntime 1.0", "cpu"]\n'
        '\n[[plugin]]\nname = "acme"\nversion = "2"\n'
    )


@settings(max_examples=40)
@given(kept=st.sets(st.integers(0, 999), min_size=2, max_size=12), places=st.data())
def test_branches_that_each_add_a_file_merge(tmp_path_factory, kept: set[int], places: st.DataObject) -> None:
    """With git, without a conflict, where a file that both had stands between the two; the result is the lock."""
    known = sorted(kept)
    middle = places.draw(st.sampled_from(known))
    spare = [number for number in range(-1, 1001) if number not in kept]
    below = places.draw(st.sampled_from([one for one in spare if one < middle]))
    above = places.draw(st.sampled_from([one for one in spare if one > middle]))
    base = Lock(files=tuple(map(locked, known)))
    ours, theirs = (Lock(files=(*base.files, locked(one, digit))) for one, digit in ((below, "b"), (above, "c")))
    text, conflicts = merged(tmp_path_factory.mktemp("merge"), render(ours), render(base), render(theirs))
    assert conflicts == 0
    assert text == render(Lock(files=(*base.files, locked(below, "b"), locked(above, "c"))))


def test_branches_that_change_two_files_merge(tmp_path: Path) -> None:
    """Neighbours too, since a block is longer than what git wants between two changes."""
    base = Lock(files=(locked(1), locked(2), locked(3)))
    ours, theirs = Lock(files=(locked(1, "b"), *base.files[1:])), Lock(files=(*base.files[:2], locked(3, "c")))
    text, conflicts = merged(tmp_path, render(ours), render(base), render(theirs))
    assert (conflicts, text) == (0, render(Lock(files=(locked(1, "b"), locked(2), locked(3, "c")))))


def test_a_conflict_is_told_at_its_first_line(tmp_path: Path) -> None:
    """Two branches changed the same file: `modelapp lock` decides by what is there."""
    base = Lock(files=(locked(1), locked(2)))
    ours, theirs = (Lock(files=(base.files[0], locked(2, digit))) for digit in "bc")
    text, conflicts = merged(tmp_path, render(ours), render(base), render(theirs))
    assert conflicts == 1
    with pytest.raises(AppFileError) as raised:
        parse(tmp_path / LOCK, text)
    (problem,) = raised.value.problems
    assert (problem.code, problem.command) == ("MA081", "modelapp lock")
    assert problem.source.startswith("<<<<<<< ours")
    assert text.splitlines()[problem.line - 1] == problem.source


FILE = f'[[file]]\npath = "a"\nsha256 = "{SHA}"\nsize_bytes = 1\n'
MISTAKES = [
    ("lock_version = 1\n[[file]\n", "MA081", 2, "no TOML"),
    (FILE, "MA083", 1, "must say lock_version"),
    ("lock_version = true\n", "MA083", 1, "must say lock_version"),
    ("lock_version = 0\n", "MA083", 1, "must say lock_version"),
    ("lock_version = 1\nfiles = 3\n", "MA083", 2, 'has no "files"'),
    ("lock_version = 1\nfile = 3\n", "MA083", 2, "must be a list of tables"),
    ("lock_version = 1\nfile = [3]\n", "MA083", 2, "something else than tables"),
    ('lock_version = 1\n[[file]]\npath = "a"\n', "MA083", 2, '"sha256" is missing'),
    (f"lock_version = 1\n{FILE}colour = 1\n", "MA083", 6, 'no key "colour"'),
    (f"lock_version = 1\n{FILE}{FILE}", "MA083", 6, "twice"),
    (f"lock_version = 1\n{FILE.replace('= 1', '= -1')}", "MA083", 5, '"size_bytes" must be'),
    (f"lock_version = 1\n{FILE.replace('= 1', '= 1.0')}", "MA083", 5, '"size_bytes" must be'),
    (f"lock_version = 1\n{FILE.replace('0', 'O')}", "MA083", 4, '"sha256" must be'),
    (f"lock_version = 1\n{FILE.replace(chr(34) + 'a' + chr(34), '1')}", "MA083", 3, '"path" must be'),
    (
        f'lock_version = 1\n[[recorded]]\ntest = "t"\nsha256 = "{SHA}"\nmade_with = "x"\n',
        "MA083",
        5,
        '"made_with" must',
    ),
    ('lock_version = 1\n[[plugin]]\nname = "a"\n', "MA083", 2, '"version" is missing'),
]


@pytest.mark.parametrize(("text", "code", "line", "message"), MISTAKES, ids=[one[3] for one in MISTAKES])
def test_a_broken_file_is_refused_with_the_place(text: str, code: str, line: int, message: str) -> None:
    """And with the command that makes it anew."""
    with pytest.raises(AppFileError) as raised:
        parse(Path(LOCK), text)
    assert {(one.code, one.command) for one in raised.value.problems} == {(code, "modelapp lock")}
    first = raised.value.problems[0]
    assert message in first.message
    assert first.line == line


@pytest.mark.parametrize(
    "text", ["lock_version = 2\n[[weights]]\n", "lock_version=12\n<<<<<<< ours\n", "\nlock_version = 2\n[["]
)
def test_a_later_format_is_not_read(text: str) -> None:
    """What it says beside the version may be unknown; overwriting it would lose what another modelapp wrote."""
    with pytest.raises(AppFileError) as raised:
        parse(Path(LOCK), text)
    (problem,) = raised.value.problems
    assert (problem.code, problem.command) == ("MA082", "pip install -U modelapp")
    assert problem.source.startswith("lock_version")


def test_no_file_is_no_lock(tmp_path: Path) -> None:
    """An app without app.lock is not locked."""
    assert read_lock(tmp_path) is None


def test_line_ends_of_another_system_and_a_mark_are_read(tmp_path: Path) -> None:
    """A checkout may convert them."""
    lock = Lock(files=(locked(1), locked(2)))
    (tmp_path / LOCK).write_bytes(b"\xef\xbb\xbf" + render(lock).replace("\n", "\r\n").encode())
    assert read_lock(tmp_path) == lock


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"], ids=["a folder", "no text"])
def test_what_is_no_text_file_is_refused(tmp_path: Path, content: bytes | None) -> None:
    """By a sentence, at the file."""
    if content is None:
        (tmp_path / LOCK).mkdir()
    else:
        (tmp_path / LOCK).write_bytes(content)
    with pytest.raises(AppFileError) as raised:
        read_lock(tmp_path)
    assert [(one.code, one.line) for one in raised.value.problems] == [("MA080", 0)]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    """The file that it leads to is written, and nothing is left beside it."""
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "lock.toml").write_text("")
    (tmp_path / LOCK).symlink_to("kept/lock.toml")
    write_lock(tmp_path, Lock(files=(locked(1),)))
    assert (tmp_path / LOCK).is_symlink()
    assert read_lock(tmp_path) == Lock(files=(locked(1),))
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["lock.toml"]


def test_a_folder_that_is_not_there_cannot_be_written_to(tmp_path: Path) -> None:
    """The error says what and why."""
    with pytest.raises(SurroundingsError, match=r"app\.lock cannot be written: No such file"):
        write_lock(tmp_path / "none", Lock())

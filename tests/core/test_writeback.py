"""Edits of app.toml: exactly the data meant, and every other byte as it was."""

import itertools
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import tomli
from hypothesis import assume, given
from hypothesis import strategies as st

from modelapp.document import Document
from modelapp.errors import SurroundingsError
from modelapp.spans import index
from modelapp.writeback import Draft, replace_file


def draft(text: str, file: Path = Path("app.toml")) -> Draft:
    """A draft of a text as it was read."""
    return Draft(Document(file, text, index(text)))


def reread(text: str) -> Any:
    """The data of a text."""
    return tomli.loads(text.removeprefix("\ufeff"))


# Random documents. Every comment bears a number of its own, so that it can be looked for.

NAMES = st.sampled_from(["a", "b", "tests", "x-1", '"q q"', "'l.l'", '"\\u00e9"', '""'])
SCALARS = st.sampled_from(
    (
        *("1", "0x1F", "1_000", "-0.5", "1e3", "nan", "true", "1979-05-27T07:32:00Z", "07:32:00", "1979-05-27"),
        *('"t # no"', "'lit'", '"""\n# no\n [x]\n"""', "'''\n\n#'''"),
    )
)


@st.composite
def _array(draw: Any, comment: Any) -> str:
    gap = st.sampled_from(["", " ", "\n", "\n\t"])
    items = [draw(SCALARS) if draw(st.booleans()) else draw(_table(comment, 0)) for _ in range(draw(st.integers(0, 3)))]
    text = ""
    for number, item in enumerate(items):
        comma = "," if number + 1 < len(items) or draw(st.booleans()) else ""
        tail = draw(st.sampled_from(["", f" {comment()}\n"]))
        text += f"{draw(gap)}{item}{draw(st.sampled_from(['', ' ']))}{comma}{tail}"
    return f"[{text}{draw(gap)}]"


@st.composite
def _table(draw: Any, comment: Any, depth: int) -> str:
    pairs = []
    for name in draw(st.lists(NAMES, max_size=3, unique=True)):
        dotted = f"{name}{draw(st.sampled_from(['.', ' . ']))}{draw(NAMES)}" if draw(st.booleans()) else name
        pairs.append(f"{dotted} = {draw(_value(comment, depth))}")
    pad = draw(st.sampled_from(["", " "]))
    return f"{{{pad}{', '.join(pairs)}{pad}}}"


def _value(comment: Any, depth: int) -> Any:
    return st.one_of(SCALARS, SCALARS, _array(comment), _table(comment, depth - 1)) if depth > 0 else SCALARS


@st.composite
def documents(draw: Any) -> str:
    """Valid texts with headers, lists of tables, inline and dotted tables, comments, tabs, CRLF, BOM, no final end."""
    numbers = itertools.count()

    def comment() -> str:
        return f"# c{next(numbers)};"

    def fill() -> list[str]:
        return draw(st.sampled_from([[], [], [""], ["", ""], [comment()], ["", comment()], [comment(), ""]]))

    def pairs() -> list[str]:
        lines = []
        for name in draw(st.lists(NAMES, max_size=3, unique=True)):
            dotted = "." + draw(NAMES) if draw(st.integers(0, 3)) == 0 else ""
            tail = draw(st.sampled_from(["", f"  {comment()}"]))
            value = draw(_value(comment, 2))
            lines += [*fill(), f"{draw(st.sampled_from(['', '', '  ', chr(9)]))}{name}{dotted} = {value}{tail}"]
        return lines

    lines = [*fill(), *pairs()]
    for _ in range(draw(st.integers(0, 4))):
        path = ".".join(draw(st.lists(NAMES, min_size=1, max_size=2)))
        many = draw(st.booleans())
        for _ in range(draw(st.integers(1, 3)) if many else 1):
            lines += [*fill(), f"[[{path}]]" if many else f"[ {path} ]", *pairs()]
            if draw(st.integers(0, 3)) == 0:
                lines += [*fill(), f"[{path}.{draw(NAMES)}]", *pairs()]
    text = "\n".join([*lines, *fill()]) + draw(st.sampled_from(["", "\n", "\n\n"]))
    text = text.replace("\n", draw(st.sampled_from(["\n", "\r\n"])))
    return draw(st.sampled_from(["", "", "\ufeff"])) + text


KEYS = st.sampled_from(["a", "b", "tests", "x-1", "q q", "l.l", "é", "", "new", "a#b"])
PLAIN = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    st.datetimes().map(lambda moment: moment.replace(fold=0)),
    st.just("long " * 30),
)
VALUES = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=6
)


@st.composite
def _paths(draw: Any, data: Any) -> tuple[str | int, ...]:
    """A path that exists, or that leaves what exists by a new key."""
    path: tuple[str | int, ...] = ()
    around = data
    while True:
        if isinstance(around, list) and around:
            part: str | int = draw(st.integers(0, len(around) - 1))
        elif isinstance(around, dict):
            known = st.sampled_from(sorted(around)) if around else KEYS
            part = draw(st.one_of(known, known, KEYS))
        else:
            return path
        path = (*path, part)
        if isinstance(around, dict) and part not in around:
            return (*path, *draw(st.lists(KEYS, max_size=2)))
        around = around[part]
        if draw(st.booleans()):
            return path


def _put(data: Any, path: tuple[str | int, ...], value: Any) -> None:
    for part in path[:-1]:
        data = data[part] if isinstance(data, list) else data.setdefault(part, {})
    data[path[-1]] = value


def _same(left: Any, right: Any) -> bool:
    return repr(_sorted(left)) == repr(_sorted(right))


def _sorted(value: Any) -> Any:
    if isinstance(value, Mapping):
        return sorted((key, _sorted(item)) for key, item in value.items())
    return [_sorted(item) for item in value] if isinstance(value, list) else value


def _valid(text: str) -> Any:
    try:
        return reread(text)
    except tomli.TOMLDecodeError:
        assume(False)


@given(documents(), st.data())
def test_a_key_that_is_set_is_all_that_changes(text: str, data: st.DataObject) -> None:
    """The result reads back as the old data with the new value, whatever stands there now, or nothing."""
    meant = _valid(text)
    path, value = data.draw(_paths(meant)), data.draw(VALUES)
    assume(path)
    edited = draft(text)
    try:
        edited.set(path, value)
    except ValueError:
        assert path in index(text).headers  # a block of a list of tables, which nothing but a table can be
        return
    _put(meant, path, value)
    assert _same(reread(edited.text), meant)
    assert _same(edited.data, meant)


@given(documents(), st.data())
def test_a_scalar_replaced_or_added_leaves_every_other_byte(text: str, data: st.DataObject) -> None:
    """What stood before the place and behind it stands there still; only the value's own characters are gone."""
    path, value = data.draw(_paths(_valid(text))), data.draw(PLAIN)
    assume(path)
    spans = index(text)
    assume(path in spans.values or not draft(text).document.holds(path))
    edited = draft(text)
    edited.set(path, value)
    gone = spans.values.get(path)
    old, new = (text[: gone.start], text[gone.end :]) if gone else (text, ""), edited.text
    empty = gone is None and "{" in text and "}" in text  # a blank inside {} may go
    assert _shared(text, new) >= len(old[0]) + len(old[1]) - (2 if empty else 0)


def _shared(old: str, new: str) -> int:
    """How many characters of `old` begin and end `new`."""

    def common(left: str, right: str) -> int:
        pairs = enumerate(zip(left, right, strict=False))
        return next((at for at, (one, other) in pairs if one != other), min(len(left), len(right)))

    return common(old, new) + common(old[::-1], new[::-1])


@given(documents(), st.data())
def test_what_is_removed_is_all_that_goes(text: str, data: st.DataObject) -> None:
    """The result reads back without it, and no comment goes but those of a removed table."""
    meant = _valid(text)
    path = data.draw(_paths(meant))
    edited = draft(text)
    spans = index(text)
    gone: Any = meant
    try:
        for part in path[:-1]:
            gone = gone[part]
        del gone[path[-1]]
    except (KeyError, IndexError):
        with pytest.raises(ValueError, match="there is no"):
            edited.remove(path)
        return
    edited.remove(path)
    _prune(meant, path, spans)
    assert _same(reread(edited.text), meant)
    if path in spans.pairs:
        lost = [one for one in _comments(text) if f"{one};" not in edited.text]
        inside = _comments(text[slice(*spans.pairs[path])]) + _comments(text[spans.pairs[path].end :].split("\n")[0])
        assert set(lost) <= set(inside)


def _prune(data: Any, path: tuple[str | int, ...], spans: Any) -> None:
    """Tables and lists that nothing but the removed path made are gone with it."""
    for length in range(len(path) - 1, 0, -1):
        above = path[:length]
        around: Any = data
        for part in above[:-1]:
            around = around[part]
        if around[above[-1]] or above in spans.headers or above in spans.values:
            return
        del around[above[-1]]


def _comments(text: str) -> list[str]:
    return [part.split(";")[0] for part in text.split("# ")[1:] if part.startswith("c")]


@given(documents(), st.lists(st.dictionaries(KEYS, VALUES, max_size=3), min_size=1, max_size=3))
def test_blocks_are_appended_and_nothing_else_is_touched(text: str, blocks: list[dict[str, Any]]) -> None:
    """One after another, each in the place for it; removing them again leaves the data as it was."""
    meant = _valid(text)
    tests = meant.get("tests", [])
    edited = draft(text)
    if not isinstance(tests, list) or not all(isinstance(one, dict) for one in tests):
        with pytest.raises(ValueError, match="no list of tables"):
            edited.append("tests", blocks[0])
        return
    for block in blocks:
        edited.append("tests", block)
        after = iter(edited.text)
        assert all(char in after for char in text)  # an item of an inline list may need a comma before it, too
        assert _shared(text, edited.text) >= len(text) or ("tests",) in index(text).values
    assert _same(reread(edited.text), {**meant, "tests": [*tests, *blocks]})
    for number in reversed(range(len(tests), len(tests) + len(blocks))):
        edited.remove(("tests", number))
    if "tests" in meant:
        assert _same(reread(edited.text), meant)


@given(documents(), st.data())
def test_edits_in_a_row_are_the_same_as_edits_of_the_file_read_again(text: str, data: st.DataObject) -> None:
    """A draft keeps no state but its text."""
    _valid(text)
    together = alone = draft(text)
    for _ in range(3):
        path, value = data.draw(_paths(together.data)), data.draw(VALUES)
        alone = draft(together.text)
        for one in (together, alone):
            try:
                one.set(path, value) if path else one.append("new", {"a": value})
            except ValueError:
                assume(False)
        assert together.text == alone.text


@given(documents(), st.data())
def test_line_ends_and_the_byte_order_mark_stay(text: str, data: st.DataObject) -> None:
    """What is added ends its lines as the file does, and a file keeps its mark and its missing last line end."""
    meant = _valid(text)
    assume("new" not in meant and "\n" in text)
    edited = draft(text)
    edited.append("new", {"a": data.draw(PLAIN)})
    edited.set(("other", "table"), 1)
    assert edited.text.startswith("\ufeff") == text.startswith("\ufeff")
    assert ("\r\n" in edited.text) == ("\r\n" in text)
    assert edited.text.count("\n") == edited.text.count("\r\n") or "\r\n" not in text
    assert edited.text.endswith("\n") == (text.endswith("\n") or not text.removeprefix("\ufeff"))


# What mutating a tomlkit document does to an ordinary app.toml, and a splice does not.

APP = """\
#:schema ./app.schema.json
[app]
name = "a"

# the first
[[tests]]
name = "one"
expect = { x = 1 }

# the second
[[tests]]
name = "two"
expect = { x = 2 }

# about deploying
[deploy]
replicas = 2
"""


def test_an_appended_block_has_a_blank_line_before_what_follows() -> None:
    """It stands behind the last of its kind, before the comment of the next table."""
    edited = draft(APP)
    edited.append("tests", {"name": "three", "expect": {"x": 3}})
    assert edited.text == APP.replace("\n# about", '\n[[tests]]\nname = "three"\nexpect = { x = 3 }\n\n# about')


def test_a_key_added_to_a_block_stands_above_the_comment_of_the_next() -> None:
    """At the end of its own block."""
    edited = draft(APP)
    edited.set(("tests", 0, "abs_tol"), 0.01)
    assert edited.text == APP.replace("expect = { x = 1 }\n", "expect = { x = 1 }\nabs_tol = 0.01\n")


def test_removing_a_block_leaves_the_comment_of_the_next() -> None:
    """And takes its own."""
    edited = draft(APP)
    edited.remove(("tests", 0))
    assert edited.text == APP.replace('# the first\n[[tests]]\nname = "one"\nexpect = { x = 1 }\n\n', "")


def test_a_list_of_tables_that_another_table_interrupts_keeps_its_order() -> None:
    """Nothing is moved."""
    text = '[[tests]]\nname = "one"\n\n[deploy]\nreplicas = 2\n\n[[tests]]\nname = "two"\n'
    edited = draft(text)
    edited.set(("tests", 0, "repeat"), 2)
    edited.append("tests", {"name": "three"})
    assert edited.text == text.replace('"one"\n', '"one"\nrepeat = 2\n') + '\n[[tests]]\nname = "three"\n'


def test_lines_added_to_a_file_of_windows_end_as_its_lines_do() -> None:
    """CRLF, also between the lines of one value."""
    edited = draft(APP.replace("\n", "\r\n"))
    edited.append("tests", {"name": "three", "tags": ["a long word of a tag"] * 6})
    assert "\n" not in edited.text.replace("\r\n", "")


def test_an_inline_table_is_written_as_the_others_are() -> None:
    """With blanks inside the braces, or without."""
    for text, wanted in ((APP, "{ x = 3 }"), (APP.replace("{ ", "{").replace(" }", "}"), "{x = 3}")):
        edited = draft(text)
        edited.append("tests", {"expect": {"x": 3}})
        assert f"expect = {wanted}\n" in edited.text


# Where things go.


@pytest.mark.parametrize(
    ("text", "path", "value", "wanted"),
    [
        ("", ("a", "b"), 1, "[a]\nb = 1\n"),
        ("[a]\nx = 1", ("a", "y"), 2, "[a]\nx = 1\ny = 2"),
        ("[a]\nx = 1\n# y = 2\n\n[b]\n", ("a", "y"), 2, "[a]\nx = 1\ny = 2\n# y = 2\n\n[b]\n"),
        ("# top\n[a]\n", ("z",), 1, "# top\n\nz = 1\n\n[a]\n"),
        ("[a.b]\nx = 1\n\n[c]\n", ("a", "d"), {"y": 2}, "[a.b]\nx = 1\n\n[a.d]\ny = 2\n\n[c]\n"),
        ("[c]\n\n# of b\n[a.b]\nx = 1\n", ("a", "y"), 2, "[c]\n\n[a]\ny = 2\n\n# of b\n[a.b]\nx = 1\n"),
        ("[p]\nd.x = 1\ne = 2\n", ("p", "d", "y"), 3, "[p]\nd.x = 1\nd.y = 3\ne = 2\n"),
        ("a = { }\n", ("a", "x"), 1, "a = { x = 1 }\n"),
        ("a = { b.x = 1 }\n", ("a", "b", "y"), 2, "a = { b.x = 1, b.y = 2 }\n"),
        ("a = [\n  { x = 1 }, # one\n]\n", ("a", 0, "y"), 2, "a = [\n  { x = 1, y = 2 }, # one\n]\n"),
        ("\t[a]\n\tx\t=\t1\n", ("a", "y"), 2, "\t[a]\n\tx\t=\t1\n\ty = 2\n"),
        ("a=1\nb=2\n", ("c",), 3, "a=1\nb=2\nc=3\n"),
        ("a = 1_000 # x\n", ("a",), 1000, "a = 1_000 # x\n"),
        ("a = 1_000 # x\n", ("a",), 1000.0, "a = 1000.0 # x\n"),
        ("[a]\nx = 1\n", ("a",), {"x": 2, "y": 3}, "[a]\nx = 2\ny = 3\n"),
        ("a = [\n  1, # one\n  2, # two\n]\n", ("a",), [1, 3, 4], "a = [\n  1, # one\n  3, # two\n  4,\n]\n"),
        ("a = [\n  1, # one\n  2 # two\n]\n", ("a",), [1, 2, 4], "a = [\n  1, # one\n  2, # two\n  4\n]\n"),
        ("a = 1\n", ("m",), {"x": {"k": 1}, "y": {"k": 2}}, "a = 1\n\n[m.x]\nk = 1\n\n[m.y]\nk = 2\n"),
    ],
)
def test_a_key_goes_where_a_person_would_write_it(text: str, path: Any, value: Any, wanted: str) -> None:
    """Next to its kind, in the style of the file."""
    edited = draft(text)
    edited.set(path, value)
    assert edited.text == wanted


@pytest.mark.parametrize(
    ("text", "path", "wanted"),
    [
        ("a = 1\n# of b\nb = 2 # two\nc = 3\n", ("b",), "a = 1\n# of b\nc = 3\n"),
        ("a = { x = 1, y = 2 }\n", ("a", "x"), "a = { y = 2 }\n"),
        ("a = { x = 1, y = 2 }\n", ("a", "y"), "a = { x = 1 }\n"),
        ("a = { x = 1 }\n", ("a", "x"), "a = {}\n"),
        ("a = [1, 2, 3]\n", ("a", 1), "a = [1, 3]\n"),
        ("a = [\n  1, # one\n  2, # two\n]\n", ("a", 0), "a = [\n  2, # two\n]\n"),
        ("a = [\n  1 # one\n  , 2\n]\n", ("a", 0), "a = [\n  # one\n2\n]\n"),
        ("[a]\n\n# of b\n[a.b]\nx = 1\n# y = 2\n\n# of c\n[c]\n", ("a", "b"), "[a]\n\n# of c\n[c]\n"),
        ("# of all\n[a]\nx = 1\n\n[b]\n", ("a",), "# of all\n\n[b]\n"),
        ("[a]\nx = 1\n\n[b]\n", ("a",), "[b]\n"),
        ("[m.a]\nx = 1\n[c]\n[m.b]\ny = 1\n", ("m",), "[c]\n"),
        ("d.x = 1\ne = 1\nd.y = 2\n", ("d",), "e = 1\n"),
        ("\ufeffa = 1\nb = 2\n", ("a",), "\ufeffb = 2\n"),
    ],
)
def test_what_goes_takes_what_it_alone_needs(text: str, path: Any, wanted: str) -> None:
    """Its line, its comma, its block with the comment above; nothing of its neighbours."""
    edited = draft(text)
    edited.remove(path)
    assert edited.text == wanted


def test_what_does_not_fit_on_a_line_is_wrapped_and_stays_toml_1_0() -> None:
    """A long table becomes dotted keys, a long list has its items on lines of their own, numbers fill theirs."""
    edited = draft("[[tests]]\n")
    words = {"text": "word " * 15, "more": "word " * 15, "list": ["item " * 12] * 3, "row": list(range(100, 150))}
    edited.set(("tests", 0, "expect"), words)
    lines = edited.text.splitlines()
    assert max(map(len, lines)) <= 120
    assert lines[1].startswith('expect.text = "word')
    assert lines[3:5] == ["expect.list = [", f'  "{"item " * 12}",']
    assert lines[7:9] == ["]", "expect.row = ["]
    assert len(lines) == 13


def test_a_path_that_leads_nowhere_is_refused_and_nothing_changes() -> None:
    """Through a number, past the end of a list, or a value that TOML has no word for."""
    edited = draft(APP)
    for path, value in (
        (("app", "name", "x"), 1),
        (("tests", 2, "x"), 1),
        (("tests", 0), 5),
        (("app", "x"), None),
        (("app", "x"), ["\ud800"]),
        (("app", "\ud800"), 1),
    ):
        with pytest.raises(ValueError, match=r"there is no|is a table|TOML cannot hold"):
            edited.set(path, value)
    with pytest.raises(ValueError, match="no list of tables"):
        edited.append("app", {})
    assert (edited.text, edited.diff()) == (APP, "")


# The file.


def on_disk(folder: Path, text: str) -> tuple[Path, Draft]:
    """A file, read."""
    path = folder / "app.toml"
    path.write_bytes(text.encode())
    return path, draft(text, path)


def test_a_draft_is_written_whole_with_the_permissions_of_the_file(tmp_path: Path) -> None:
    """CRLF and the mark as bytes, nothing left beside it, and it can be written again."""
    path, edited = on_disk(tmp_path, "\ufeff" + APP.replace("\n", "\r\n"))
    path.chmod(0o640)
    edited.set(("app", "name"), "b")
    edited.write()
    assert path.read_bytes() == b"\xef\xbb\xbf" + APP.replace('"a"', '"b"').replace("\n", "\r\n").encode()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    edited.set(("app", "name"), "c")
    edited.write()
    assert b'"c"' in path.read_bytes()
    assert [one.name for one in tmp_path.iterdir()] == ["app.toml"]


def test_a_file_that_changed_meanwhile_is_left_alone(tmp_path: Path) -> None:
    """Or that is gone."""
    path, edited = on_disk(tmp_path, APP)
    edited.set(("app", "name"), "b")
    path.write_text("mine")
    with pytest.raises(SurroundingsError, match="has changed on disk since it was read"):
        edited.write()
    assert path.read_text() == "mine"
    path.unlink()
    with pytest.raises(SurroundingsError, match="cannot be written: No such file"):
        edited.write()
    assert list(tmp_path.iterdir()) == []


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    """What it leads to is written."""
    path, edited = on_disk(tmp_path, APP)
    real = path.rename(tmp_path / "real.toml")
    path.symlink_to(real)
    edited.set(("app", "name"), "b")
    edited.write()
    assert path.is_symlink()
    assert '"b"' in real.read_text()


def test_a_file_that_cannot_be_written_whole_is_not_written_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk leaves the old file, and nothing beside it."""
    path, edited = on_disk(tmp_path, APP)
    edited.set(("app", "name"), "b")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SurroundingsError, match="No space left on device"):
        edited.write()
    assert path.read_text() == APP
    assert [one.name for one in tmp_path.iterdir()] == ["app.toml"]


def test_a_new_file_has_the_usual_permissions(tmp_path: Path) -> None:
    """Those that any other new file has here."""
    replace_file(tmp_path / "a", b"x")
    (tmp_path / "b").write_bytes(b"x")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_a_diff_names_the_file_and_shows_the_lines() -> None:
    """As `diff -u` does."""
    edited = draft(APP.replace("\n", "\r\n"))
    edited.set(("deploy", "replicas"), 3)
    lines = edited.diff().splitlines()
    assert lines[:2] == ["--- app.toml", "+++ app.toml"]
    assert lines[-2:] == ["-replicas = 2", "+replicas = 3"] or "+replicas = 3" in lines

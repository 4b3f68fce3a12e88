"""The newest format: migrations that keep what they do not mean, and the refusal of formats that are not read."""

import json
from pathlib import Path

import pytest
import tomli

from modelapp import cli, loader, upgrade
from modelapp.app import SCHEMA_VERSION
from modelapp.cli import upgrade as verb
from modelapp.document import Document
from modelapp.spans import index
from modelapp.writeback import Draft

OLD = """\
# the app
[app]
name = "small" # its name
about = "Two numbers" # for people

# where it listens
[http]
# not the usual one
port = 9000 # free
[http.limits]
max_body_mb = 3

[profiles.prod]
server = {} # later
"""
NEW = """\
# the app
[app]
name = "small" # its name
description = "Two numbers" # for people
schema_version = 2

# where it listens
[server]
# not the usual one
port = 9000 # free
max_body_mb = 3

[profiles.prod]
server = {} # later
"""


def first_to_second(draft: Draft) -> None:
    """[app] about is called description, and [http] with its limits is [server]."""
    if "about" in draft.data["app"]:
        draft.move(("app", "about"), ("app", "description"))
    if "http" in draft.data:
        draft.move(("http",), ("server",))
        for name in list(draft.data["server"].get("limits", {})):
            draft.move(("server", "limits", name), ("server", name))
        if "limits" in draft.data["server"]:
            draft.remove(("server", "limits"))


@pytest.fixture
def second_format(monkeypatch) -> None:
    """modelapp reads format 2."""
    for module in (loader, verb):
        monkeypatch.setattr(module, "SCHEMA_VERSION", 2)
    monkeypatch.setattr(upgrade, "MIGRATIONS", {1: first_to_second})


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes app.toml into the current folder, byte for byte, and returns its path."""
    monkeypatch.chdir(tmp_path)

    def to(text: str) -> Path:
        path = tmp_path / "app.toml"
        path.write_bytes(text.encode())
        return path

    return to


def test_every_older_format_has_its_migration() -> None:
    """Whoever raises SCHEMA_VERSION writes one."""
    assert sorted(upgrade.MIGRATIONS) == list(range(1, SCHEMA_VERSION))


def test_the_newest_format_is_left_alone(write, capsys) -> None:
    """With or without --write, also where the file is invalid otherwise."""
    path = write("[app]\n")
    assert cli.main(["upgrade", "--write"]) == 0
    assert capsys.readouterr().out == "app.toml has the newest format, 1\n"
    assert cli.main(["upgrade", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"schema_version": 1, "file": "app.toml", "from": 1, "to": 1, "diff": "", "written": False}
    assert path.read_bytes() == b"[app]\n"


def test_what_would_change_is_shown_and_not_done(write, capsys, second_format) -> None:
    """As a diff, with a status that a script can see."""
    path = write(OLD)
    assert cli.main(["upgrade"]) == 1
    shown = capsys.readouterr()
    assert '-about = "Two numbers" # for people\n+description = "Two numbers" # for people\n' in shown.out
    assert "+schema_version = 2\n" in shown.out
    assert "modelapp upgrade --write" in shown.err
    assert path.read_text() == OLD


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_the_change_keeps_comments_and_line_ends(write, capsys, second_format, newline, mark) -> None:
    """Only what is meant is another; done twice it changes nothing more."""
    path = write(mark + OLD.replace("\n", newline))
    assert cli.main(["upgrade", "--write"]) == 0
    assert path.read_bytes().decode() == mark + NEW.replace("\n", newline)
    assert "app.toml: format 1 -> 2" in capsys.readouterr().err
    assert cli.main(["upgrade", "--write"]) == 0
    assert capsys.readouterr().out == "app.toml has the newest format, 2\n"
    assert cli.main(["check"]) == 0


def test_a_file_that_would_not_be_valid_is_left_as_it_is(write, capsys, second_format) -> None:
    """Its problems are placed in the text that it would be."""
    broken = OLD.replace("port = 9000", "prot = 9000")
    path = write(broken)
    assert cli.main(["upgrade", "--write"]) == 3
    told = capsys.readouterr().err
    assert "app.toml is left as it is" in told
    assert "--> app.toml, upgraded:10:1\n10 | prot = 9000 # free" in told
    assert path.read_text() == broken


def test_a_version_that_is_none_is_an_error(write, capsys) -> None:
    """As `check` tells it."""
    write('[app]\nname = "small"\nschema_version = "1"\n')
    assert cli.main(["upgrade"]) == 3
    assert "error[MA020]" in capsys.readouterr().err
    write('[app]\nname = "small"\nschema_version = 0\n')
    assert cli.main(["upgrade"]) == 3
    assert "error[MA021]" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["check"], ["run"], ["test"], ["predict"], ["schema", "--write"], ["upgrade"]])
def test_a_newer_format_is_refused_by_every_verb(write, capsys, command) -> None:
    """By this one problem, whatever else the newer format has that is not known here."""
    write('[app]\nname = "small"\nschema_version = 3\ntwin = "x"\n[tests]\n')
    assert cli.main(command) == 3
    output = "".join(capsys.readouterr())
    assert output.count("error[") == 1
    assert "error[MA017]: this is format 3 of app.toml, and the installed modelapp reads format 1" in output
    assert "--> app.toml:3:18" in output
    assert "run:  pip install -U modelapp" in output


def test_an_older_format_is_refused_with_the_way_out(write, capsys, second_format) -> None:
    """A file that states no format has the first."""
    write(OLD)
    assert cli.main(["check"]) == 3
    output = capsys.readouterr().out
    assert "error[MA017]: this is format 1 of app.toml, and the installed modelapp reads format 2" in output
    assert "run:  modelapp upgrade --write" in output


def test_a_profile_cannot_change_the_format(write, capsys) -> None:
    """The error stands where the profile says so."""
    write('[app]\nname = "small"\n[profiles.x]\napp.schema_version = 2\n')
    assert cli.main(["check"]) == 3
    assert "--> app.toml:4:22" in capsys.readouterr().out


MOVES = [
    ('a = 1 # one\n"b c" = 2\n', ("a",), ("d e",), '"d e" = 1 # one\n"b c" = 2\n'),
    ("[a] # one\nx = 1\n[a.b]\ny = 2\n", ("a",), ("c", "d"), "[c.d] # one\nx = 1\n[c.d.b]\ny = 2\n"),
    ("[[a]] # one\nx = 1\n[a.b]\ny = 2\n[[a]]\n", ("a",), ("c",), "[[c]] # one\nx = 1\n[c.b]\ny = 2\n[[c]]\n"),
    ("[a]\nb = { x = 1, y = 2 }\n", ("a", "b", "x"), ("a", "b", "z"), "[a]\nb = { z = 1, y = 2 }\n"),
    ("a.b = 1\na.c = 2\n", ("a", "b"), ("a", "d"), "a.d = 1\na.c = 2\n"),
]


@pytest.mark.parametrize(("text", "path", "to", "wanted"), MOVES)
def test_a_move_changes_names_alone(text, path, to, wanted) -> None:
    """Headers and keys in their place, comments and order as they were."""
    draft = Draft(Document(Path("app.toml"), text, index(text)))
    draft.move(path, to)
    assert draft.text == wanted


@pytest.mark.parametrize(
    "text", ["a.b = 1\na.c = 2\n", "[a.b]\nx = 1\n[a]\ny = 1\n", "a = { b = 1 }\nz = 1\n", "[a]\nb.c = 1\n"]
)
@pytest.mark.parametrize("to", [("n",), ("n", "m"), ("z1",)])
def test_a_move_says_what_is_meant_where_names_alone_do_not(text, to) -> None:
    """Whatever a table is made of: it is at the new place, and nothing else has changed."""
    draft = Draft(Document(Path("app.toml"), text, index(text)))
    meant = tomli.loads(text)
    value = meant.pop("a")
    draft.move(("a",), to)
    for part in reversed(to):
        value = {part: value}
    assert tomli.loads(draft.text) == meant | value


def test_a_move_needs_a_place_to_come_from_and_one_to_go_to() -> None:
    """Neither is made up, and nothing is written over."""
    draft = Draft(Document(Path("app.toml"), "a = 1\nb = 2\n", index("a = 1\nb = 2\n")))
    with pytest.raises(ValueError, match="there is no c"):
        draft.move(("c",), ("d",))
    with pytest.raises(ValueError, match="b is there already"):
        draft.move(("a",), ("b",))
    assert draft.text == "a = 1\nb = 2\n"

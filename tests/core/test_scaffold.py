"""Templates: which there are, what a new app is called, and where it may be written."""

import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelapp import scaffold
from modelapp.appchecks import _APP_NAME
from modelapp.cli.parser import TEMPLATES
from modelapp.errors import SurroundingsError, UsageError

PLACE = Path(scaffold.__file__).parent / "templates"
MODELS = sorted(path.name for path in (PLACE / "shared").glob("*.onnx"))
MAX_TEMPLATES_BYTES = 600_000


def test_the_command_line_offers_the_templates_there_are():
    """In one order: the first is the default of both."""
    assert tuple(scaffold.TEMPLATES) == TEMPLATES


def test_every_template_is_a_folder_and_every_shared_file_is_used():
    """Nothing lies in the wheel that no app is made of."""
    own = {path.name for path in PLACE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert own == {*TEMPLATES, "shared"}
    used = {file for template in scaffold.TEMPLATES.values() for file in template.shared.values()}
    used |= set(scaffold._EVERYWHERE.values())
    assert used == {path.name for path in (PLACE / "shared").iterdir() if path.is_file()}


def test_the_templates_are_small():
    """Everybody who installs modelapp carries them."""
    sizes = [p.stat().st_size for p in PLACE.rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    assert sum(sizes) < MAX_TEMPLATES_BYTES


@pytest.mark.parametrize("model", MODELS)
def test_every_model_says_where_it_comes_from(model):
    """Its page has data, licence and accuracy, NOTICE.md lists it, and the page goes wherever the model goes."""
    page = (PLACE / "shared" / model).with_suffix(".md")
    rows = [line.split("|")[1].strip() for line in page.read_text().splitlines() if line.startswith("|")]
    assert {"data", "licence of the data", "trained on", "accuracy"} <= set(rows)
    assert f"`shared/{model}`" in (PLACE / "NOTICE.md").read_text()
    for template in scaffold.TEMPLATES.values():
        files = set(template.shared.values())
        assert (model in files) == (page.name in files)


@pytest.mark.parametrize("template", TEMPLATES)
def test_an_app_has_its_files_once_and_its_name_in_two_of_them(template):
    """app.toml first; the name stands in [app] and over README.md, and changes nothing else."""
    files, others = scaffold.files_of(template, "one"), scaffold.files_of(template, "another")
    assert next(iter(files)) == "app.toml"
    assert {"README.md", ".gitignore", "conformance/test_app.py"} <= files.keys()
    assert [name for name in files if files[name] != others[name]] == ["app.toml", "README.md"]
    assert b'name = "one"\n' in files["app.toml"]
    assert files["app.toml"].replace(b'name = "one"', b'name = "another"', 1) == others["app.toml"]
    assert files["README.md"].startswith(b"# one\n")


def test_bytecode_that_an_installer_made_is_no_part_of_an_app(monkeypatch, tmp_path):
    """pip compiles every Python file of a wheel, those of templates too."""
    for file in ("shared/conformance.txt", "shared/gitignore", "tiny/app.toml", "tiny/README.md", "tiny/handlers.py"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text('[app]\nname = "tiny"\n')
    (tmp_path / "tiny/__pycache__").mkdir()
    (tmp_path / "tiny/__pycache__/handlers.cpython-311.pyc").touch()
    monkeypatch.setattr(scaffold, "_PLACE", tmp_path)
    monkeypatch.setattr(scaffold, "TEMPLATES", {"tiny": scaffold.Template("", {})})
    assert set(scaffold.files_of("tiny", "x")) == {
        "app.toml", "README.md", "handlers.py", ".gitignore", "conformance/test_app.py",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("dungeon", "dungeon"),
        ("My App", "my-app"),
        ("café_noir.v2", "cafe-noir-v2"),
        ("3d-prints", "app-3d-prints"),
        ("x", "app-x"),
        ("-", "app"),
        ("日本", "app"),
        ("a" * 60, "a" * 41),
    ],
)
def test_the_folder_gives_the_name(folder, name, tmp_path):
    """As near to it as a name may be."""
    assert scaffold.app_name(tmp_path / folder) == name


@given(st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=80))
def test_every_folder_gives_a_valid_name(folder):
    """Whatever it is called, `..` and `.` included."""
    assert _APP_NAME.fullmatch(scaffold.app_name(Path("/") / folder))


@given(st.text(string.ascii_lowercase + string.digits + "-", max_size=39))
def test_a_name_that_is_valid_stays_nearly_as_it_is(rest):
    """But for dashes that are doubled or at the end."""
    name = f"a{rest}"
    expected = "-".join(part for part in name.split("-") if part)
    assert scaffold.app_name(Path("/") / name) == (expected if len(expected) > 1 else f"app-{expected}")


def test_there_is_room_in_a_new_folder_an_empty_one_and_a_fresh_repository(tmp_path):
    """A new app must not be written into anything else."""
    scaffold.require_room(tmp_path / "new" / "deep")
    scaffold.require_room(tmp_path)
    (tmp_path / ".git").mkdir()
    scaffold.require_room(tmp_path)


def test_a_folder_with_files_is_refused_by_name(tmp_path):
    """With what it holds, and a way out."""
    for name in "abcde":
        (tmp_path / name).touch()
    with pytest.raises(UsageError, match="is not empty: it holds a, b, c and 2 more") as refused:
        scaffold.require_room(tmp_path)
    assert "modelapp init DIR" in refused.value.help


def test_an_app_that_is_there_already_is_called_one(tmp_path):
    """Whoever calls `init` twice is told so."""
    (tmp_path / "app.toml").touch()
    with pytest.raises(UsageError) as refused:
        scaffold.require_room(tmp_path)
    assert "there is an app in it already" in refused.value.help


def test_a_file_or_a_dangling_link_is_no_folder(tmp_path):
    """Neither can become one."""
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("file", "link"):
        with pytest.raises(UsageError, match="is not a folder"):
            scaffold.require_room(tmp_path / name)


def test_what_cannot_be_written_whole_is_not_written(tmp_path):
    """A file in the way of the third undoes the first two, their folders too, and is left alone."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "c").write_text("mine")
    with pytest.raises(SurroundingsError, match="c cannot be written: File exists"):
        scaffold.write_all(tmp_path / "app", {"a": b"", "b/d/e": b"", "c": b"theirs"})
    assert [path.name for path in (tmp_path / "app").iterdir()] == ["c"]
    assert (tmp_path / "app" / "c").read_text() == "mine"


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    """As the place that is at fault."""
    (tmp_path / "file").touch()
    with pytest.raises(SurroundingsError, match="file cannot be written: File exists"):
        scaffold.write_all(tmp_path / "file" / "new", {"a": b""})

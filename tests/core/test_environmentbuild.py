"""Building an environment: what is told when a step fails, and what is left behind. Installers here are scripted."""

import json
import platform

import attrs
import pytest

from modelapp import environmentbuild, environments, installer
from modelapp.enclosure import MARKER
from modelapp.environments import Request
from modelapp.errors import SurroundingsError
from modelapp.installation import installation
from modelapp.installer import StepFailedError
from modelapp.requirements import parse

PINS = "tomli==2.4.0 --hash=sha256:aa\nnumpy==1.26.4\n"


class Tool:
    """An installer that makes folders and does what it is told to: fail at a step, or lack something."""

    name = "tool 1"

    def __init__(self):
        self.fails, self.lacks, self.installed = {}, [], []

    def create(self, folder, python):
        self._maybe("create")
        (folder / "bin").mkdir(parents=True)
        (folder / "bin" / "python").write_text("#!/bin/sh\necho CPython " + platform.python_version())
        (folder / "bin" / "python").chmod(0o755)

    def install(self, folder, words, *, hashed=False):
        self.installed.append((list(words), hashed))
        self._maybe(f"install {len(self.installed)}")

    def missing(self, folder):
        return self.lacks

    def _maybe(self, step):
        if step in self.fails:
            raise StepFailedError(self.fails[step])


@pytest.fixture
def tool(monkeypatch):
    """The installer that is chosen, and modelapp found in what it made."""
    tool, own = Tool(), installation()
    monkeypatch.setattr(installer, "choose", lambda run: tool)
    monkeypatch.setattr(environmentbuild, "installation", lambda paths: tool.found or own)
    tool.found = None
    return tool


@pytest.fixture
def build(tmp_path):
    """Builds an environment for these pins: build(text, **changes of how modelapp is installed) -> it and the notes."""

    def run(text=PINS, python="", **own):
        request = Request(file="r.lock", requirements=parse(text, tmp_path), python=python)
        environment = environments.of(request)
        environment = attrs.evolve(environment, own=attrs.evolve(environment.own, **own))
        notes = []
        environments.hold(environment)
        environmentbuild.build(environment, notes.append)
        return environment, notes

    return run


def folders():
    """The environments there are, whole or not."""
    return [path for path in environments.home().iterdir() if path.is_dir()]


def test_the_pins_come_first_and_alone_then_modelapp_within_them(tool, build):
    """Hashes hold for the pins; modelapp is installed as this one was, under their constraint."""
    environment, notes = build()
    (pins, hashed), (own, own_hashed) = tool.installed
    assert "--no-deps" in pins
    assert (hashed, own_hashed) == (True, False)
    assert own[-len(environment.own.words) :] == list(environment.own.words)
    assert (environment.folder / "modelapp-constraints.txt").read_text() == "tomli==2.4.0\nnumpy==1.26.4\n"
    made = json.loads((environment.folder / MARKER).read_text())
    assert made["asked"] == environment.request.asked
    assert made["pins"] == {"tomli": "2.4.0", "numpy": "1.26.4"}
    assert environment.is_built
    assert [note.split()[1] for note in notes] == ["building", "installing", "installing", "ready"]


def test_where_to_look_holds_for_both_steps(tool, build, tmp_path):
    """A private index has what modelapp needs too; a file with a token is its owner's alone."""
    (tmp_path / "wheels").mkdir()
    environment, notes = build("--index-url https://u:t0ken@a.org/s\n--find-links wheels\nattrs==26.1.0\n")
    for words, _ in tool.installed:
        assert words[words.index("--find-links") + 1] == str(tmp_path / "wheels")
    for name in ("requirements", "settings"):
        path = environment.folder / f"modelapp-{name}.txt"
        assert "--index-url https://u:t0ken@a.org/s" in path.read_text()
        assert path.stat().st_mode & 0o077 == 0
    assert "t0ken" not in " ".join([*notes, *(word for words, _ in tool.installed for word in words)])


def test_what_is_built_is_not_built_again(tool, build):
    """Nor told of."""
    build()
    _, notes = build()
    assert (len(tool.installed), notes) == (2, [])


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ("create", ["could not be made", "because"]),
        ("install 1", ["what r.lock pins could not be installed", "because", ".log"]),
        ("install 2", ["r.lock line 2 pins numpy 1.26.4, and modelapp", "needs numpy>=2", "because"]),
    ],
)
def test_a_step_that_fails_ends_it_and_leaves_nothing(step, words, tool, build):
    """The message names the sides and holds what the installer said."""
    tool.fails[step] = ["because"]
    with pytest.raises(SurroundingsError) as raised:
        build()
    assert [word for word in words if word not in str(raised.value)] == []
    assert raised.value.exit_code == 5
    assert folders() == []


def test_a_conflict_that_no_pin_explains_is_told_by_the_installer(tool, build):
    """The two sides are modelapp and the file."""
    tool.fails["install 2"] = ["a needs b<1"]
    with pytest.raises(SurroundingsError, match=r"beside what r\.lock pins\n  \| a needs b<1"):
        build("tomli==2.4.0\n")


def test_what_the_file_does_not_pin_is_named(tool, build):
    """The installer's check says what is missing; a half environment is none."""
    tool.lacks = ["a requires b, which is not installed."]
    with pytest.raises(SurroundingsError, match="does not pin all") as raised:
        build()
    assert "a requires b" in raised.value.message
    assert folders() == []


def test_another_modelapp_under_the_same_version_is_refused(tool, build):
    """The folder or index it came from holds other code by now."""
    tool.found = attrs.evolve(installation(), code=frozenset({"other"}))
    with pytest.raises(SurroundingsError, match="which now holds another"):
        build(code=frozenset({"this"}))
    assert folders() == []


def test_a_modelapp_whose_source_is_gone_is_told(tool, build, tmp_path):
    """Before anything is made."""
    with pytest.raises(SurroundingsError, match="no longer there"):
        build(path=tmp_path / "gone.whl")
    assert tool.installed == []


def test_the_file_may_pin_this_modelapp_and_no_other(tool, build):
    """As a compiled file does; it is not installed as a pin."""
    version = installation().version
    environment, _ = build(f"modelapp[onnx]=={version}\ntomli==2.4.0\n")
    assert "modelapp" not in (environment.folder / "modelapp-requirements.txt").read_text()
    with pytest.raises(SurroundingsError, match=rf"r\.lock line 1 pins modelapp 99, and this is modelapp {version}"):
        build("modelapp==99\ntomli==2.4.0\n")


def test_a_python_that_is_not_to_be_had_is_told(tool, build):
    """Which is wanted, which is here, and what to do."""
    tool.fails["create"] = ["no download"]
    with pytest.raises(SurroundingsError, match=r"asks for Python 3\.99") as raised:
        build(python="3.99")
    assert "no download" in raised.value.message
    assert "python3.99" in raised.value.help


def test_a_python_that_is_another_is_not_used(tool, build):
    """Whatever the installer thinks it made."""
    with pytest.raises(SurroundingsError, match=r"asks for Python 3\.99, and tool 1 made Python 3"):
        build(python="3.99")
    assert folders() == []


def test_what_an_interrupted_build_left_is_thrown_away(tool, build):
    """A folder without its marker was never finished."""
    environment, _ = build()
    (environment.folder / MARKER).unlink()
    (environment.folder / "half").touch()
    environment, notes = build()
    assert notes
    assert not (environment.folder / "half").exists()

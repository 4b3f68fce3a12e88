"""uv and pip, as they are told and as they answer; what is kept of their output."""

import sys

import pytest

from modelapp import installer
from modelapp.enclosure import OUTSIDE
from modelapp.errors import SurroundingsError
from modelapp.installer import Pip, StepFailedError, Uv


class Told:
    """Stands for running a command: keeps what it was told, answers or fails as scripted by the last word."""

    def __init__(self, **answers):
        self.commands, self.answers = [], answers

    def __call__(self, words):
        self.commands.append(list(words))
        answer = self.answers.get(words[-1], "")
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def bin_folder(tmp_path, monkeypatch):
    """An empty folder that is all of the PATH; programs are written by bin_folder(name, text)."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "bin").mkdir()

    def write(name, text):
        path = tmp_path / "bin" / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return str(path)

    return write


def test_output_is_kept_without_secrets(tmp_path):
    """In the log and in the error."""
    run = installer.runner(tmp_path / "log")
    assert run(["/bin/echo", "at https://u:t0ken@a.org/x"]) == "at https://****@a.org/x\n"
    with pytest.raises(StepFailedError) as raised:
        run(["/bin/sh", "-c", "echo no https://t0ken@a.org; exit 3"])
    assert raised.value.lines == ("no https://****@a.org",)
    log = (tmp_path / "log").read_text()
    assert "t0ken" not in log
    assert log.count("$ ") == 2


def test_a_silent_failure_has_its_status(tmp_path):
    """Something is told in any case."""
    with pytest.raises(StepFailedError, match="status 3"):
        installer.runner(tmp_path / "log")(["/bin/sh", "-c", "exit 3"])


def test_an_installer_is_not_led_astray(monkeypatch):
    """Neither into the outer environment nor to another target; where to look is left as it is."""
    for name in ("PYTHONPATH", "VIRTUAL_ENV", "PIP_TARGET", "UV_SYSTEM_PYTHON"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("PIP_USER", "1")
    monkeypatch.setenv("PIP_INDEX_URL", "https://a.org")
    found = installer.build_environment()
    assert not {"PYTHONPATH", "VIRTUAL_ENV", "PIP_TARGET", "UV_SYSTEM_PYTHON"} & found.keys()
    assert (found["PIP_USER"], found["PIP_INDEX_URL"]) == ("0", "https://a.org")


def test_the_last_lines_say_why():
    """Progress and warnings of no account are left out; a long cause is cut from its beginning."""
    output = "Collecting x\n  Downloading x.whl\n\nERROR: no\nINFO: try\n"
    assert installer.last_lines(output) == ["ERROR: no"]
    assert installer.last_lines("\n".join(f"line {n}" for n in range(50)))[-1] == "line 49"
    assert len(installer.last_lines("x\n" * 50)) == 12


def test_uv_on_the_path_is_used(bin_folder, tmp_path):
    """Its version is what people are told."""
    program = bin_folder("uv", "echo 'uv 9.9.9 (abc 2026)'")
    tool = installer.choose(installer.runner(tmp_path / "log"))
    assert isinstance(tool, Uv)
    assert (tool.words, tool.name) == ((program,), "uv 9.9.9")


def test_a_shim_without_uv_behind_it_is_passed_over(bin_folder, tmp_path, monkeypatch):
    """Version managers leave such; then pip does it."""
    bin_folder("uv", "echo 'uv: command not found'; exit 127")
    monkeypatch.setattr(installer, "find_spec", lambda name: None if name == "uv" else object())
    tool = installer.choose(installer.runner(tmp_path / "log"))
    assert isinstance(tool, Pip)
    assert tool.name.startswith("pip ")


def test_with_neither_uv_nor_pip_it_is_told(bin_folder, tmp_path, monkeypatch):
    """And what to do."""
    monkeypatch.setattr(installer, "find_spec", lambda name: None)
    with pytest.raises(SurroundingsError, match="neither uv nor pip") as raised:
        installer.choose(installer.runner(tmp_path / "log"))
    assert "uv" in raised.value.help


@pytest.mark.parametrize("kind", [Uv, Pip])
def test_in_an_environment_the_installer_of_the_python_outside_is_used(bin_folder, tmp_path, monkeypatch, kind):
    """An app whose requirements change while it runs is in one that has none."""
    has = kind.__name__.lower()
    outside = bin_folder("outside", f'[ "$3" = {has} ] && echo "{has} 9.9.9"')
    monkeypatch.setattr(installer, "find_spec", lambda name: None)
    monkeypatch.setenv(OUTSIDE, outside)
    tool = installer.choose(installer.runner(tmp_path / "log"))
    assert isinstance(tool, kind)
    assert (tool.words, tool.name) == ((outside, "-P", "-m", has), f"{has} 9.9.9")


def test_a_python_is_looked_for_on_the_path(bin_folder, tmp_path):
    """A shim that leads nowhere and one of another version are passed over."""
    bin_folder("python3.14", "exit 127")
    bin_folder("python3.13", "echo CPython 3.12.9")
    found = bin_folder("python3.12", "echo CPython 3.12.1")
    run = installer.runner(tmp_path / "log")
    assert installer.find_python("3.12.1", run) == found
    assert installer.find_python(">=3.13", run) == ""


def test_pip_cannot_bring_a_python(bin_folder, tmp_path):
    """It says which is missing."""
    with pytest.raises(StepFailedError, match=r"no Python 3\.12 on the PATH"):
        Pip(installer.runner(tmp_path / "log"), ("pip",), "pip 1").create(tmp_path / "env", "3.12")


@pytest.mark.parametrize("kind", [Uv, Pip])
def test_both_are_told_of_the_environment_and_of_hashes(kind, tmp_path):
    """Never the environment they themselves are in."""
    run = Told()
    tool = kind(run, ("tool",), "tool 1")
    tool.create(tmp_path, "")
    tool.install(tmp_path, ["-r", "x"], hashed=True)
    tool.install(tmp_path, ["y"])
    made, hashed, plain = run.commands
    assert sys.executable in made
    for command in (hashed, plain):
        assert command[command.index("--python") + 1] == str(tmp_path / "bin" / "python")
    assert "--require-hashes" in hashed
    assert "--require-hashes" not in plain


def test_uv_is_asked_for_a_python_that_the_path_lacks(bin_folder, tmp_path):
    """It may download one."""
    run = Told()
    Uv(run, ("uv",), "uv 1").create(tmp_path, "3.12")
    assert "3.12" in run.commands[0]


@pytest.mark.parametrize("kind", [Uv, Pip])
def test_what_is_missing_is_told_line_by_line(kind, tmp_path):
    """Nothing where all is there."""
    assert kind(Told(), ("tool",), "tool 1").missing(tmp_path) == []
    failed = StepFailedError(["The package `a` requires `b`"])
    run = Told(**{str(tmp_path / "bin" / "python"): failed, "check": failed})
    assert kind(run, ("tool",), "tool 1").missing(tmp_path) == ["The package `a` requires `b`"]

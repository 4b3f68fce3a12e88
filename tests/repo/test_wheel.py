"""What is published works: the wheel, built and installed into a clean environment, serves an app outside the repo."""

import json
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from modelapp import testing
from modelapp.cli.parser import SHELLS, TEMPLATES

pytestmark = pytest.mark.slow

APP = """
[app]
name = "outside"

[models.double]
source = "app.toml"
runtime = "null"

[models.double.null]
inputs = { x = "float32[batch, 2]" }
scale = 2.0

[endpoints.double]
model = "double"

[endpoints.double.input]
x = { type = "tensor", dtype = "float32", shape = [2] }
"""


def call(*words, cwd=None, env=None):
    """Run a command that must succeed."""
    done = subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(root, tmp_path_factory):
    """The wheel of this tree."""
    out = tmp_path_factory.mktemp("dist")
    call(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, cwd=root)
    (found,) = out.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def python(wheel, root, tmp_path_factory):
    """The Python of a clean environment with the wheel and all its extras."""
    folder = tmp_path_factory.mktemp("clean") / "venv"
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    constraints = root / "constraints.txt"
    call(python, "-m", "pip", "install", "--quiet", "-c", constraints, f"{wheel}[all]")
    return python


def test_the_wheel_holds_the_packages_and_nothing_else(wheel, packages):
    """No tests, no apps; each package with its py.typed; the licence."""
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {package.name for package in packages}
    assert {f"{package.name}/py.typed" for package in packages} <= set(names)
    assert [name for name in names if name.endswith("licenses/LICENSE")]
    assert [name for name in names if "__pycache__" in name] == []


def test_the_clean_environment_is_whole(python, tmp_path):
    """All plugins work with the extra "all", and nothing is imported from the repo."""
    call(python, "-m", "pip", "check")
    records = json.loads(call(python, "-m", "modelapp", "plugins", "--json", cwd=tmp_path))
    plugins = {plugin["name"]: plugin for plugin in records["plugins"]}
    assert {"null", "oip", "onnx", "openai", "python"} <= set(plugins)
    assert [name for name, plugin in plugins.items() if plugin["state"] != "ok"] == []
    where = call(python, "-c", "import modelapp; print(modelapp.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(python.parents[1])


def test_an_app_outside_the_repo_gets_its_answer(python, tmp_path, monkeypatch):
    """The installed command checks it, serves it, answers and stops."""
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setenv("PATH", f"{python.parent}{os.pathsep}{os.environ['PATH']}")
    project = testing.AppProject(tmp_path / "app").write(APP)
    checked = project.run("check")
    assert checked.exit_code == 0, checked
    with project.serve() as app:
        answer = app.post("/double", {"x": [1.5, -4]})
        assert (answer.status, answer.json()) == (200, {"x": [3.0, -8.0]}), app.output
        assert app.stop().exit_code == 0


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_new_app_of_the_installed_command_passes_its_tests(template, python, tmp_path, monkeypatch):
    """The templates are in the wheel, whole, and what an installer compiled of them is not in the app."""
    monkeypatch.setattr(sys, "executable", str(python))
    made = testing.AppProject(tmp_path).run("init", "shop", "--template", template)
    assert made.exit_code == 0, made
    assert list((tmp_path / "shop").rglob("*.pyc")) == []
    tested = testing.AppProject(tmp_path / "shop").run("test")
    assert tested.exit_code == 0, tested


@pytest.mark.parametrize("shell", SHELLS)
def test_the_scripts_for_shells_are_in_the_wheel(shell, python, tmp_path):
    """They are files beside the code, as the templates are."""
    assert "modelapp" in call(python, "-m", "modelapp", "completion", shell, cwd=tmp_path)

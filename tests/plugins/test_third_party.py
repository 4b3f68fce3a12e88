"""A stranger's runtime: a wheel of its own, installed, found by its entry point, listed, and served."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from modelapp.testing import AppProject

pytestmark = pytest.mark.slow

SOURCES = Path(__file__).parent / "third_party"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder that the wheel of modelapp-acme was installed into, to be put on PYTHONPATH."""
    work = tmp_path_factory.mktemp("acme")
    shutil.copytree(SOURCES, work / "sources")
    built = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", work / "dist", work / "sources"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = (work / "dist").glob("modelapp_acme-0.3-*.whl")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", work / "site", wheel]
    installed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert installed.returncode == 0, installed.stderr
    assert "modelapp_acme/runtime.py" in zipfile.ZipFile(wheel).namelist()
    return work / "site"


@pytest.fixture
def project(site, tmp_path):
    """The app of the plugin's page, in an environment where the plugin is installed."""
    shutil.copytree(SOURCES / "app", tmp_path / "app")
    path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))
    return AppProject(tmp_path / "app", env={"PYTHONPATH": path})


def test_it_is_listed_with_its_distribution(project):
    """Name, version, hooks and capabilities, as of any plugin that came with the product."""
    outcome = project.run("plugins", "--json")
    assert outcome.exit_code == 0, outcome
    acme = next(plugin for plugin in outcome.json()["plugins"] if plugin["name"] == "acme")
    assert (acme["distribution"], acme["version"], acme["state"]) == ("modelapp-acme", "0.3", "ok")
    assert acme["hooks"] == ["modelapp_runtimes"]
    (part,) = acme["parts"]
    assert (part["kind"], part["name"], part["capabilities"], part["ok"]) == ("runtime", "acme", ["tensors"], True)


def test_its_models_are_served(project):
    """Its options are read, its rows batched, its answers checked: a right answer comes out."""
    with project.serve() as app:
        answer = app.post("/gain", {"x": [1.0, 2.5]})
        assert (answer.status, answer.json()) == (200, {"y": [6.0, 15.0]}), app.output
        bad = app.post("/gain", {"x": "seven"})
        assert (bad.status, bad.json()["error"]["field"]) == (422, "x")


def test_the_apps_own_tests_pass(project):
    """`modelapp test` proves an app on a stranger's runtime as on any."""
    outcome = project.run("test", timeout_s=120)
    assert outcome.exit_code == 0, outcome


def test_its_options_are_read_strictly(project):
    """A misspelt key of the plugin's table is refused with the near name, by the plugin's own options class."""
    toml = project.folder / "app.toml"
    toml.write_text(toml.read_text().replace("gain = 2.0", "gian = 2.0"))
    outcome = project.run("check")
    assert outcome.exit_code == 3, outcome
    assert 'did you mean "gain"?' in outcome.stdout + outcome.stderr


def test_a_model_it_cannot_load_is_told(project):
    """The runtime's LoadError reaches the user without a traceback."""
    (project.folder / "factor.txt").write_text("many\n")
    outcome = project.run("run", "--set", "server.port=0")
    assert outcome.exit_code == 5, outcome
    assert 'should hold one number, it holds "many' in outcome.stderr
    assert "Traceback" not in outcome.stderr


def test_without_the_plugin_the_app_is_refused(project, tmp_path):
    """An app for a runtime that is not installed: the error says so, and what is installed."""
    outcome = AppProject(project.folder).run("check")
    assert outcome.exit_code == 3, outcome
    assert "acme" in outcome.stdout + outcome.stderr

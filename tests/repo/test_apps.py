"""The apps in apps/ are what app.toml files should look like."""

import subprocess
import sys
from pathlib import Path

import pytest

from modelapp.appschema import DIRECTIVE
from modelapp.loader import check_app, load_app
from modelapp.plugins import Plugins

APPS = sorted(path.parent for path in (Path(__file__).parents[2] / "apps").glob("*/app.toml"))


def test_there_are_apps():
    """The tests below run over what is found, which must not be nothing."""
    assert APPS


@pytest.mark.parametrize("folder", APPS, ids=[folder.name for folder in APPS])
def test_every_app_loads(folder):
    """Without a problem, with the plugins that come with the product."""
    assert load_app(folder / "app.toml", Plugins.load()).endpoints


@pytest.mark.parametrize("folder", APPS, ids=[folder.name for folder in APPS])
def test_every_app_brings_its_schema(folder):
    """Named by its first line, and what `modelapp schema --write` would write now."""
    reading = check_app(folder / "app.toml", Plugins.load())
    assert (folder / "app.toml").read_text().splitlines()[0] == DIRECTIVE
    assert [notice.message for notice in reading.notices if notice.code == "MA016"] == []


@pytest.mark.parametrize("folder", APPS, ids=[folder.name for folder in APPS])
@pytest.mark.parametrize(
    "words", [["taplo", "check", "--no-auto-config"], ["tombi", "lint", "--offline"]], ids=" ".join
)
def test_editors_accept_every_app(folder, words):
    """Their own tools find the schema by the first line, and nothing to complain about."""
    tool, *words = words
    command = [Path(sys.executable).parent / tool, *words, "app.toml"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("folder", APPS, ids=[folder.name for folder in APPS])
def test_every_app_tests_every_endpoint(folder):
    """An app without a test promises nothing."""
    app = load_app(folder / "app.toml", Plugins.load())
    tested = {test.endpoint or next(iter(app.endpoints)) for test in app.tests}
    assert tested == set(app.endpoints)


@pytest.mark.parametrize("folder", APPS, ids=[folder.name for folder in APPS])
def test_every_app_is_described(folder):
    """It says what it is, and apps/README.md lists it."""
    assert (folder / "README.md").exists()
    assert f"{folder.name}/" in (folder.parent / "README.md").read_text()


@pytest.mark.parametrize("folder", APPS, ids=[folder.name for folder in APPS])
def test_an_app_is_not_run_on_the_null_runtime(folder):
    """A scripted model covers no real one."""
    app = load_app(folder / "app.toml", Plugins.load())
    assert "null" not in {model.runtime for model in app.models.values()}


@pytest.mark.parametrize("folder", APPS, ids=[folder.name for folder in APPS])
def test_every_app_is_locked(folder):
    """Its app.lock is tracked and says what is here, with the versions of constraints.txt."""
    listed = ["git", "ls-files", "--error-unmatch", "app.lock"]
    assert subprocess.run(listed, cwd=folder, capture_output=True, check=False).returncode == 0
    command = [sys.executable, "-m", "modelapp", "lock", "--locked"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

"""What check says of [app] requirements and python."""

import platform

import pytest

from modelapp.errors import AppFileError
from modelapp.loader import read_app
from modelapp.plugins import Plugins

APP = """\
[app]
name = "small"
{lines}

[models.m]
source = "handlers.py:M"
runtime = "{runtime}"

[endpoints.e]
model = "m"
[endpoints.e.input]
x = "int"
[endpoints.e.output]
x = "int"
"""
HANDLERS = "class M:\n    def predict(self, rows: list[dict]) -> list[dict]: ...\n"
PLUGINS = Plugins.load(warn=False)


@pytest.fixture
def reading(write_app):
    """Reads an app with these lines in [app] and this requirements file."""

    def read(lines, requirements=None, runtime="python"):
        files = {"handlers.py": HANDLERS} | ({} if requirements is None else {"r.lock": requirements})
        return read_app(write_app(APP.format(lines=lines, runtime=runtime), files) / "app.toml", PLUGINS)

    return read


def problems(error):
    """(code, message, line) of each problem."""
    return [(one.code, one.message, one.line) for one in error.value.problems]


def test_an_environment_that_is_not_built_is_a_note(reading):
    """The file is valid; what was not looked at is said."""
    (notice,) = reading('requirements = "r.lock"', "numpy==2.2.6\n").notices
    assert (notice.code, notice.severity, notice.line) == ("MA093", "note", 3)


def test_a_runtime_that_only_the_environment_may_have_is_no_problem(reading):
    """Without requirements it is one."""
    assert reading('requirements = "r.lock"', "acme==1", runtime="acme").app.models["m"].runtime == "acme"
    with pytest.raises(AppFileError) as error:
        reading("", runtime="acme")
    assert problems(error)[0][0] == "MA030"


def test_a_line_that_is_refused_has_its_place_in_its_own_file(reading):
    """All of them, beside what is wrong with app.toml."""
    with pytest.raises(AppFileError) as error:
        reading('requirements = "r.lock"\nsead = 1', "a==1\nnumpy\n-e .\n")
    assert ("MA091", "numpy is not pinned", 2) in problems(error)
    assert ("MA091", "-e is not allowed here", 3) in problems(error)
    assert "MA010" in [code for code, _, _ in problems(error)]
    assert "r.lock:2:1" in str(error.value)


@pytest.mark.parametrize(
    ("name", "code"),
    [("none.lock", "MA090"), (".", "MA090"), ("/etc/passwd", "MA028"), ("../r.lock", "MA028"), ("a\\\\b", "MA028")],
)
def test_a_file_that_is_none_is_refused_where_it_is_named(name, code, reading):
    """Missing, a folder, or not below the app."""
    with pytest.raises(AppFileError) as error:
        reading(f'requirements = "{name}"', "a==1")
    assert [(found, line) for found, _, line in problems(error)] == [(code, 3)]


def test_a_near_name_is_offered_as_an_edit(reading):
    """The edit makes the file valid."""
    with pytest.raises(AppFileError) as error:
        reading('requirements = "r.lok"', "a==1")
    (problem,) = error.value.problems
    assert problem.edit.text == '"r.lock"'


def test_an_empty_file_is_refused(reading):
    """It would be an environment with nothing of the app's."""
    with pytest.raises(AppFileError) as error:
        reading('requirements = "r.lock"', "")
    assert problems(error) == [("MA090", "it pins no distribution", 3)]


@pytest.mark.parametrize("python", [".".join(platform.python_version_tuple()[:2]), ">=3.11", ">=3.11,<4"])
def test_the_running_python_may_be_the_wanted_one(python, reading):
    """As a version or as bounds."""
    assert reading(f'python = "{python}"').notices == ()


def test_another_python_is_refused_without_requirements(reading):
    """With them, the environment has the wanted one."""
    with pytest.raises(AppFileError) as error:
        reading('python = "3.99"')
    assert problems(error) == [("MA092", "the app is for Python 3.99", 3)]
    assert reading('python = "3.99"\nrequirements = "r.lock"', "a==1").app.app.python == "3.99"


@pytest.mark.parametrize("python", ["pypy3.11", "three", "3.11.*", ">3.x", "3.11.7.1"])
def test_what_names_no_python_is_refused_with_an_edit(python, reading):
    """Also where there are requirements."""
    with pytest.raises(AppFileError) as error:
        reading(f'python = "{python}"\nrequirements = "r.lock"', "a==1")
    (problem,) = error.value.problems
    assert (problem.code, problem.line) == ("MA092", 3)
    assert problem.edit is not None

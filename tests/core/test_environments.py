"""The environment of an app with requirements: its name, its locks, what is removed; and, slow, real ones at work."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import uuid
from pathlib import Path

import attrs
import pytest

from modelapp import environments
from modelapp.enclosure import FORMAT, MARKER
from modelapp.environments import Request
from modelapp.errors import SurroundingsError
from modelapp.requirements import parse
from modelapp.testing import AppProject

DAY_S = 86400


def request(text="numpy==2.2.6\n", root=Path(), python=""):
    """What an app with this requirements file asks for."""
    return Request(file="r.lock", requirements=parse(text, root), python=python)


def make(environment, **more):
    """Stands for a whole environment."""
    environment.python.parent.mkdir(parents=True)
    environment.python.symlink_to(sys.executable)
    made = {"format": FORMAT, "asked": environment.request.asked, **more}
    (environment.folder / MARKER).write_text(json.dumps(made))


def test_the_same_pins_have_the_same_environment():
    """Comments and empty lines make no other."""
    assert environments.of(request()).name == environments.of(request("# why\n\nnumpy == 2.2.6  # so\n")).name


@pytest.mark.parametrize(
    ("text", "python"),
    [
        ("numpy==2.2.7\n", ""),
        ("numpy==2.2.6 --hash=sha256:aa\n", ""),
        ("numpy==2.2.6 ; python_version > '3'\n", ""),
        ("numpy==2.2.6\nattrs==1\n", ""),
        ("--index-url https://a.org\nnumpy==2.2.6\n", ""),
        ("numpy==2.2.6\n", "3.99"),
    ],
)
def test_what_the_app_asks_for_decides(text, python):
    """A pin, a hash, a marker, where to look, the Python."""
    assert environments.of(request(text, python=python)).name != environments.of(request()).name


def test_what_modelapp_is_decides_too(monkeypatch):
    """Another version, another place, other code under the same version."""
    own, name = environments.installation(), environments.of(request()).name
    for change in ({"version": "9"}, {"words": ("-e", "/x")}, {"stamp": "other"}):
        monkeypatch.setattr(environments, "installation", lambda change=change: attrs.evolve(own, **change))
        assert environments.of(request()).name != name


def test_another_wheel_beside_the_app_is_another_environment(tmp_path):
    """Under the same name and version."""
    wheel = tmp_path / "wheels" / "a-1-py3-none-any.whl"
    wheel.parent.mkdir()
    wheel.write_bytes(b"one")
    first = environments.of(request("-f wheels\na==1", tmp_path)).name
    wheel.write_bytes(b"another")
    assert environments.of(request("-f wheels\na==1", tmp_path)).name != first


def test_a_process_knows_whether_it_is_inside(monkeypatch):
    """By what its own environment was made from, whatever variables say."""
    environment = environments.of(request())
    assert not environments.is_inside(environment.request)
    make(environment)
    monkeypatch.setattr(sys, "prefix", str(environment.folder))
    assert environments.is_inside(environment.request)
    assert not environments.is_inside(request("numpy==2.2.7\n"))


def test_an_environment_without_its_marker_or_its_python_is_not_built():
    """An interrupted build, and a Python that was removed."""
    environment = environments.of(request())
    assert not environment.is_built
    make(environment)
    assert environment.is_built
    environment.python.unlink()
    assert not environment.is_built
    environment.python.symlink_to("/nowhere/python")
    assert not environment.is_built


def test_a_folder_that_cannot_be_written_is_told(monkeypatch, tmp_path):
    """Where, and what to do."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(SurroundingsError, match="cannot be built in") as raised:
        environments.hold(environments.of(request()))
    assert "XDG_CACHE_HOME" in raised.value.help


def aged(environment, days, **more):
    """A whole environment that was last used so long ago."""
    make(environment, **more)
    used_s = time.time() - days * DAY_S
    os.utime(environment.folder / MARKER, (used_s, used_s))
    return environment


def test_what_nobody_used_for_long_is_removed():
    """Neither what was used lately, nor the one that was just built."""
    kept = aged(environments.of(request("a==1")), 99)
    late = aged(environments.of(request("a==2")), environments.UNUSED_DAYS - 1)
    old = aged(environments.of(request("a==3")), environments.UNUSED_DAYS + 1)
    environments.remove_unused(kept)
    assert (kept.is_built, late.is_built, old.folder.exists()) == (True, True, False)


def test_what_is_in_use_is_never_removed():
    """However long ago it was started; once it has ended, it is."""
    old, kept = environments.of(request("a==1")), aged(environments.of(request("a==2")), 0)
    aged(old, 99)
    held = environments.hold(old)
    aged_s = time.time() - 99 * DAY_S
    os.utime(old.folder / MARKER, (aged_s, aged_s))
    environments.remove_unused(kept)
    assert old.is_built
    os.close(held)
    environments.remove_unused(kept)
    assert not old.folder.exists()


def test_what_is_being_built_is_never_removed():
    """Its marker is yet to come, its folder may be old."""
    old, kept = environments.of(request("a==1")), aged(environments.of(request("a==2")), 0)
    old.folder.mkdir()
    aged_s = time.time() - 99 * DAY_S
    os.utime(old.folder, (aged_s, aged_s))
    with environments.locked(old.lock, fcntl.LOCK_EX):
        environments.remove_unused(kept)
        assert old.folder.exists()
    environments.remove_unused(kept)
    assert not old.folder.exists()


def test_to_use_it_is_to_keep_it():
    """The day of the last use is the marker's."""
    old = aged(environments.of(request("a==1")), 99)
    os.close(environments.hold(old))
    environments.remove_unused(aged(environments.of(request("a==2")), 0))
    assert old.is_built


APP = """\
[app]
name = "numbers"
requirements = "requirements.lock"
{more}

[models.where]
source = "handlers.py:Where"
runtime = "python"

[endpoints.where]
model = "where"
[endpoints.where.input]
module = "str"
[endpoints.where.output]
version = "str"
prefix = "str"
python = "str"
leaks = "list[str]"

[[tests]]
name = "answers"
input = {{ module = "sys" }}
expect_match = {{ prefix = "environments/" }}
"""
HANDLERS = """\
import importlib
import os
import platform
import sys


class Where:
    def predict(self, rows: list[dict]) -> list[dict]:
        return [self._one(row["module"]) for row in rows]

    def _one(self, module: str) -> dict:
        found = importlib.import_module(module)
        return {
            "version": str(getattr(found, "__version__", "")),
            "prefix": sys.prefix,
            "python": platform.python_version(),
            "leaks": [name for name in ("PYTHONPATH", "PYTHONHOME") if name in os.environ]
            + [path for path in sys.path if "stray-modules" in path],
        }
"""


@pytest.fixture(scope="session")
def downloads(tmp_path_factory):
    """Where installers keep what they fetched, for all tests of this file."""
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture
def variables(downloads, tmp_path):
    """An own cache of environments, a shared one of downloads, and uv beside this Python."""
    return {
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "UV_CACHE_DIR": str(downloads / "uv"),
        "PIP_CACHE_DIR": str(downloads / "pip"),
        "UV_PYTHON_DOWNLOADS": "never",
    }


@pytest.fixture
def project(tmp_path, variables):
    """An app with requirements: project(text, name=, more=)."""

    def write(text, *, name="app", more="", env=None):
        made = AppProject(tmp_path / name, env={**variables, **(env or {})})
        made.write(APP.format(more=more), {"handlers.py": HANDLERS, "requirements.lock": text})
        return made

    return write


def ask(project, module="sys"):
    """What the app answers about a module in it."""
    outcome = project.run("predict", f"module={module}", "--json", timeout_s=300)
    assert outcome.exit_code == 0, outcome
    return outcome.json()["answer"], outcome.stderr


@pytest.mark.slow
def test_two_apps_with_two_versions_of_numpy_run_side_by_side(project):
    """At the same time, each with its own."""
    one, two = project("numpy==2.2.6\n", name="one"), project("numpy==2.4.4\n", name="two")
    for each in (one, two):
        ask(each)
    with one.serve() as first, two.serve() as second:
        versions = [app.post("/where", {"module": "numpy"}).json() for app in (first, second)]
    assert [found["version"] for found in versions] == ["2.2.6", "2.4.4"]
    assert versions[0]["prefix"] != versions[1]["prefix"]
    for each in (one, two):
        outcome = each.run("test", timeout_s=120)
        assert outcome.exit_code == 0, outcome


def built(project):
    """The environments of a project's cache that are whole, by name: what is in the marker, and when it was built."""
    home = Path(project.env["XDG_CACHE_HOME"]) / "modelapp" / "environments"
    logs = {
        path.parent.name: path.parent.with_name(f"{path.parent.name}.log").stat() for path in home.glob(f"*/{MARKER}")
    }
    return {name: (log.st_ino, log.st_mtime_ns, log.st_size) for name, log in logs.items()}


@pytest.mark.slow
def test_the_second_start_builds_nothing_and_needs_no_network(project):
    """The log of the build is untouched, nothing is told, and no installer or index could be reached."""
    app = project("tomli==2.4.0\n")
    _, notes = ask(app)
    assert [line.split()[1] for line in notes.splitlines() if line.startswith("environment:")] == [
        *("building", "installing", "installing"),
        "ready",
    ]
    first = built(app)
    app.env |= {"PATH": "/nowhere", "UV_OFFLINE": "1", "PIP_NO_INDEX": "1", "PIP_INDEX_URL": "http://127.0.0.1:9/"}
    answer, notes = ask(app)
    assert Path(answer["prefix"]).name in first
    assert "environment:" not in notes
    assert built(app) == first


@pytest.mark.slow
def test_nothing_of_the_outer_environment_leaks_in(project, tmp_path):
    """Neither its variables nor its paths; the app's environment is the one that programs it starts are in."""
    (tmp_path / "stray-modules").mkdir()
    app = project("tomli==2.4.0\n", env={"PYTHONPATH": str(tmp_path / "stray-modules")})
    answer, _ = ask(app)
    assert answer["leaks"] == []
    assert Path(answer["prefix"]).parent == tmp_path / "cache" / "modelapp" / "environments"


@pytest.mark.slow
def test_the_command_becomes_the_one_in_the_environment(project, background):
    """The same process, by its id, so that signals and whoever started it notice nothing; -C and --set go along."""
    app = project("tomli==2.4.0\n")
    command = background("-C", app.folder, "run", "--set", "server.port=0", "--json", cwd=Path("/"), env=app.env)
    until_s = time.monotonic() + 120
    while not command.stdout and command.process.poll() is None and time.monotonic() < until_s:
        time.sleep(0.05)
    document = json.loads(command.stdout)
    assert document["pid"] == command.process.pid, command.stderr
    program = Path(f"/proc/{command.process.pid}/cmdline").read_bytes().split(b"\0")[0].decode()
    (name,) = built(app)
    assert name in program
    command.process.send_signal(signal.SIGINT)
    assert command.process.wait(60) == 0, command.stderr


@pytest.mark.slow
def test_overrides_and_profiles_choose_the_requirements(project):
    """As for every other key."""
    app = project("tomli==2.4.0\n", more="[profiles.old.app]\nrequirements = 'old.lock'")
    (app.folder / "old.lock").write_text("tomli==2.4.1\n")
    (app.folder / "new.lock").write_text("tomli==2.5.0\n")
    inside = ("predict", "module=tomli", "--json", "-v")
    for words in ((), ("--profile", "old"), ("--set", "app.requirements='new.lock'")):
        outcome = app.run(*inside, *words, timeout_s=120)
        assert outcome.exit_code == 0, outcome
    home = Path(app.env["XDG_CACHE_HOME"]) / "modelapp" / "environments"
    pins = [json.loads(path.read_text())["pins"]["tomli"] for path in home.glob(f"*/{MARKER}")]
    assert sorted(pins) == ["2.4.0", "2.4.1", "2.5.0"]


BACKEND = """\
import os, time, zipfile
def build_wheel(folder, config_settings=None, metadata_directory=None):
    open(os.environ["GATE"] + ".reached", "a").close()
    while not os.path.exists(os.environ["GATE"]):
        time.sleep(0.02)
    name = "gated-1.0-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(folder, name), "w") as wheel:
        wheel.writestr("gated.py", "__version__ = '1.0'\\n")
        info = "gated-1.0.dist-info/"
        wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\\nName: gated\\nVersion: 1.0\\n")
        wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(info + "RECORD", "")
    return name
"""


@pytest.fixture
def gated(project, tmp_path):
    """An app whose build stands still until the file `gate` exists: its requirement is built from source."""
    source = tmp_path / "gated-1.0"
    source.mkdir()
    # Installers keep what they built by the digest of its source.
    (source / "backend.py").write_text(f"# {uuid.uuid4()}\n{BACKEND}")
    (source / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "gated"\nversion = "1.0"\n'
    )
    (source / "PKG-INFO").write_text("Metadata-Version: 2.2\nName: gated\nVersion: 1.0\n")
    (tmp_path / "app" / "wheels").mkdir(parents=True)
    with tarfile.open(tmp_path / "app" / "wheels" / "gated-1.0.tar.gz", "w:gz") as file:
        file.add(source, "gated-1.0")
    app = project("--find-links wheels\ngated==1.0\n", env={"GATE": str(tmp_path / "gate")})
    app.gate = tmp_path / "gate"
    return app


def wait_until(condition, *commands):
    """Wait for something that must come, while commands run."""
    until_s = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < until_s, [command.stderr for command in commands]
        time.sleep(0.02)


@pytest.mark.slow
def test_two_commands_at_once_build_once(gated, background):
    """The second waits, says so, and uses what the first has built."""
    first = background("predict", "module=gated", "--json", cwd=gated.folder, env=gated.env)
    wait_until(gated.gate.with_suffix(".reached").exists, first)
    second = background("predict", "module=gated", "--json", cwd=gated.folder, env=gated.env)
    wait_until(lambda: "another process builds it, waiting" in second.stderr, second)
    gated.gate.touch()
    assert (first.process.wait(120), second.process.wait(120)) == (0, 0), first.stderr + second.stderr
    assert "building it" in first.stderr
    assert "building it" not in second.stderr
    assert json.loads(first.stdout)["answer"] == json.loads(second.stdout)["answer"]
    assert len(built(gated)) == 1


@pytest.mark.slow
def test_a_build_that_was_killed_is_begun_again(gated, background):
    """The next command waits for the installer that was left, then throws away what it made."""
    killed = background("test", cwd=gated.folder, env=gated.env)
    wait_until(gated.gate.with_suffix(".reached").exists, killed)
    killed.process.send_signal(signal.SIGKILL)
    killed.process.wait()
    assert built(gated) == {}
    again = background("predict", "module=gated", "--json", cwd=gated.folder, env=gated.env)
    wait_until(lambda: "another process builds it, waiting" in again.stderr or again.process.poll() is not None, again)
    gated.gate.touch()
    assert again.process.wait(120) == 0, again.stderr
    assert "building it" in again.stderr
    assert json.loads(again.stdout)["answer"]["version"] == "1.0"
    assert len(built(gated)) == 1


@pytest.mark.slow
def test_a_pin_that_modelapp_cannot_have_is_told_with_both_sides(project):
    """The line, what modelapp needs, and the installer's own words; status 5, and nothing half built."""
    app = project("tomli==2.4.0\npluggy==1.5.0\n")
    outcome = app.run("test", timeout_s=120)
    assert outcome.exit_code == 5, outcome
    assert "requirements.lock line 2 pins pluggy 1.5.0, and modelapp" in outcome.stderr
    assert "needs pluggy>=1.6" in outcome.stderr
    assert "  | " in outcome.stderr
    assert built(app) == {}


@pytest.mark.slow
def test_a_token_of_an_index_reaches_no_output(project):
    """Not when it fails, in the file or in a variable, nor in what is kept."""
    for name, text, env in (
        ("file", "--index-url http://me:t0ken@127.0.0.1:9/simple\ntomli==2.4.0\n", {}),
        ("variable", "tomli==2.4.0\n", {"UV_DEFAULT_INDEX": "http://me:t0ken@127.0.0.1:9/simple"}),
        ("line", "--wrong http://me:t0ken@127.0.0.1:9/simple\ntomli==2.4.0\n", {}),
    ):
        app = project(text, name=name, env={**env, "UV_HTTP_RETRIES": "0", "PIP_RETRIES": "0", "UV_NO_CACHE": "1"})
        outcome = app.run("test", "-vv", timeout_s=120)
        assert outcome.exit_code == (3 if name == "line" else 5), outcome
        assert "t0ken" not in outcome.stdout + outcome.stderr
        logs = Path(app.env["XDG_CACHE_HOME"]).rglob("*.log")
        assert "t0ken" not in "".join(log.read_text() for log in logs)


@pytest.mark.slow
def test_a_runtime_whose_library_is_not_pinned_is_told(project):
    """What it lacks, and the file to pin it in."""
    app = project("tomli==2.4.0\n")
    toml = (app.folder / "app.toml").read_text()
    (app.folder / "app.toml").write_text(
        toml.replace("handlers.py:Where", "m.onnx").replace('"python"\n\n[end', '"onnx"\n\n[end')
    )
    (app.folder / "m.onnx").touch()
    outcome = app.run("run", "--set", "server.port=0", timeout_s=120)
    assert outcome.exit_code == 5, outcome
    assert "it lacks the package onnxruntime; pin it in requirements.lock" in outcome.stderr


@pytest.mark.slow
def test_a_plugin_that_only_the_environment_has_works(tmp_path, variables):
    """Its wheel lies beside the app; check says that it was not looked at, until the environment is built."""
    sources = Path(__file__).parents[1] / "plugins" / "third_party"
    shutil.copytree(sources, tmp_path / "sources")
    shutil.copytree(sources / "app", tmp_path / "app")
    words = ["-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path / "app" / "wheels", tmp_path / "sources"]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    app = AppProject(tmp_path / "app", env=variables)
    toml = (app.folder / "app.toml").read_text()
    (app.folder / "app.toml").write_text(toml.replace('name = "gain"', 'name = "gain"\nrequirements = "r.lock"', 1))
    (app.folder / "r.lock").write_text("--find-links wheels\nmodelapp-acme==0.3\n")
    before = app.run("check", "--json")
    assert before.exit_code == 0, before
    assert "MA093" in [notice["code"] for notice in before.json()["notices"]]
    listed = app.run("plugins", "--json").json()
    assert (listed["environment"]["built"], [one["name"] for one in listed["plugins"] if one["name"] == "acme"]) == (
        False,
        [],
    )
    tested = app.run("test", timeout_s=300)
    assert tested.exit_code == 0, tested
    after = app.run("check", "--json")
    assert (after.exit_code, after.json()["notices"]) == (0, []), after
    listed = app.run("plugins", "--json").json()
    assert (listed["environment"]["built"], [one["name"] for one in listed["plugins"] if one["name"] == "acme"]) == (
        True,
        ["acme"],
    )
    (app.folder / "app.toml").write_text((app.folder / "app.toml").read_text().replace("gain = 2.0", "gian = 2.0"))
    assert 'did you mean "gain"?' in app.run("check").stdout


def other_python():
    """A Python 3.12 or newer of this machine that is not the running one; "" where there is none."""
    known = [*(Path(folder) for folder in os.environ["PATH"].split(":")), *Path.home().glob(".pyenv/versions/*/bin")]
    for folder in known:
        for minor in (12, 13):
            program = folder / f"python3.{minor}"
            if minor == sys.version_info.minor or not program.exists():
                continue
            done = subprocess.run([program, "-c", "import venv"], capture_output=True, check=False)
            if done.returncode == 0:
                return str(program)
    return ""


@pytest.mark.slow
def test_an_app_may_have_another_python(project):
    """One that is on the PATH; the app runs in it."""
    program = other_python()
    if not program:
        pytest.skip("this machine has no second Python from 3.12 on")
    version = Path(program).name.removeprefix("python")
    path = f"{Path(program).parent}:{os.environ['PATH']}"
    app = project("tomli==2.4.0\n", more=f'python = "{version}"', env={"PATH": path})
    answer, _ = ask(app)
    assert answer["python"].startswith(f"{version}.")
    _, notes = ask(app)
    assert "environment:" not in notes


@pytest.mark.slow
def test_a_python_that_is_nowhere_is_told(project):
    """Status 5, with which one is wanted and which is here."""
    outcome = project("tomli==2.4.0\n", more='python = "3.99"').run("test", timeout_s=120)
    assert outcome.exit_code == 5, outcome
    assert "asks for Python 3.99, this is Python 3." in outcome.stderr


@pytest.fixture(scope="module")
def pip_only(tmp_path_factory, downloads):
    """A Python with modelapp from a wheel, and pip; uv is not there."""
    work = tmp_path_factory.mktemp("outer")
    env = {**os.environ, "PIP_CACHE_DIR": str(downloads / "pip")}

    def call(*words):
        done = subprocess.run([str(word) for word in words], capture_output=True, text=True, env=env, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    root = Path(__file__).parents[2]
    call(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", work / "dist", root)
    (wheel,) = (work / "dist").glob("modelapp-*.whl")
    call(sys.executable, "-m", "venv", work / "env")
    call(work / "env" / "bin" / "python", "-m", "pip", "install", "--quiet", wheel)
    return work / "env" / "bin" / "python"


def distributions(project):
    """What is in the one environment of a project: names with versions."""
    (name,) = built(project)
    home = Path(project.env["XDG_CACHE_HOME"]) / "modelapp" / "environments" / name
    return sorted(path.name for path in home.glob("lib/python*/site-packages/*.dist-info"))


@pytest.mark.slow
def test_pip_builds_the_same_environment_as_uv(project, pip_only, tmp_path):
    """With modelapp from a wheel, which is installed from it again; neither leaves an installer behind."""
    by_uv = project("tomli==2.4.0\n")
    ask(by_uv)
    by_pip = project(
        "tomli==2.4.0\n", name="pip", env={"PATH": "/usr/bin:/bin", "XDG_CACHE_HOME": str(tmp_path / "other")}
    )
    words = [pip_only, "-m", "modelapp", "predict", "module=sys", "--json"]
    done = subprocess.run(
        words, cwd=by_pip.folder, env={**os.environ, **by_pip.env}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "pip" in done.stderr.splitlines()[0]
    assert ".whl" in done.stderr
    assert json.loads(done.stdout)["answer"]["prefix"].startswith(str(tmp_path / "other"))
    assert distributions(by_pip) == distributions(by_uv)
    (by_pip.folder / "requirements.lock").write_text(f"tomli==2.4.0 --hash=sha256:{'0' * 64}\n")
    done = subprocess.run(
        words, cwd=by_pip.folder, env={**os.environ, **by_pip.env}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 5, done.stderr
    assert "hash" in done.stderr.lower()


@pytest.mark.slow
def test_a_call_within_a_program_does_not_replace_the_program(project):
    """`main` with words of its own runs the command and gives its status."""
    app = project("tomli==2.4.0\n")
    code = "from modelapp.cli import main; print('status', main(['test', '--json']), flush=True)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=app.folder,
        env={**os.environ, **app.env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines()[-1] == "status 0", done.stdout + done.stderr
    assert json.loads(done.stdout.splitlines()[0])["verdict"] == "pass"

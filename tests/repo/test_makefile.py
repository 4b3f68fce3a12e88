"""The two commands: what they run, what they say where something is missing, and that they work on a bare machine."""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from modelapp.testing import free_port


def make(*words, folder, env=None):
    """Run make without the variables of this test run."""
    clean = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "PYTHON")}
    env = {**clean, **(env or {})}
    return subprocess.run(["make", *words], cwd=folder, env=env, capture_output=True, text=True, check=False)


@pytest.fixture
def bare(root, tmp_path):
    """A folder with what make needs to begin, and no environment."""
    for name in ("Makefile", "constraints.txt", "pyproject.toml"):
        shutil.copy(root / name, tmp_path)
    return tmp_path


def fake_python(folder, *, version_ok, venv_ok):
    """A Python that answers the two questions of the Makefile."""
    path = folder / "fake-python"
    path.write_text(
        "#!/bin/sh\n"
        'case "$*" in\n'
        '  -V) echo "Python 3.9.2" ;;\n'
        f"  *version_info*) exit {int(not version_ok)} ;;\n"
        f"  *ensurepip*) exit {int(not venv_ok)} ;;\n"
        "  *) exit 9 ;;\n"
        "esac\n"
    )
    path.chmod(0o755)
    return path


def test_the_port_of_the_demo_is_a_variable(bare):
    """8000 unless PORT says otherwise."""
    assert "--set server.port=8000 run" in make("-n", "demo", folder=bare).stdout
    assert "--set server.port=8123 run" in make("-n", "demo", "PORT=8123", folder=bare).stdout


def test_an_old_python_is_refused_with_the_way_to_name_another(bare):
    """Before anything is made."""
    python = fake_python(bare, version_ok=False, venv_ok=True)
    done = make("demo", f"PYTHON={python}", folder=bare)
    assert done.returncode != 0
    assert f"modelapp needs Python 3.11 or newer; {python} is Python 3.9.2" in done.stderr
    assert not (bare / ".venv").exists()


def test_a_python_without_venv_is_told_with_the_package_that_brings_it(bare):
    """Debian splits it off."""
    python = fake_python(bare, version_ok=True, venv_ok=False)
    done = make("test", f"PYTHON={python}", folder=bare)
    assert done.returncode != 0
    assert f"{python} lacks the venv module. On Debian: apt install python3-venv" in done.stderr


def test_no_python_at_all_is_told(bare):
    """With what to install."""
    done = make("demo", "PYTHON=", folder=bare)
    assert done.returncode != 0
    assert "no Python found. Install Python 3.11 or newer: apt install python3 python3-venv" in done.stderr


def test_nothing_is_installed_twice(bare):
    """Only a change of pyproject.toml or constraints.txt installs again."""
    (bare / ".venv" / "bin").mkdir(parents=True)
    for name in ("bin/python", ".pip", ".product", ".development"):
        (bare / ".venv" / name).touch()
    later = time.time() + 5
    for name in (".pip", ".product", ".development"):
        os.utime(bare / ".venv" / name, (later, later))
    assert "install" not in make("-n", "demo", folder=bare).stdout
    os.utime(bare / "pyproject.toml", (later + 5, later + 5))
    demo = make("-n", "demo", folder=bare).stdout
    assert "-e '.[onnx,grpc,metrics,models]'" in demo
    assert "[all]" not in demo  # which holds PyTorch, and the demo needs none
    assert "-e '.[all]'" in make("-n", "test", folder=bare).stdout


def test_continuous_integration_runs_make_test(root):
    """So that a green CI means what it means on a desk."""
    script = root / ".ci" / "run"
    assert script.read_text().rstrip().endswith("make test")
    assert os.access(script, os.X_OK)


@pytest.fixture(scope="module")
def clone(root, tmp_path_factory):
    """What a fresh clone of this tree holds."""
    folder = tmp_path_factory.mktemp("clone") / "modelapp"
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=root, capture_output=True, check=True).stdout.decode().split("\0")
    for name in filter(None, names):
        if (root / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / name, folder / name)
    return folder


@pytest.mark.slow
def test_the_demo_answers_on_a_bare_machine(clone):
    """make demo in a fresh clone: a server whose printed command gives the answer in README.md, and a clean end."""
    port = free_port()
    path = os.pathsep.join(word for word in os.environ["PATH"].split(os.pathsep) if ".venv" not in word)
    env = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "MAKEFLAGS", "MAKELEVEL")}
    log = clone / "demo.log"
    with log.open("wb") as output:
        demo = subprocess.Popen(
            ["make", "demo", f"PORT={port}"],
            cwd=clone,
            env={**env, "PATH": path},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        _wait_ready(port, demo, log)
        command, answer = _readme(clone)
        command = command.replace("127.0.0.1:8000", f"127.0.0.1:{port}")
        assert command in log.read_text()
        done = subprocess.run(shlex.split(command), cwd=clone, capture_output=True, check=True)
        assert _same(json.loads(done.stdout), answer), done.stdout
    finally:
        os.killpg(demo.pid, signal.SIGINT)
        demo.wait(60)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.slow
def test_a_taken_port_is_told(clone):
    """Not a second server on it in silence."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = make("demo", f"PORT={port}", folder=clone)
    assert done.returncode != 0
    assert f"port {port} on 127.0.0.1 is taken by another process" in done.stderr
    assert "Traceback" not in done.stderr


def _readme(folder):
    """The command that README.md shows, and the answer it shows for it."""
    text = (folder / "README.md").read_text()
    command = re.search(r"^\$ (curl .*)$", text, re.MULTILINE)[1]
    return command, json.loads(re.search(r"^```json\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)[1])


def _same(one, other):
    """Equal, scores within half a hundredth: their last digits differ from processor to processor."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return abs(one - other) < 0.005 if isinstance(one, float) and isinstance(other, float) else one == other


def _wait_ready(port, process, log: Path):
    until = time.monotonic() + 400
    while time.monotonic() < until:
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz"):
                return
        except OSError:
            time.sleep(0.3)
    raise AssertionError(f"not ready\n{log.read_text()}")

"""The harness for authors: a clock that only a test moves, and real processes that are never left behind."""

import contextlib
import os
import signal
import time
from pathlib import Path

import pytest

from modelapp.testing import AppProject, DidNotHappenError, FakeClock, free_port, proof

APP = """
[app]
name = "harness"

[models.m]
source = "app.toml"
runtime = "null"

[models.m.null]
inputs = { x = "float32[batch, 2]" }
OPTIONS

[endpoints.m]
model = "m"

[endpoints.m.input]
x = { type = "tensor", dtype = "float32", shape = [2] }
"""


def app(options=""):
    return APP.replace("OPTIONS", options)


def alive(pid):
    """Whether the process runs; a zombie does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rsplit(")", 1)[1].split()[0] != "Z"


def children(pid):
    """The processes started by `pid`, by any of its threads."""
    return [
        int(word) for task in Path(f"/proc/{pid}/task").iterdir() for word in (task / "children").read_text().split()
    ]


def started_from(folder):
    """The processes with `folder` in their command line."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and alive(process.name):
            with contextlib.suppress(OSError):  # it ended meanwhile
                if str(folder).encode() in (process / "cmdline").read_bytes():
                    found.append(int(process.name))
    return found


def wait_for(condition):
    """Wait, ten seconds at most, until `condition` holds."""
    until = time.monotonic() + 10
    while not condition() and time.monotonic() < until:
        time.sleep(0.05)
    assert condition()


def test_the_clock_stands_until_it_is_moved():
    """And does not run back."""
    clock = FakeClock(5)
    assert (clock(), clock()) == (5, 5)
    clock.advance(0.25)
    assert clock() == 5.25
    with pytest.raises(ValueError, match="does not run back"):
        clock.advance(-1)


def test_a_project_writes_its_files(tmp_path):
    """Texts and bytes, in folders that it makes."""
    AppProject(tmp_path / "a" / "b").write(app(), {"data/x.bin": b"\x00"}, handlers="x = 1\n")
    assert (tmp_path / "a/b/app.toml").read_text() == app()
    assert (tmp_path / "a/b/data/x.bin").read_bytes() == b"\x00"
    assert (tmp_path / "a/b/handlers.py").read_text() == "x = 1\n"


def test_a_command_is_run_to_its_end(tmp_path):
    """With exit code and both outputs, apart."""
    project = AppProject(tmp_path).write(app())
    assert project.run("plugins", "--json").json()["schema_version"] == 1
    outcome = project.run("no-such-verb")
    assert (outcome.exit_code, outcome.stdout) == (2, "")
    assert "no-such-verb" in outcome.stderr
    with pytest.raises(ValueError, match="no JSON document on stdout"):
        outcome.json()


def test_variables_reach_the_command(tmp_path):
    """Those of the project, and those of the call over them."""
    project = AppProject(tmp_path, env={"MODELAPP_DISABLE_PLUGINS": "oip"}).write(app())

    def disabled(outcome):
        return [plugin["name"] for plugin in outcome.json()["plugins"] if plugin["state"] == "disabled"]

    assert disabled(project.run("plugins", "--json")) == ["oip"]
    assert disabled(project.run("plugins", "--json", env={"MODELAPP_DISABLE_PLUGINS": "onnx"})) == ["onnx"]


def test_an_app_is_served_and_gone_afterwards(tmp_path):
    """Ready when the block begins; stopped, replica and all, when it ends."""
    project = AppProject(tmp_path).write(app("scale = 2.0"))
    with project.serve() as served:
        assert served.ask("GET", "/readyz").status == 200
        answer = served.post("/m", {"x": [1, 2]})
        assert (answer.status, answer.json()) == (200, {"x": [2.0, 4.0]})
        assert answer.headers["content-type"] == "application/json"
        family = [served.pid, *children(served.pid)]
        assert len(family) == 2
    wait_for(lambda: not any(map(alive, family)))


def test_stopping_gives_the_outcome(tmp_path):
    """The exit code of a graceful stop is 0."""
    with AppProject(tmp_path).write(app()).serve() as served:
        outcome = served.stop()
    assert outcome.exit_code == 0, outcome


def test_an_app_that_does_not_start_is_told_with_its_output(tmp_path):
    """Not waited for until the time is over."""
    project = AppProject(tmp_path).write(app('load_error = "the weights are not here"'))
    expected = r"ended before it was ready[\s\S]*the weights are not here"
    with pytest.raises(DidNotHappenError, match=expected), project.serve(timeout_s=60):
        pass


def test_an_app_that_takes_too_long_is_ended(tmp_path):
    """The text holds what it said so far, and no process is left."""
    project = AppProject(tmp_path).write(app("load_delay_ms = 60000"))
    with pytest.raises(DidNotHappenError, match=r"not ready within 2 s"), project.serve(timeout_s=2):
        pass
    wait_for(lambda: started_from(tmp_path) == [])


def test_a_test_that_fails_leaves_no_process(tmp_path):
    """The exception passes, the app is ended."""
    family = []

    def failing_test():
        with AppProject(tmp_path).write(app()).serve() as served:
            family.extend([served.pid, *children(served.pid)])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing_test()
    assert len(family) == 2
    wait_for(lambda: not any(map(alive, family)))


def test_a_killed_app_is_seen(tmp_path):
    """A negative exit code names the signal."""
    with AppProject(tmp_path).write(app()).serve() as served:
        os.kill(served.pid, signal.SIGKILL)
        assert served.stop().exit_code == -signal.SIGKILL


def test_an_app_is_proven_by_its_own_tests(tmp_path):
    """`proof` names the app by a file one folder below it; a failure carries what the command printed."""
    tested = app("scale = 2.0") + '[[tests]]\nname = "twice"\ninput = { x = [1, 2] }\nexpect = { x = [2, 4] }\n'
    AppProject(tmp_path).write(tested)
    prove = proof(tmp_path / "conformance" / "test_app.py")
    assert prove() is None
    AppProject(tmp_path).write(tested.replace("[2, 4]", "[2, 5]"))
    with pytest.raises(AssertionError, match=r"does not pass its tests\n[\s\S]*exit 1\n[\s\S]*FAIL  twice"):
        prove()
    (tmp_path / "empty").mkdir()
    with pytest.raises(AssertionError, match=r"exit 3\n"):
        proof(tmp_path / "empty" / "conformance" / "test_app.py")()


def test_free_ports_are_free():
    """Two in a row may be the same; each can be bound."""
    assert 1024 <= free_port() <= 65535

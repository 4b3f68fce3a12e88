"""The record of a running app."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from modelapp import running
from modelapp.running import birth, clear, find, record, write

URL = "http://127.0.0.1:8000"


def test_what_is_written_is_found(tmp_path: Path) -> None:
    """The record of this process comes back whole."""
    mine = record(URL, "0123456789abcdef", "secret")
    assert write(tmp_path, mine) == ""
    assert find(tmp_path) == mine
    assert mine.pid == os.getpid()


def test_only_its_user_reads_the_token(tmp_path: Path) -> None:
    """The file is readable by its owner alone, and the token is left out of what is printed."""
    mine = record(URL, "release", "secret")
    write(tmp_path, mine)
    mode = (tmp_path / ".modelapp" / "running.json").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600
    assert "secret" not in repr(mine)


def test_a_lax_older_file_is_replaced_by_a_private_one(tmp_path: Path) -> None:
    """The mode does not depend on what lay there before."""
    path = tmp_path / ".modelapp" / "running.json"
    path.parent.mkdir()
    path.write_text("{}")
    path.chmod(0o644)
    write(tmp_path, record(URL, "release", "secret"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_folder_is_hidden_from_git(tmp_path: Path) -> None:
    """Nothing in it is ever committed by accident."""
    write(tmp_path, record(URL, "release", "secret"))
    assert (tmp_path / ".modelapp" / ".gitignore").read_text() == "*\n"


def test_a_dead_process_is_not_running(tmp_path: Path) -> None:
    """A record left behind by a crash is stale."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    theirs = running.Running(pid=child.pid, url=URL, release="r", token="t", started="now", born=birth(child.pid))
    write(tmp_path, theirs)
    assert find(tmp_path) == theirs
    child.communicate(b"\n")
    assert find(tmp_path) is None


def test_a_zombie_is_not_running() -> None:
    """A process that has ended and was not yet waited for serves nobody."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert birth(child.pid) == ""
    child.wait()


def test_a_reused_process_number_is_not_running(tmp_path: Path) -> None:
    """Another process of the same number was born at another time."""
    mine = record(URL, "release", "secret")
    path = tmp_path / ".modelapp" / "running.json"
    write(tmp_path, mine)
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "born": content["born"] + "1"}))
    assert find(tmp_path) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        "null",
        '{"pid": 1}',
        '{"pid": "x", "url": 1, "release": 1, "token": 1, "started": 1, "born": 1}',
    ],
)
def test_a_broken_record_is_no_record(tmp_path: Path, text: str) -> None:
    """Whatever lies there, nothing raises."""
    path = tmp_path / ".modelapp" / "running.json"
    path.parent.mkdir()
    path.write_text(text)
    assert find(tmp_path) is None


def test_a_folder_that_cannot_be_written_gives_a_note(tmp_path: Path) -> None:
    """The app serves all the same."""
    (tmp_path / ".modelapp").write_text("a file where the folder should be")
    assert "cannot be written" in write(tmp_path, record(URL, "release", "secret"))


def test_clear_removes_only_the_own_record(tmp_path: Path) -> None:
    """A second app of the folder may have written its own meanwhile."""
    path = tmp_path / ".modelapp" / "running.json"
    theirs = running.Running(pid=1, url=URL, release="r", token="t", started="now", born=birth(1))
    write(tmp_path, theirs)
    clear(tmp_path)
    assert path.exists()
    write(tmp_path, record(URL, "release", "secret"))
    clear(tmp_path)
    assert not path.exists()
    clear(tmp_path)

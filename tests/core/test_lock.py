"""`modelapp lock` and --locked, as users run them: real processes in real folders."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from modelapp.lockfile import LOCK, Lock, LockedFile, Recorded, read_lock, render

APP = """
[app]
name = "shop"

[models.sum]
source = "handlers.py:Sum"
runtime = "python"
files = { weights = "models" }

[endpoints.total]
model = "sum"

[endpoints.total.input]
price = "float"

[endpoints.total.output]
total = "float"

[server]
port = 0

[profiles.large]
models.sum.files.weights = "large"

[[tests]]
name = "one"
input = { price = 1.5 }
expect = { total = 1.5 }
"""
RECORDING = """
[[tests]]
name = "two"
input = { price = 2.0 }
expect_file = "data/two.json"
"""
HANDLERS = """
import pathlib


class Sum:
    def __init__(self, files):
        pathlib.Path("loaded").touch()

    def predict(self, rows: list[dict]) -> list[dict]:
        return [{"total": row["price"]} for row in rows]
"""
FILES: Mapping[str, str | bytes] = {
    "handlers.py": HANDLERS,
    "models/a.bin": b"a" * 1000,
    "models/sub/b.bin": b"b" * 1000,
    "large/a.bin": b"A" * 1000,
    "data/two.json": '{"total": 2.0}\n',
}
Run = Callable[..., "subprocess.CompletedProcess[str]"]
WriteApp = Callable[..., Path]


@pytest.fixture
def shop(write_app: WriteApp) -> Path:
    """An app with a folder of weights, and another one in a profile."""
    return write_app(APP, FILES)


@pytest.fixture
def locked(shop: Path, modelapp: Run) -> Path:
    """The same, locked."""
    assert modelapp("lock", cwd=shop).returncode == 0
    return shop


def test_lock_writes_what_is_there_and_says_so(shop: Path, modelapp: Run) -> None:
    """Every file of every profile; a second time there is nothing to do."""
    done = modelapp("lock", cwd=shop)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[:3] for line in lines[:3]] == [
        ["+", "file", "large/a.bin"],
        ["+", "file", "models/a.bin"],
        ["+", "file", "models/sub/b.bin"],
    ]
    assert lines[3:] == ["app.lock: 3 files"]
    before = (shop / LOCK).stat()
    again = modelapp("lock", cwd=shop)
    assert again.stdout.splitlines() == ["app.lock: 3 files, as it was"]
    assert (shop / LOCK).stat().st_mtime_ns == before.st_mtime_ns
    assert not (shop / "loaded").exists()


def test_lock_says_what_changed(locked: Path, modelapp: Run) -> None:
    """As a diff, and as a document."""
    (locked / "models/c.bin").write_bytes(b"c")
    (locked / "models/a.bin").unlink()
    (locked / "large/a.bin").write_bytes(b"x")
    done = modelapp("lock", "--json", cwd=locked)
    document = json.loads(done.stdout)
    told = [(one["change"], one["table"], one["name"]) for one in document["differences"]]
    assert told == [
        ("changed", "file", "large/a.bin"),
        ("removed", "file", "models/a.bin"),
        ("added", "file", "models/c.bin"),
    ]
    assert (document["written"], document["counts"]["files"]) == (True, 3)
    assert modelapp("lock", "--locked", cwd=locked).returncode == 0


def test_a_flipped_bit_is_named(locked: Path, modelapp: Run) -> None:
    """With status 6, before anything is loaded, by every verb that takes --locked."""
    path = locked / "models" / "sub" / "b.bin"
    content = bytearray(path.read_bytes())
    content[500] ^= 1
    path.write_bytes(content)
    text = (locked / LOCK).read_bytes()
    for words in (["lock"], ["run"], ["test"], ["predict", "price=1"]):
        done = modelapp(*words, "--locked", cwd=locked)
        assert done.returncode == 6, done
        assert done.stdout == ""
        first, second, advice = done.stderr.splitlines()
        assert first == "error: what is here is not what app.lock says"
        assert second.startswith("  models/sub/b.bin: app.lock has ")
        assert advice.endswith("modelapp lock")
    assert not (locked / "loaded").exists()
    assert (locked / LOCK).read_bytes() == text


def test_drift_is_a_document_too(locked: Path, modelapp: Run) -> None:
    """With one object a difference."""
    (locked / "models/a.bin").write_bytes(b"x")
    (locked / "models/c.bin").write_bytes(b"c")
    done = modelapp("test", "--locked", "--json", cwd=locked)
    error = json.loads(done.stdout)["error"]
    assert (done.returncode, error["kind"], error["exit_status"]) == (6, "LockDriftError", 6)
    told = [(one["change"], one["name"]) for one in error["differences"]]
    assert told == [("changed", "models/a.bin"), ("added", "models/c.bin")]


def test_a_missing_file_is_a_drift_that_says_so(locked: Path, modelapp: Run) -> None:
    """Not one that nothing names any more."""
    shutil.rmtree(locked / "models")
    done = modelapp("test", "--locked", cwd=locked)
    assert done.returncode == 6
    assert 'models.sum.files.weights: there is no "models"' in done.stderr
    assert modelapp("lock", cwd=locked).returncode == 5


def test_a_file_that_only_a_profile_uses_is_looked_at_without_it(locked: Path, modelapp: Run) -> None:
    """One app.lock is for all; an override that names another file is seen as well."""
    (locked / "large/a.bin").write_bytes(b"x")
    assert "large/a.bin" in modelapp("test", "--locked", cwd=locked).stderr
    assert modelapp("lock", cwd=locked).returncode == 0
    (locked / "other").mkdir()
    (locked / "other/a.bin").write_bytes(b"x")
    done = modelapp("test", "--locked", "--set", 'models.sum.files.weights="other"', cwd=locked)
    assert (done.returncode, "other/a.bin is not in app.lock" in done.stderr) == (6, True)
    refused = modelapp("lock", "--set", 'models.sum.files.weights="other"', cwd=locked)
    assert (refused.returncode, "--set has no place here" in refused.stderr) == (2, True)


def test_ci_implies_locked_once_there_is_a_lock(shop: Path, modelapp: Run) -> None:
    """Not before, and not where CI says no; `modelapp lock` still writes."""
    ci = {"CI": "true"}
    assert modelapp("predict", "price=1", cwd=shop, env=ci).returncode == 0
    assert modelapp("lock", cwd=shop, env=ci).returncode == 0
    assert modelapp("predict", "price=1", cwd=shop, env=ci).returncode == 0
    (shop / "models/a.bin").write_bytes(b"x")
    for words in (["run"], ["test"], ["predict", "price=1"]):
        assert modelapp(*words, cwd=shop, env=ci).returncode == 6
    assert modelapp("predict", "price=1", cwd=shop, env={"CI": "false"}).returncode == 0


def test_outside_ci_a_drift_is_a_note(locked: Path, modelapp: Run) -> None:
    """`test` goes on, and says it once; --quiet leaves it out."""
    (locked / "models/a.bin").write_bytes(b"x")
    (locked / "models/c.bin").write_bytes(b"c")
    done = modelapp("test", cwd=locked)
    assert done.returncode == 0, done.stderr
    notes = [line for line in done.stderr.splitlines() if "app.lock" in line]
    assert len(notes) == 1
    assert notes[0].startswith("note: app.lock is out of date (models/a.bin: app.lock has ")
    assert notes[0].endswith(", and 1 more): run modelapp lock")
    assert "app.lock" not in modelapp("test", "-q", cwd=locked).stderr


def test_outside_ci_a_broken_lock_is_a_note(locked: Path, modelapp: Run) -> None:
    """With its place; with --locked it is an error of its own."""
    (locked / LOCK).write_text("lock_version = 1\n<<<<<<< ours\n")
    done = modelapp("test", cwd=locked)
    assert done.returncode == 0, done.stderr
    assert "note: app.lock was not compared: app.lock:2:1: app.lock holds the conflict of a merge; modelapp lock" in (
        done.stderr
    )
    strict = modelapp("test", "--locked", "--json", cwd=locked)
    error = json.loads(strict.stdout)["error"]
    assert (strict.returncode, error["message"]) == (3, "app.lock has 1 problem")
    assert [problem["code"] for problem in error["problems"]] == ["MA081"]


def test_running_says_what_is_out_of_date(locked: Path, background: Callable[..., Any]) -> None:
    """A note before the first model is loaded."""
    (locked / "models/a.bin").write_bytes(b"x")
    running = background("run", cwd=locked)
    until = time.monotonic() + 30
    while "ready" not in running.stdout:
        assert time.monotonic() < until, running.stderr
        time.sleep(0.05)
    assert running.stderr.startswith("note: app.lock is out of date")


def test_locked_without_a_lock_is_a_drift(shop: Path, modelapp: Run) -> None:
    """Whoever asks for --locked wants to be told."""
    done = modelapp("test", "--locked", cwd=shop)
    assert (done.returncode, done.stdout) == (6, "")
    assert done.stderr == (
        "error: there is no app.lock\n  help: write down what is here, if it is what should be: modelapp lock\n"
    )


def test_the_command_to_run_names_the_folder(shop: Path, modelapp: Run) -> None:
    """It can be copied from where the user is."""
    done = modelapp("-C", "app", "test", "--locked", cwd=shop.parent)
    assert done.stderr.rstrip().endswith("modelapp -C app lock")


def test_two_folders_and_two_users_make_the_same_file(
    write_app: WriteApp, modelapp: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the order in which files came, the locale, the umask, the zone, the time and the current folder."""
    first = write_app(APP + RECORDING, FILES, name="first")
    second = write_app(APP + RECORDING, dict(reversed(FILES.items())), name="second folder ü")
    os.utime(second / "models/a.bin", (1, 1))
    assert modelapp("lock", cwd=first).returncode == 0
    surroundings = {"LANG": "tr_TR.UTF-8", "LC_ALL": "C", "TZ": "Asia/Tokyo", "HOME": str(tmp_path), "USER": "another"}
    surroundings |= {"XDG_CACHE_HOME": str(tmp_path / "cache"), "PYTHONHASHSEED": "7", "PYTHONUTF8": "0"}
    command = f'umask 077; exec "{sys.executable}" -m modelapp -C "{second}" --profile large lock'
    done = subprocess.run(
        ["bash", "-c", command], cwd="/", env={**os.environ, **surroundings}, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    text = (first / LOCK).read_bytes()
    assert text == (second / LOCK).read_bytes()
    assert str(tmp_path).encode() not in text


def test_a_merge_that_git_cannot_do_is_made_anew(locked: Path, modelapp: Run) -> None:
    """Two branches recorded a test differently and replaced a model: what is on disk decides, and says who made it."""
    toml, path = locked / "app.toml", locked / "data" / "two.json"
    toml.write_text(APP + RECORDING)
    assert modelapp("lock", cwd=locked).returncode == 0
    base = read_lock(locked)
    assert base is not None
    (known,) = base.recorded

    def branch(digit: str, *records: Recorded) -> str:
        files = [*base.files[:-1], LockedFile(base.files[-1].path, digit * 64, 1)]
        return render(Lock(tuple(files), base.sources, records, base.plugins))

    texts = {
        "ours": branch("1", Recorded("two", "3" * 64, ("x 1", "cpu"))),
        "base": render(base),
        "theirs": branch("2", Recorded("two", known.sha256, ("x 2", "cpu")), Recorded("gone", "4" * 64)),
    }
    for name, text in texts.items():
        (locked / name).write_text(text)
    merge = ["git", "merge-file", "-p", "ours", "base", "theirs"]
    merged = subprocess.run(merge, cwd=locked, capture_output=True, text=True, check=False).stdout
    assert "<<<<<<< ours" in merged
    (locked / LOCK).write_text(merged)
    done = modelapp("lock", cwd=locked)
    assert done.returncode == 0, done.stderr
    assert "holds the conflict of a merge; it is made anew" in done.stderr
    assert read_lock(locked) == Lock(base.files, recorded=(Recorded("two", known.sha256, ("x 2", "cpu")),))
    assert path.read_text() == FILES["data/two.json"]


@pytest.mark.parametrize("text", ["lock_version = [", "lock_version = 1\nunknown = 1\n", "", "\x00", "[[file]]\n" * 3])
def test_a_broken_lock_is_made_anew(locked: Path, modelapp: Run, text: str) -> None:
    """As if there had been none."""
    right = (locked / LOCK).read_bytes()
    (locked / LOCK).write_text(text)
    done = modelapp("lock", cwd=locked)
    assert (done.returncode, "it is made anew" in done.stderr) == (0, True)
    assert (locked / LOCK).read_bytes() == right


def test_a_later_format_is_not_overwritten(locked: Path, modelapp: Run) -> None:
    """A newer modelapp wrote it."""
    (locked / LOCK).write_text("lock_version = 2\n")
    done = modelapp("lock", cwd=locked)
    assert done.returncode == 3
    assert "error[MA082]" in done.stderr
    assert "pip install -U modelapp" in done.stderr
    assert (locked / LOCK).read_text() == "lock_version = 2\n"


def test_an_invalid_profile_is_told_by_lock(locked: Path, modelapp: Run) -> None:
    """What it would use is not known, so it cannot be locked; without --locked the others go on."""
    text = (locked / "app.toml").read_text()
    (locked / "app.toml").write_text(text.replace('files.weights = "large"', 'runtime = "none"'))
    assert modelapp("lock", cwd=locked).returncode == 3
    done = modelapp("test", cwd=locked)
    assert (done.returncode, "note: app.lock was not compared: app.toml:" in done.stderr) == (0, True), done.stderr


def test_a_place_that_cannot_be_written_to_is_told(shop: Path, modelapp: Run) -> None:
    """Here a link into a folder that is not there."""
    (shop / LOCK).symlink_to("nowhere/app.lock")
    done = modelapp("lock", cwd=shop)
    assert done.returncode == 5
    assert "nowhere/app.lock cannot be written: No such file or directory" in done.stderr


def test_a_recording_begins_a_whole_lock(shop: Path, modelapp: Run) -> None:
    """A lock that knew the recorded output alone would be a drift on every other machine."""
    toml = APP.partition("[[tests]]")[0] + '[[tests]]\nname = "two"\ninput = { price = 2.0 }\n'
    (shop / "app.toml").write_text(toml.replace('total = "float"', 'total = "str"'))
    (shop / "handlers.py").write_text(HANDLERS.replace('row["price"]', '"long " * 100'))
    done = modelapp("test", "--record", "two", cwd=shop)
    assert done.returncode == 0, done.stderr
    assert modelapp("lock", "--locked", cwd=shop).returncode == 0
    lock = read_lock(shop)
    assert lock is not None
    (recorded,) = lock.recorded
    assert (recorded.test, recorded.made_with[1]) == ("two", "cpu")
    assert len(lock.files) == 3

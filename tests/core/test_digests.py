"""Digests with a memory."""

import hashlib
import json
import os
import time
from pathlib import Path

import pytest

from modelapp.digests import Digests, files_below


@pytest.fixture
def memory(tmp_path: Path) -> Path:
    """Where digests are remembered."""
    return tmp_path / "cache" / "digests.json"


def aged(path: Path, content: bytes, seconds: float = 10) -> Path:
    """A file whose times lie in the past, as far as a user can set them."""
    path.write_bytes(content)
    then = time.time() - seconds
    os.utime(path, (then, then))
    return path


def test_a_file_has_its_sha256(tmp_path: Path, memory: Path) -> None:
    """The plain digest, that other tools show too."""
    path = aged(tmp_path / "model.bin", b"weights")
    assert Digests(memory).file(path) == hashlib.sha256(b"weights").hexdigest()


def test_a_known_file_is_not_read_again(tmp_path: Path, memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next process takes the digest from the memory."""
    monkeypatch.setattr("modelapp.digests._SETTLED_NS", -1)
    path = aged(tmp_path / "model.bin", b"weights")
    digests = Digests(memory)
    digests.file(path)
    digests.save()
    (known,) = json.loads(memory.read_text()).values()
    memory.write_text(json.dumps({str(path): [known[0], "remembered"]}))
    assert Digests(memory).file(path) == "remembered"


def test_a_file_changed_just_now_is_not_remembered(tmp_path: Path, memory: Path) -> None:
    """It could change again within one tick of the clock and look the same."""
    path = tmp_path / "model.bin"
    path.write_bytes(b"weights")
    digests = Digests(memory)
    digests.file(path)
    digests.save()
    assert not memory.exists()


def test_a_change_that_keeps_size_and_time_is_seen(
    tmp_path: Path, memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tools that restore a file's time cannot hide other content."""
    monkeypatch.setattr("modelapp.digests._SETTLED_NS", -1)
    path = aged(tmp_path / "model.bin", b"weights")
    digests = Digests(memory)
    first = digests.file(path)
    stat = path.stat()
    path.write_bytes(b"WEIGHTS")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert digests.file(path) != first


def test_a_folder_digest_covers_names_and_contents(tmp_path: Path, memory: Path) -> None:
    """Renaming, changing or adding a file makes another folder; its own name does not matter."""
    digests = Digests(memory)
    first, second = tmp_path / "a", tmp_path / "b"
    for folder in (first, second):
        (folder / "sub").mkdir(parents=True)
        (folder / "sub" / "x").write_bytes(b"1")
    assert digests.tree(first) == digests.tree(second)
    (second / "sub" / "x").rename(second / "sub" / "y")
    assert digests.tree(first) != digests.tree(second)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"a": 1}'])
def test_a_broken_memory_costs_only_time(tmp_path: Path, memory: Path, content: str) -> None:
    """It is started afresh."""
    memory.parent.mkdir()
    memory.write_text(content)
    path = aged(tmp_path / "model.bin", b"weights")
    digests = Digests(memory)
    assert digests.file(path) == hashlib.sha256(b"weights").hexdigest()
    digests.save()


def test_a_memory_that_cannot_be_written_costs_only_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No cache folder is no failure."""
    monkeypatch.setattr("modelapp.digests._SETTLED_NS", -1)
    (tmp_path / "file").write_text("")
    digests = Digests(tmp_path / "file" / "digests.json")
    digests.file(aged(tmp_path / "model.bin", b"weights"))
    digests.save()


def test_what_is_below_a_folder_is_what_belongs_to_it(tmp_path: Path, memory: Path) -> None:
    """Sorted, through links, each folder once; hidden files and compiled code are none of a model's."""
    folder = tmp_path / "model"
    for name in ("b.bin", "sub/a.bin", ".DS_Store", ".cache/x", "__pycache__/y.pyc"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"1")
    before = Digests(memory).tree(folder)
    (folder / "circle").symlink_to(folder)
    (folder / "gone").symlink_to("nowhere")
    assert [path.relative_to(folder).as_posix() for path in files_below(folder)] == ["b.bin", "gone", "sub/a.bin"]
    (folder / "gone").unlink()
    (folder / ".DS_Store").write_bytes(b"2")
    assert Digests(memory).tree(folder) == before

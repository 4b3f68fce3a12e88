"""Which changes of a real folder are told, under which name, and when."""

import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty, SimpleQueue

import pytest

from modelapp.watching import changes, is_wanted, settle

LONG_S = 10.0
SHORT_S = 0.6
"""More than a change takes to be told, for those that must not be."""


class Told:
    """What is told of a folder, bunch by bunch."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._stop = threading.Event()
        self._bunches: SimpleQueue[frozenset[str]] = SimpleQueue()
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()
        self._await_start()

    def _listen(self) -> None:
        for names in changes(self.root, self._stop):
            self._bunches.put(names)

    def _await_start(self) -> None:
        for number in range(200):
            (self.root / "start").write_text(str(number))
            if self.soon(0.25):
                self.rest()
                return
        raise AssertionError("nothing is told")

    def soon(self, timeout_s: float = LONG_S) -> frozenset[str]:
        """The next bunch; empty where none comes."""
        try:
            return self._bunches.get(timeout=timeout_s)
        except Empty:
            return frozenset()

    def until(self, name: str) -> set[str]:
        """All that is told up to the bunch with a name."""
        seen: set[str] = set()
        while name not in seen:
            bunch = self.soon()
            assert bunch, f"{name} was not told, only {seen}"
            seen |= bunch
        return seen

    def rest(self) -> set[str]:
        """All that is told until nothing more comes."""
        seen: set[str] = set()
        while bunch := self.soon(SHORT_S):
            seen |= bunch
        return seen

    def close(self) -> None:
        """Stop."""
        self._stop.set()
        self._thread.join(LONG_S)
        assert not self._thread.is_alive()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The app's folder."""
    folder = tmp_path / "app"
    folder.mkdir()
    return folder


@pytest.fixture
def look(root: Path) -> Iterator[Callable[[], Told]]:
    """look() begins to watch the folder as it then is."""
    started: list[Told] = []

    def begin() -> Told:
        started.append(Told(root))
        return started[-1]

    yield begin
    for one in started:
        one.close()


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("app.toml", True),
        ("lib/helper.py", True),
        ("models/graph.onnx", True),
        (".git/index", False),
        (".modelapp/running.json", False),
        (".venv/lib/thing.py", False),
        ("venv/lib/thing.py", False),
        ("lib/__pycache__/helper.cpython-311.pyc", False),
        (".handlers.py.swp", False),
        ("handlers.py~", False),
        ("handlers.py.tmp", False),
    ],
)
def test_hidden_files_caches_and_drafts_do_not_matter(name: str, wanted: bool) -> None:
    """Everything else may."""
    assert is_wanted(Path(name)) is wanted


def test_a_write_a_rename_and_a_removal_are_told(root: Path, look: Callable[[], Told]) -> None:
    """By the path below the folder, however an editor went about it; a draft beside it is not."""
    (root / "lib").mkdir()
    (root / "gone.py").write_text("")
    told = look()
    (root / "lib" / "helper.py").write_text("1")
    assert told.until("lib/helper.py") == {"lib/helper.py"}
    told.rest()
    (root / "draft.tmp").write_text("2")
    (root / "draft.tmp").replace(root / "app.toml")
    (root / "gone.py").unlink()
    assert told.until("app.toml") | told.rest() == {"app.toml", "gone.py"}


def test_what_does_not_matter_is_not_told(root: Path, look: Callable[[], Told]) -> None:
    """The product's own folder among it."""
    (root / ".modelapp").mkdir()
    told = look()
    (root / ".modelapp" / "running.json").write_text("{}")
    (root / "handlers.py~").write_text("")
    (root / "app.toml").write_text("")
    assert told.until("app.toml") == {"app.toml"}


class Writing(threading.Event):
    """While it is waited for, a file grows; nobody asks to stop."""

    def __init__(self, path: Path, chunks: int) -> None:
        super().__init__()
        self.path, self.chunks = path, chunks

    def wait(self, timeout: float | None = None) -> bool:
        """One more chunk, as long as there are any."""
        if self.chunks:
            self.chunks -= 1
            with self.path.open("a") as file:
                file.write("more")
        return False


def test_a_file_is_whole_before_it_is_told(root: Path) -> None:
    """One that is emptied first, or that grows for longer than any bunch is gathered."""
    writing = Writing(root / "graph.onnx", 40)
    settle(root, ["graph.onnx"], writing)
    assert (root / "graph.onnx").stat().st_size == 40 * len("more")


def test_a_folder_is_told_by_its_files(root: Path, look: Callable[[], Told], tmp_path: Path) -> None:
    """One that comes as a whole, which no event of a file announces."""
    (tmp_path / "pack" / "inner").mkdir(parents=True)
    (tmp_path / "pack" / "one.py").write_text("")
    (tmp_path / "pack" / "inner" / "two.py").write_text("")
    told = look()
    (tmp_path / "pack").rename(root / "pack")
    assert told.until("pack/inner/two.py") == {"pack/one.py", "pack/inner/two.py"}


def test_a_link_changes_with_what_it_leads_to(root: Path, look: Callable[[], Told], tmp_path: Path) -> None:
    """In the folder or out of it, file or folder; also after an editor replaced the file, and when it is set anew."""
    (tmp_path / "shared").mkdir()
    (tmp_path / "one.py").write_text("1")
    (tmp_path / "shared" / "two.py").write_text("1")
    (root / "v1.onnx").write_text("1")
    (root / "v2.onnx").write_text("2")
    (root / "handlers.py").symlink_to(tmp_path / "one.py")
    (root / "lib").symlink_to(tmp_path / "shared")
    (root / "graph.onnx").symlink_to("v1.onnx")
    told = look()
    for text in ("2", "3"):
        (tmp_path / "draft").write_text(text)
        (tmp_path / "draft").replace(tmp_path / "one.py")
        assert told.until("handlers.py") == {"handlers.py"}
        told.rest()
    (tmp_path / "shared" / "two.py").write_text("2")
    assert told.until("lib/two.py") == {"lib/two.py"}
    (root / "v1.onnx").write_text("11")
    assert told.until("graph.onnx") == {"graph.onnx", "v1.onnx"}
    told.rest()
    (root / "next").symlink_to("v2.onnx")
    (root / "next").replace(root / "graph.onnx")
    assert "graph.onnx" in told.until("graph.onnx")


def test_a_folder_of_links_that_is_switched_at_once(root: Path, look: Callable[[], Told]) -> None:
    """As clusters mount files: each is a link through a hidden one, which alone is replaced."""
    for version in ("1", "2"):
        (root / f"..{version}").mkdir()
        (root / f"..{version}" / "app.toml").write_text(version)
    (root / "..data").symlink_to("..1")
    (root / "app.toml").symlink_to("..data/app.toml")
    told = look()
    (root / "..next").symlink_to("..2")
    (root / "..next").replace(root / "..data")
    assert told.until("app.toml") == {"app.toml"}


def test_a_folder_that_is_gone_is_an_error(tmp_path: Path) -> None:
    """Nothing is watched in silence."""
    folder = tmp_path / "gone"
    folder.mkdir()
    shutil.rmtree(folder)
    with pytest.raises(OSError, match="No path"):
        next(changes(folder, threading.Event()))

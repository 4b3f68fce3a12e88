"""The app's files imported again while the process goes on: all of them and nothing else, and the old ones on error."""

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from modelapp.errors import HandlerError
from modelapp.handlers import imported_afresh, imports, load

Write = Callable[[Mapping[str, str]], Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes files into an app's folder; modules of it are forgotten after the test. Compiled files are kept."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    before = set(sys.modules)

    def make(files: Mapping[str, str]) -> Path:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    yield make
    for name in set(sys.modules) - before:
        del sys.modules[name]


def answer(root: Path) -> object:
    """What the app's function says when its files are imported again."""
    with imported_afresh(root):
        return load(root, "handlers.py:f")()


@pytest.mark.parametrize(
    ("file", "head", "value"),
    [
        ("handlers.py", "", "VALUE"),
        ("helper.py", "import helper", "helper.VALUE"),
        ("helper.py", "from helper import VALUE", "VALUE"),
        ("pack/__init__.py", "import pack", "pack.VALUE"),
        ("pack/inner.py", "import pack.inner", "pack.inner.VALUE"),
        ("loose/inner.py", "import loose.inner", "loose.inner.VALUE"),
        ("loose/inner.py", "from loose import inner", "inner.VALUE"),
        ("loose/inner.py", "from loose.inner import VALUE", "VALUE"),
    ],
)
def test_every_file_of_the_app_is_read_anew(write: Write, file: str, head: str, value: str) -> None:
    """Wherever it lies, whoever imports it, and however quickly one edit of the same length follows another."""
    text = f"{head}\ndef f(): return {value}\n"
    files = {"pack/__init__.py": "", "handlers.py": text}
    for number in (1, 2, 3):
        own = f"VALUE = {number}\n"
        root = write({**files, file: own + (text if file == "handlers.py" else "")})
        assert answer(root) == number


def test_files_of_an_environment_in_the_folder_are_left_alone(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library is imported once a process: many refuse to be imported twice."""
    root = write(
        {
            ".venv/lib/site-packages/lonely.py": "state = object()\n",
            "env/lib/site-packages/lonelier.py": "state = object()\n",
            "handlers.py": "import lonely, lonelier\ndef f(): return lonely.state, lonelier.state\n",
        }
    )
    for folder in (".venv", "env"):
        monkeypatch.syspath_prepend(root / folder / "lib" / "site-packages")
    assert answer(root) == answer(root)


def test_files_that_do_not_import_leave_the_old_ones(write: Write) -> None:
    """Functions that are in use go on importing what they had; mended files are read, though the clock stood still."""
    files = {"helper.py": "VALUE = 1/1\n", "handlers.py": "import helper\ndef f(): return helper.VALUE\n"}
    root = write(files)
    assert answer(root) == 1
    old = sys.modules["helper"]
    write({"helper.py": "VALUE = 1/0\n"})
    with pytest.raises(HandlerError, match="ZeroDivisionError"):
        answer(root)
    assert sys.modules["helper"] is old
    write({"helper.py": "VALUE = 2/1\n"})
    assert answer(root) == 2


def test_an_error_after_the_import_brings_the_old_ones_back(write: Write) -> None:
    """A model that does not load with the new files, say."""
    root = write({"helper.py": "VALUE = 1\n", "handlers.py": "import helper\ndef f(): return helper.VALUE\n"})
    assert answer(root) == 1
    write({"helper.py": "VALUE = 2\n"})
    met = []

    def meet() -> None:
        with imported_afresh(root):
            met.append(load(root, "handlers.py:f")())
            raise RuntimeError("later")

    with pytest.raises(RuntimeError, match="later"):
        meet()
    assert met == [2]
    assert (load(root, "handlers.py:f")(), sys.modules["helper"].VALUE) == (1, 1)


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"model.py": "import numpy, os.path"}, set()),
        ({"model.py": "import helper", "helper.py": ""}, {"helper.py"}),
        ({"model.py": "def f():\n    import helper", "helper.py": ""}, {"helper.py"}),
        ({"model.py": "import a", "a.py": "import b", "b.py": "import a"}, {"a.py", "b.py"}),
        ({"model.py": "from a.b import c", "a/b/c.py": ""}, {"a/b/c.py"}),
        ({"model.py": "import a", "a/__init__.py": "from .b import C", "a/b.py": ""}, {"a/__init__.py", "a/b.py"}),
        ({"model.py": "import a", "a/__init__.py": "from . import b", "a/b.py": ""}, {"a/__init__.py", "a/b.py"}),
        (
            {"model.py": "import a.b.c", "a/b/c.py": "from ..d import E", "a/d.py": "", "d.py": ""},
            {"a/b/c.py", "a/d.py"},
        ),
        ({"model.py": "import helper", "helper.py": "this is no Python"}, {"helper.py"}),
        ({"model.py": "from ... import helper", "helper.py": ""}, set()),
    ],
)
def test_imports_are_followed_by_the_syntax_trees(write: Write, files: Mapping[str, str], found: set[str]) -> None:
    """Relative ones, those inside functions and circles too; libraries are not the app's."""
    assert imports(write(files), "model.py") == found


def test_a_file_that_is_not_there_imports_nothing(tmp_path: Path) -> None:
    """Nor does one that is broken."""
    assert imports(tmp_path, "model.py") == frozenset()

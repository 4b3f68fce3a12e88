"""Handlers are found without importing them, and loaded with errors that speak of the user's file alone."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from modelapp import handlers
from modelapp.errors import HandlerError

Write = Callable[[Mapping[str, str]], Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes files into a folder that stands for an app's; what importing them changes is undone."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "modules", sys.modules.copy())

    def make(files: Mapping[str, str]) -> Path:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return make


SOURCE = """\
import os.path
from json import dumps as to_json
raise SystemExit("importing this file ends the process")

def plain(a, b=1, /, c=2): ...
async def waits(a, *rest): ...
def named(a, *, b, c=1): ...
class Model:
    def __init__(self, options, files=None): ...
class Bare: ...
LATER = plain
if True:
    def inside(a): ...
try:
    pass
except ImportError:
    def fallback(): ...
@decorated
def wrapped(): ...
"""


@pytest.mark.parametrize(
    ("name", "kind", "line", "parameters", "takes", "refuses"),
    [
        ("plain", "function", 5, ("a", "b", "c"), (1, 2, 3), (0, 4)),
        ("waits", "function", 6, ("a",), (1, 2, 9), (0,)),
        ("named", "function", 7, ("a",), (), (0, 1, 2)),
        ("Model", "class", 8, ("options", "files"), (1, 2), (0, 3)),
        ("Bare", "class", 10, (), (0,), (1,)),
        ("LATER", "other", 11, (), (0, 5), ()),
        ("os", "other", 1, (), (0, 5), ()),
        ("to_json", "other", 2, (), (0, 5), ()),
        ("inside", "function", 13, ("a",), (1,), (0, 2)),
        ("fallback", "function", 17, (), (0,), (1,)),
        ("wrapped", "other", 19, (), (0, 5), ()),
    ],
)
def test_definitions_are_read_from_the_syntax_tree(
    write: Write,
    name: str,
    kind: str,
    line: int,
    parameters: tuple[str, ...],
    takes: tuple[int, ...],
    refuses: tuple[int, ...],
) -> None:
    """Kind, line and parameters are told of a file whose import would end the process."""
    found = handlers.find(write({"handlers.py": SOURCE}), f"handlers.py:{name}")
    assert (found.name, found.kind, found.line, found.parameters) == (name, kind, line, parameters)
    assert all(found.takes(count) for count in takes)
    assert not any(found.takes(count) for count in refuses)
    assert found.is_async == (name == "waits")


def test_a_changed_file_is_read_again(write: Write) -> None:
    """What was read before does not hide what the file says now."""
    root = write({"handlers.py": "def a(): ...\n"})
    assert set(handlers.definitions(root, "handlers.py")) == {"a"}
    write({"handlers.py": "def longer_name(): ...\n"})
    assert set(handlers.definitions(root, "handlers.py")) == {"longer_name"}


@pytest.mark.parametrize(
    ("ref", "message", "place", "help"),
    [
        ("handler.py:a", "there is no handler.py beside app.toml", "handler.py", 'did you mean "handlers.py"?'),
        ("handlers.py:merg", 'handlers.py has no function or class "merg"', "handlers.py", 'did you mean "merge"?'),
        ("handlers.py:zzz", 'handlers.py has no function or class "zzz"', "handlers.py", "it defines: merge"),
        ("handlers:merge", '"handlers:merge" names no function', "handlers:merge", 'write "file.py:function"'),
        ("../x.py:a", "../x.py must lie in the app's folder", "../x.py", "use a path beside app.toml"),
        ("broken.py:a", "SyntaxError: '(' was never closed", "broken.py:2", ""),
    ],
)
def test_what_cannot_be_found_says_so(write: Write, ref: str, message: str, place: str, help: str) -> None:
    """Message, place and help name the file, and what it may have been."""
    root = write({"handlers.py": "def merge(a): ...\n", "broken.py": "x = 1\ny = (\n"})
    with pytest.raises(HandlerError) as caught:
        handlers.find(root, ref)
    assert (caught.value.message, caught.value.place, caught.value.help) == (message, place, help)


def test_bytes_that_are_no_text_are_told_as_such(write: Write) -> None:
    """A file that is not UTF-8 is an error of its own, not a traceback."""
    root = write({})
    (root / "handlers.py").write_bytes(b"x = '\xff'\n")
    with pytest.raises(HandlerError):
        handlers.find(root, "handlers.py:x")


def test_loading_gives_the_function_and_imports_once(write: Write) -> None:
    """Two names of one file come from one import."""
    root = write(
        {"handlers.py": "calls = []\ncalls.append(1)\ndef count(): return len(calls)\ndef same(): return calls\n"}
    )
    assert handlers.load(root, "handlers.py:count")() == 1
    assert handlers.load(root, "handlers.py:same")() == [1]


def test_files_beside_app_toml_can_be_imported_also_inside_functions(write: Write) -> None:
    """`import helper` works at the top of a file and in a function called later."""
    files = {
        "handlers.py": "import helper\ndef now(): return helper.X\ndef later():\n    import late\n    return late.Y\n",
        "helper.py": "X = 1\n",
        "late.py": "Y = 2\n",
    }
    root = write(files)
    assert handlers.load(root, "handlers.py:now")() == 1
    assert handlers.load(root, "handlers.py:later")() == 2


def test_two_apps_in_one_process_keep_their_own_files(write: Write, tmp_path: Path) -> None:
    """Both have a handlers.py and a helper.py; each function sees its own."""
    write(
        {
            f"{app}/{file}": text
            for app in ("one", "two")
            for file, text in {
                "handlers.py": "import helper\ndef who(): return helper.NAME\n",
                "helper.py": f"NAME = {app!r}\n",
            }.items()
        }
    )
    first = handlers.load(tmp_path / "one", "handlers.py:who")
    second = handlers.load(tmp_path / "two", "handlers.py:who")
    assert (first(), second()) == ("one", "two")


def test_importing_leaves_other_modules_alone(write: Write) -> None:
    """A folder of an app that is named as an installed module does not unload that module."""
    root = write({"handlers.py": "import json\ndef get(): return json\n", "json/readme.txt": "data"})
    before = sys.modules["json"]
    assert handlers.load(root, "handlers.py:get")() is before


@pytest.mark.parametrize(
    ("files", "message", "place"),
    [
        (
            {"handlers.py": "x = 1\nimport no_such_module_here\n"},
            "ModuleNotFoundError: No module named 'no_such_module_here'",
            "handlers.py:2",
        ),
        ({"handlers.py": "\n\n1 / 0\n"}, "ZeroDivisionError: division by zero", "handlers.py:3"),
        ({"handlers.py": "def f(:\n"}, "SyntaxError: invalid syntax", "handlers.py:1"),
        (
            {"handlers.py": "import helper\n", "helper.py": "x = 1\nraise KeyError('k')\n"},
            "KeyError: 'k'",
            "helper.py:2",
        ),
        (
            {"handlers.py": "import helper\n", "helper.py": "\ny = (\n"},
            "SyntaxError: '(' was never closed",
            "helper.py:2",
        ),
        ({"handlers.py": "import sys\nsys.exit('enough')\n"}, "SystemExit: enough", "handlers.py:2"),
        (
            {"handlers.py": "import json\njson.loads('{')\n"},
            "json.decoder.JSONDecodeError: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)",
            "handlers.py:2",
        ),
    ],
)
def test_a_file_that_does_not_import_tells_its_own_last_line_and_place(
    write: Write, files: Mapping[str, str], message: str, place: str
) -> None:
    """The message is the traceback's last line, the place is the user's own, and no frame of ours is in either."""
    root = write(files)
    with pytest.raises(HandlerError) as caught:
        handlers.load(root, "handlers.py:f")
    assert (caught.value.message, caught.value.place) == (message, place)
    assert "modelapp" not in str(caught.value).replace(sys.executable, "")


def test_a_failed_import_is_tried_again(write: Write) -> None:
    """A mended file loads in the same process."""
    root = write({"handlers.py": "1 / 0\n"})
    with pytest.raises(HandlerError):
        handlers.load(root, "handlers.py:f")
    write({"handlers.py": "def f(): return 'mended'\n"})
    assert handlers.load(root, "handlers.py:f")() == "mended"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("f = 5\n", "f in handlers.py is no function or class"),
        ("g = 5\n", 'handlers.py has no function or class "f"'),
        ("if False:\n    def f(): ...\n", "handlers.py does not define f when it is imported"),
    ],
)
def test_a_name_that_is_no_function_is_told(write: Write, text: str, message: str) -> None:
    """What the name is, or that it is not there."""
    with pytest.raises(HandlerError) as caught:
        handlers.load(write({"handlers.py": text}), "handlers.py:f")
    assert caught.value.message == message

"""Apps that stream, as they are served, called and tested: a class of the app's own, and a model that generates."""

import json
import os
import pty
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelapp.nulltext import expected
from modelapp.testing import AppProject, RunningApp

APP = """\
[app]
name = "teller"

[models.teller]
source = "handlers.py:Teller"
runtime = "python"

[models.scribe]
source = "handlers.py"
runtime = "null"
task = "text-generation"
max_batch_size = 4

[endpoints.tell]
model = "teller"
stream = true
input = { about = "str", fail = { type = "bool", default = false } }
output = { text = "str", words = "int" }

[endpoints.write]
model = "scribe"
stream = true
input = { prompt = "str", max_tokens = "int" }
output = { text = "str", finish_reason = "str" }

[endpoints.cleaned]
stream = true
steps = [
  { name = "plain", run = "handlers.py:plain", needs = ["text"] },
  { name = "told", run = "scribe", needs = ["plain"] },
]
input = { text = "str" }

[[tests]]
name = "it ends well"
endpoint = "tell"
input = { about = "a fox" }
expect = { text = "Once there was a fox.", words = 5 }

[[tests]]
name = "it fails in the middle"
endpoint = "tell"
input = { about = "a fox", fail = true }
expect_error = { status = 500, contains = "KeyError" }
"""
HANDLERS = """\
from collections.abc import Iterator

def plain(text):
    return {"prompt": text.lower(), "max_tokens": 12}

class Teller:
    def stream(self, row: dict) -> Iterator[dict]:
        for number, word in enumerate(("Once ", "there ", "was ", row["about"], "."), start=1):
            if row["fail"] and number == 3:
                raise KeyError(number)
            yield {"text": word, "words": number}
"""


@pytest.fixture
def app(write_app: Callable[..., Path]) -> Path:
    """The app in a folder."""
    return write_app(APP, {"handlers.py": HANDLERS})


def ask(served: RunningApp, path: str, values: Any, accept: str = "*/*") -> tuple[str, bytes]:
    """Content type and body of an answer."""
    headers = {"content-type": "application/json", "accept": accept}
    answer = served.ask("POST", path, json.dumps(values), headers, timeout_s=20)
    return answer.headers["content-type"], answer.body


def pieces_of(body: bytes) -> tuple[list[Any], bytes]:
    """The data of all events but the last, and the last event."""
    *pieces, last, nothing = body.split(b"\n\n")
    assert nothing == b""
    return [json.loads(piece.removeprefix(b"data: ")) for piece in pieces], last


@pytest.mark.slow
def test_a_served_app_streams(app: Path) -> None:
    """A class and a generating model, alone or behind steps; the whole is what JSON clients get."""
    with AppProject(app).serve() as served:
        for path, values, text in (
            ("/tell", {"about": "a fox"}, "Once there was a fox."),
            ("/write", {"prompt": "It was", "max_tokens": 20}, expected("It was", 20)),
            ("/cleaned", {"text": "It WAS"}, expected("it was", 12)),
        ):
            kind, body = ask(served, path, values)
            pieces, last = pieces_of(body)
            json_kind, whole = ask(served, path, values, "application/json")
            assert (kind, json_kind) == ("text/event-stream", "application/json")
            assert last == b"event: done\ndata: " + whole
            assert "".join(piece["text"] for piece in pieces) == json.loads(whole)["text"] == text
            assert len(pieces) > 3
        _, whole = ask(served, "/write", {"prompt": "x", "max_tokens": 3}, "application/json")
        assert set(json.loads(whole)) == {"text", "finish_reason"}
        pieces, last = pieces_of(ask(served, "/tell", {"about": "", "fail": True})[1])
        assert [piece["words"] for piece in pieces] == [1, 2]
        assert b'event: error\ndata: {"error":{"code":"model_failed"' in last


@pytest.mark.slow
def test_its_tests_judge_whole_answers(app: Path, modelapp: Callable[..., Any]) -> None:
    """And an error in the middle is an error."""
    ended = modelapp("test", cwd=app)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.slow
def test_predict_prints_the_text_as_it_comes_on_a_terminal(app: Path) -> None:
    """Then the rest of the answer; with --json, or where nobody reads along, the whole answer at once."""
    shown = on_terminal("predict", "tell", "about=a fox", cwd=app)
    assert shown.replace("\r\n", "\n") == 'Once there was a fox.\n{"words": 5}\n'
    failed = on_terminal("predict", "tell", "about=a fox", "fail=true", cwd=app)
    assert failed.replace("\r\n", "\n") == "Once there \n"
    document = json.loads(on_terminal("predict", "tell", "about=a fox", "--json", cwd=app))
    assert document["answer"] == {"text": "Once there was a fox.", "words": 5}


def on_terminal(*words: str, cwd: Path) -> str:
    """What a command writes on its terminal; its notes go elsewhere."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "modelapp", *words]
    with subprocess.Popen(command, cwd=cwd, stdout=theirs, stderr=subprocess.DEVNULL) as process:
        os.close(theirs)
        found: list[bytes] = []
        reader = threading.Thread(target=_drain, args=(ours, found))
        reader.start()
        process.wait(60)
        reader.join(10)
    os.close(ours)
    return b"".join(found).decode()


def _drain(terminal: int, found: list[bytes]) -> None:
    while True:
        try:
            data = os.read(terminal, 4096)
        except OSError:  # its other end is closed
            return
        if not data:
            return
        found.append(data)

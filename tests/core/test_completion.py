"""What a shell offers while a command is typed: real shells, in a terminal, with the script that they are given."""

import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from modelapp.cli.completion import ANYTHING, FILES, FOLDERS, command_line
from modelapp.cli.parser import NAMES, SHELLS

APP = """
[app]
name = "shop"

[models.words]
source = "handlers.py:Words"
runtime = "python"

[endpoints.judge]
model = "words"
[endpoints.judge.input]
text = "str"
tone = { type = "str", choices = ["dry", "warm"] }
photo = "image"

[endpoints.count]
model = "words"
input = { exact = "bool" }

[jobs.nightly]
endpoint = "judge"

[[tests]]
name = "half off"
tags = ["sale"]

[[tests]]
name = 'costs $5: "so little"'
tags = ["sale", "slow"]

[server]
port = 9000

[profiles.prod]
server.port = 80
"""
TIMEOUT_S = 30
MARK = re.compile(r"\[\[(.*?)\]\]", re.DOTALL)
BASH = r"""
set +o history
bind 'set bell-style none' 'set enable-bracketed-paste off' 'set page-completions off'
bind -x '"\C-x\C-p": printf "[[%s]]" "$READLINE_LINE"'
bind '"\C-x\C-a": insert-completions'
bind '"\C-x\C-u": kill-whole-line'
PS1='>'
"""
ZSH = r"""
autoload -Uz compinit && compinit -u -D
setopt no_beep no_list_beep; unsetopt prompt_cr prompt_sp
show() { print -rn -- "[[$BUFFER]]" }
zle -N show
bindkey -e
bindkey '^X^P' show
bindkey '^X^U' kill-whole-line
bindkey '^I' complete-word
PS1='>'
"""
START = {"bash": ["bash", "--norc", "--noprofile", "-i"], "zsh": ["zsh", "-f", "-i"]}
SET_UP = {"bash": BASH, "zsh": ZSH}


class Shell:
    """A shell at a terminal. `typed` is what stands on its line once it has completed."""

    def __init__(self, kind, folder, scripts):
        self.kind = kind
        (scripts / "set-up").write_text(f"{SET_UP[kind]}source {scripts / 'script'}\nprintf '[[up]]'\n")
        self.child, self.terminal = pty.fork()
        if self.child == 0:
            os.chdir(folder)
            path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
            os.execvpe(START[kind][0], START[kind], {**os.environ, "PATH": path, "TERM": "dumb", "COLUMNS": "400"})
        self.send(f"source {scripts / 'set-up'}\n")
        self.until(MARK.search)

    def send(self, text):
        os.write(self.terminal, text.encode())

    def until(self, done):
        text, until_s = "", time.monotonic() + TIMEOUT_S
        while not done(text):
            assert time.monotonic() < until_s, text
            if select.select([self.terminal], [], [], 0.1)[0]:
                text += os.read(self.terminal, 65536).decode()
        return text

    def typed(self, text, key="\t"):
        """The line after `text` and the key."""
        self.send(f"{text}{key}\x18\x10")
        line = MARK.search(self.until(MARK.search))[1]
        self.send("\x18\x15")
        return line

    def offers(self, text):
        """All that could follow `text` up to its last space, as it would be inserted (bash only)."""
        lead = text[: text.rindex(" ") + 1]
        return sorted(self.typed(text, "\x18\x01").removeprefix(lead).split())

    def close(self):
        os.kill(self.child, signal.SIGKILL)
        os.close(self.terminal)
        os.waitpid(self.child, 0)


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    """An app beside a folder with a blank in its name and a picture."""
    folder = tmp_path_factory.mktemp("around") / "shop app"
    (folder / "my data").mkdir(parents=True)
    (folder / "my data" / "cup.png").touch()
    (folder / "report.xml").touch()
    (folder / "app.toml").write_text(APP)
    return folder


@pytest.fixture(scope="module")
def shell(app, tmp_path_factory):
    """A shell of a kind in the app's folder, or in the one around it, started once; skips where it is not installed."""
    started = {}

    def start(kind, folder=app):
        if not shutil.which(kind):
            pytest.skip(f"{kind} is not installed")
        if (kind, folder) not in started:
            scripts = tmp_path_factory.mktemp("scripts")
            command = [sys.executable, "-m", "modelapp", "completion", kind]
            (scripts / "script").write_bytes(subprocess.run(command, capture_output=True, check=True).stdout)
            started[kind, folder] = Shell(kind, folder, scripts)
        return started[kind, folder]

    yield start
    for one in started.values():
        one.close()


@pytest.mark.parametrize("kind", ["bash", "zsh"])
@pytest.mark.parametrize(
    ("typed", "becomes"),
    [
        ("modelapp che", "modelapp check "),
        ("modelapp check --form", "modelapp check --format "),
        ("modelapp check --format g", "modelapp check --format github "),
        ("modelapp test ha", r"modelapp test half\ off "),
        ("modelapp test 'ha", "modelapp test 'half off' "),
        ("modelapp test --tag sl", "modelapp test --tag slow "),
        ("modelapp test --accept ha", r"modelapp test --accept half\ off "),
        ("modelapp --profile pr", "modelapp --profile prod "),
        ("modelapp predict ju", "modelapp predict judge "),
        ("modelapp predict judge te", "modelapp predict judge text="),
        ("modelapp predict judge tone=w", "modelapp predict judge tone=warm "),
        ("modelapp predict judge photo=@my", r"modelapp predict judge photo=@my\ data/"),
        ("modelapp --set server.p", "modelapp --set server.port="),
        ("modelapp test --junit rep", "modelapp test --junit report.xml "),
        ("modelapp -C my", r"modelapp -C my\ data/"),
        ("modelapp completion f", "modelapp completion fish "),
        ("modelapp compl", "modelapp completion "),
    ],
)
def test_what_is_typed_is_completed(kind, typed, becomes, shell):
    """Verbs, options and their values, and the names of app.toml, quoted so that they stay one word."""
    found = shell(kind).typed(typed)
    if kind == "zsh":  # which ends options with "=" and keeps the blank until more is typed
        found, becomes = found.rstrip("= "), becomes.rstrip("= ")
    assert found == becomes


@pytest.mark.parametrize("kind", ["bash", "zsh"])
def test_a_name_full_of_quotes_comes_through_whole(kind, shell, app):
    """What is inserted is, to the shell, the very name."""
    line = shell(kind).typed("modelapp test cos")
    asked = subprocess.run(
        [kind, "-c", line.replace("modelapp test", "printf %s")], capture_output=True, text=True, check=True
    )
    assert asked.stdout == 'costs $5: "so little"'


@pytest.mark.parametrize("kind", ["bash", "zsh"])
def test_the_app_of_another_folder_is_read(kind, shell, app):
    """`-C` counts while the line is being typed, a folder with a blank included."""
    assert shell(kind, app.parent).typed(r"modelapp -C shop\ app test ha").rstrip() == (
        r"modelapp -C shop\ app test half\ off"
    )


def test_bash_offers_everything_that_fits(shell):
    """Of each kind all, and what is given already no more."""
    bash = shell("bash")
    assert bash.offers("modelapp ") == sorted(verb.name for verb in command_line().verbs)
    assert bash.offers("modelapp predict ") == ["count", "judge"]
    assert bash.offers("modelapp predict judge text=x ") == ["photo=", "tone=dry", "tone=warm"]
    assert bash.offers("modelapp test --tag ") == ["sale", "slow"]


def test_fish_offers_what_fits(app, modelapp, tmp_path):
    """Asked by its own `complete -C`."""
    if not shutil.which("fish"):
        pytest.skip("fish is not installed")
    (tmp_path / "script").write_text(modelapp("completion", "fish").stdout)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    def offers(line, folder=app):
        asked = f"source {tmp_path / 'script'}; complete -C {json.dumps(line)}"
        done = subprocess.run(
            ["fish", "--no-config", "-c", asked],
            cwd=folder,
            env={**os.environ, "PATH": path, "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stderr == ""
        return [found.partition("\t")[0] for found in done.stdout.splitlines()]

    assert set(offers("modelapp ")) == {verb.name for verb in command_line().verbs}
    assert offers("modelapp test half") == ["half off"]
    assert sorted(offers("modelapp test --tag ")) == ["sale", "slow"]
    assert offers("modelapp check --format=g") == ["--format=github"]
    assert sorted(offers("modelapp predict judge t")) == ["text=", "tone=dry", "tone=warm"]
    assert offers("modelapp predict judge photo=@rep") == ["photo=@report.xml"]
    assert offers("modelapp --profile ") == ["prod"]
    assert "half off" in offers(r"modelapp -C shop\ app test ", app.parent)


@pytest.mark.parametrize("kind", SHELLS)
def test_every_shell_takes_its_script(kind, modelapp, tmp_path):
    """By its own syntax check; the document holds the same script."""
    done = modelapp("completion", kind)
    assert done.returncode == 0, done.stderr
    assert json.loads(modelapp("completion", kind, "--json").stdout)["script"] == done.stdout
    if not shutil.which(kind):
        pytest.skip(f"{kind} is not installed")
    (tmp_path / "script").write_text(done.stdout)
    checked = subprocess.run([kind, "-n", tmp_path / "script"], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_every_kind_of_value_is_one_that_can_be_offered():
    """A kind that `modelapp complete` does not know would offer nothing, unnoticed."""
    line = command_line()
    arguments = [*line.options, *(option for verb in line.verbs for option in verb.options)]
    arguments += [verb.words for verb in line.verbs if verb.words]
    assert {argument.takes for argument in arguments} <= {"", ANYTHING, FILES, FOLDERS, *NAMES}
    assert "complete" not in {verb.name for verb in line.verbs}


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["endpoints"], ["judge", "count"]),
        (["jobs"], ["nightly"]),
        (["models"], ["words"]),
        (["profiles"], ["prod"]),
        (["tags"], ["sale", "slow"]),
        (["tests"], ["half off", 'costs $5: "so little"']),
        (["inputs", "--", "count"], ["exact=true", "exact=false"]),
        (["inputs", "--", "judge", "photo=@x", "text=a=b"], ["tone=dry", "tone=warm"]),
    ],
)
def test_names_come_from_the_file(words, names, app, modelapp):
    """In its order, each once."""
    done = modelapp("complete", *words, cwd=app)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == names
    assert json.loads(modelapp("complete", "--json", *words, cwd=app).stdout)["names"] == names


def test_the_keys_are_those_that_set_can_override(app, modelapp):
    """With their tables; tests and profiles are not among them."""
    keys = modelapp("complete", "keys", cwd=app).stdout.splitlines()
    assert {"app.name=", "server.port=", "endpoints.judge.input.tone.choices=", "jobs.nightly.endpoint="} <= set(keys)
    assert [key for key in keys if key.startswith(("tests", "profiles"))] == []


@pytest.mark.parametrize(
    "text",
    ["", "[app\n", "tests = 3", "[[tests]]\nname = 3\ntags = 'x'", "endpoints = []", "[endpoints]\na = 1", "\x00"],
)
@pytest.mark.parametrize("kind", NAMES)
def test_a_file_that_is_not_right_offers_nothing_and_says_nothing(kind, text, write_app, modelapp):
    """A line that is being typed is no place for complaints."""
    done = modelapp("complete", kind, "--", "x", cwd=write_app(text))
    assert (done.returncode, done.stderr) == (0, "")
    assert kind in ("endpoints", "keys") or done.stdout == ""


def test_no_file_at_all_offers_nothing(tmp_path, modelapp):
    """Most folders are not an app's."""
    done = modelapp("complete", "tests", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

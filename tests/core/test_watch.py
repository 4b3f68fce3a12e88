"""`modelapp run --watch` on a real app: each kind of change, and what it costs; nobody waits or fails meanwhile."""

import json
import re
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

TOML = """\
[app]
name = "tale"

[models.up]
source = "up.py:Up"
runtime = "python"
max_batch_size = 4

[endpoints.shout]
timeout_s = 20
steps = [
  { name = "loud", run = "up", needs = ["text"] },
  { name = "marked", run = "handlers.py:mark", needs = ["loud"] },
]
[endpoints.shout.input]
text = "str"

[[tests]]
name = "shouts"
input = { text = "a" }
expect = { text = "A!" }
"""
HANDLERS = """\
def mark(loud):
    return {**loud, "text": loud["text"] + "!"}
"""
MODEL = """\
import uuid


class Up:
    def __init__(self, step: int = 0):
        self.weights = uuid.uuid4().hex

    def predict(self, rows: list[dict]) -> list[dict]:
        return [{"text": row["text"].upper(), "weights": self.weights} for row in rows]
"""
PATIENCE_S = 15


class Watched:
    """The app under `run --watch`. `weights` tells one loading of the model from another."""

    def __init__(self, root: Path, command: Any, patience_s: float = PATIENCE_S) -> None:
        self.root = root
        self.patience_s = patience_s
        self.command = command
        self.seen = 0
        self.expect(r"tests: 1 passed")
        self.url = re.search(r"serving (http://\S+)", command.stdout)[1]

    def expect(self, pattern: str) -> str:
        """Wait until the notes after those seen already match; gives what they say."""
        until = time.monotonic() + self.patience_s
        while time.monotonic() < until:
            new = self.command.stderr[self.seen :]
            if found := re.search(pattern, new):
                self.seen += found.end()
                return new[: found.end()]
            assert self.command.process.poll() is None, self.command.stderr
            time.sleep(0.02)
        raise AssertionError(f"{pattern} is not in\n{self.command.stderr[self.seen :]}\n{self.command.stdout}")

    def edit(self, name: str, old: str, new: str) -> None:
        """Change a file in one go."""
        path = self.root / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    def ask(self, path: str = "/shout", text: str = "a") -> tuple[int, Any, str]:
        """Status, answer and release."""
        body = json.dumps({"text": text}).encode()
        request = urllib.request.Request(self.url + path, body, {"content-type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
                return answer.status, json.load(answer), answer.headers["x-modelapp-release"]
        except urllib.error.HTTPError as error:
            return error.code, json.load(error), error.headers["x-modelapp-release"]

    @property
    def weights(self) -> str:
        """Which loading of the model answers."""
        return self.ask()[1]["weights"]

    @property
    def release(self) -> str:
        """The release that answers."""
        return self.ask()[2]


@pytest.fixture
def watched(write_app: Callable[..., Path], background: Callable[..., Any]) -> Watched:
    """The app, ready and tested once."""
    root = write_app(TOML, {"handlers.py": HANDLERS, "up.py": MODEL})
    return Watched(root, background("--set", "server.port=0", "run", "--watch", cwd=root))


def test_a_comment_costs_nothing(watched: Watched) -> None:
    """Neither weights nor release change, and no test runs."""
    before = watched.weights, watched.release
    watched.edit("app.toml", "[app]", "# a tale\n[app]")
    watched.edit("handlers.py", '"!"', '"!!"')  # proves that the comment was looked at before
    said = watched.expect(r"tests: 1 failed")
    assert watched.weights == before[0]
    assert watched.release != before[1]
    assert len(re.findall(r"changed:", said)) == 1


def test_tests_are_run_again_and_nothing_else(watched: Watched) -> None:
    """The changed test alone runs; the models and the release stay."""
    before = watched.weights, watched.release
    watched.edit(
        "app.toml", "[[tests]]", '[[tests]]\nname = "two"\ninput = { text = "b" }\nexpect = { text = "B!" }\n[[tests]]'
    )
    assert "models kept" in watched.expect(r"tests: 1 passed")
    assert (watched.weights, watched.release) == before


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("timeout_s = 20", "timeout_s = 21", "weights kept: up"),
        ("max_batch_size = 4", "max_batch_size = 8", "new batching, weights kept: up"),
        ("max_batch_size = 4", "max_queue = 9\nmax_wait_ms = 1", "new batching, weights kept: up"),
        (
            "[[tests]]",
            "[guarantees.latency]\np95_ms = 900\nconcurrency = 2\nduration_s = 60\n[[tests]]",
            "weights kept: up",
        ),
        ('text = "str"', 'text = { type = "str", max_chars = 3 }', "weights kept: up"),
    ],
)
def test_bounds_and_fields_keep_the_weights(watched: Watched, old: str, new: str, says: str) -> None:
    """Another release with the same weights."""
    before = watched.weights, watched.release
    watched.edit("app.toml", old, new)
    assert says in watched.expect(r"tests: 1 passed")
    assert watched.weights == before[0]
    assert watched.release != before[1]
    if "max_chars" in new:
        assert watched.ask(text="long")[0] == 422


def test_a_function_is_swapped_under_the_same_weights(watched: Watched) -> None:
    """The answer is the new function's."""
    before = watched.weights
    watched.edit("handlers.py", '"!"', '"?"')
    assert "code swapped; weights kept: up" in watched.expect(r"tests: 1 failed")
    status, answer, _ = watched.ask()
    assert (status, answer["text"], answer["weights"]) == (200, "A?", before)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("up.py", "import uuid", "import uuid\n"),
        ("app.toml", 'runtime = "python"', 'runtime = "python"\nthreads = 1'),
        ("app.toml", 'runtime = "python"', 'runtime = "python"\nfinite = true'),
    ],
)
def test_another_class_or_other_options_are_loaded_beside_the_old(
    watched: Watched, name: str, old: str, new: str
) -> None:
    """Other weights answer, after their warm-up."""
    before = watched.weights
    watched.edit(name, old, new)
    assert "loaded: up" in watched.expect(r"tests: 1 passed")
    assert watched.weights != before


def test_models_and_endpoints_come_and_go(watched: Watched) -> None:
    """The new one answers, the old one is not found any more."""
    old = "[models.up]"
    more = '[models.more]\nsource = "up.py:Up"\nruntime = "python"\n[endpoints.more]\nmodel = "more"\n[models.up]'
    watched.edit("app.toml", old, more)
    watched.edit("app.toml", "[[tests]]", '[[tests]]\nendpoint = "shout"')
    said = watched.expect(r"tests: 1 passed")
    assert "loaded: more; weights kept: up" in said
    assert "model more   python cpu" in said
    assert watched.ask("/more")[0] == 200
    watched.edit("app.toml", more, old)
    assert "removed: more" in watched.expect(r"tests: 1 passed")
    assert watched.ask("/more")[0] == 404


@pytest.mark.parametrize(
    ("name", "old", "new", "says"),
    [
        ("app.toml", "max_batch_size", "max_bach_size", r"app\.toml:7:1"),
        ("app.toml", "[models.up]", "[models.up", r"table header is not closed"),
        ("handlers.py", "return", "return (", r"handlers\.py:2"),
        ("handlers.py", "def mark", "import nowhere_to_be_found\ndef mark", r"nowhere_to_be_found"),
        ("handlers.py", 'loud["text"]', 'loud["txt"]', r"did not answer its warm-up"),
        ("up.py", "self.weights =", "self.wights =", r"up\.py"),
        ("up.py", "uuid.uuid4()", "uuid.uuid44()", r"uuid44"),
    ],
)
def test_a_broken_edit_keeps_the_old_app_and_says_so(
    watched: Watched, name: str, old: str, new: str, says: str
) -> None:
    """Whole and unchanged; the next good edit is taken over."""
    before = watched.ask()
    watched.edit(name, old, new)
    watched.expect(rf"the running app stays\n[\s\S]*{says}")
    assert watched.ask() == before
    watched.edit(name, new, old)
    watched.expect("the files are again what is served")
    watched.edit("handlers.py", '"!"', '"?"')
    watched.expect(r"tests: 1 failed")
    assert watched.ask()[1] == {**before[1], "text": "A?"}


def test_a_test_that_checks_nothing_is_said(watched: Watched) -> None:
    """It costs the replica nothing, so the command must tell."""
    empty = '[[tests]]\nname = "two"\ninput = { text = "b" }\n[[tests]]'
    watched.edit("app.toml", "[[tests]]", empty)
    assert "the running app stays" in watched.expect(r'test "two" checks nothing')
    watched.edit("app.toml", empty, "[[tests]]")
    watched.expect("the files are again what is served")


def test_another_address_starts_the_command_again_and_says_so(watched: Watched) -> None:
    """The same process id, another socket."""
    watched.edit("app.toml", "[[tests]]", '[server]\nhost = "127.0.0.2"\n[[tests]]')
    watched.expect(r'a new process is needed: \[server\] host "127.0.0.1" -> "127.0.0.2"')
    watched.expect(r"tests: 1 passed")
    assert "serving http://127.0.0.2:" in watched.command.stdout


def test_more_threads_than_libraries_have_taken_are_said(watched: Watched) -> None:
    """The model is loaded again, but some libraries read once how many they may have."""
    watched.edit("app.toml", 'runtime = "python"', 'runtime = "python"\nthreads = 77')
    said = watched.expect(r"tests: 1 passed")
    assert "loaded: up" in said
    assert "note: OMP_NUM_THREADS is 77 after a restart, and" in said


@pytest.mark.slow
def test_a_longer_time_to_drain_is_the_commands_too(
    write_app: Callable[..., Path], background: Callable[..., Any]
) -> None:
    """A replica that drains for as long as it now may is not killed for it."""
    held = 'import time\ndef mark(loud):\n    time.sleep(7 if loud["text"] == "HELD" else 0)\n    return loud\n'
    toml = TOML.replace("A!", "A") + "[server]\ndrain_s = 0.1\n"
    root = write_app(toml, {"handlers.py": held, "up.py": MODEL})
    watched = Watched(root, background("--set", "server.port=0", "run", "--watch", cwd=root))
    watched.edit("app.toml", "drain_s = 0.1", "drain_s = 20")
    watched.expect(r"tests: 1 passed")
    with ThreadPoolExecutor(1) as beside:
        asked = beside.submit(watched.ask, text="held")
        time.sleep(0.5)  # it is under way
        watched.command.process.terminate()
        assert asked.result()[0] == 200
    assert watched.command.process.wait(PATIENCE_S) == 0


@pytest.mark.slow
def test_other_requirements_start_the_command_in_another_environment(
    write_app: Callable[..., Path], background: Callable[..., Any]
) -> None:
    """It is built before the running app ends; one that cannot be built keeps it."""
    code = {"handlers.py": "import six\n" + HANDLERS.replace('"!"', "six.__version__"), "up.py": MODEL}
    root = write_app(
        TOML.replace("[models.up]", 'requirements = "r.lock"\n[models.up]').replace("A!", "A1.16.0"),
        {**code, "r.lock": "six==1.16.0\n"},
    )
    watched = Watched(root, background("--set", "server.port=0", "run", "--watch", cwd=root), patience_s=300)
    watched.edit("r.lock", "six", "# why\nsix")
    watched.edit("app.toml", "A1.16.0", "A1.17.0")
    assert "new process" not in watched.expect(r"tests: 1 failed")
    watched.edit("r.lock", "1.16.0", "1.17.0")
    watched.expect(r"r\.lock asks for another environment")
    watched.expect(r"tests: 1 passed")
    watched.edit("r.lock", "1.17.0", "999.0")
    watched.expect(r"could not be installed")
    watched.expect(r"the running app stays")
    watched.edit("r.lock", "999.0", "1.17.0")
    watched.expect(r"the files are again what is served")


def test_an_address_that_cannot_be_had_keeps_the_old_one(watched: Watched) -> None:
    """It is tried before anything ends."""
    watched.edit("app.toml", "[[tests]]", '[server]\nhost = "no.such.host.invalid"\n[[tests]]')
    watched.expect(r"is no address of this machine")
    watched.expect(r"the running app stays")
    assert watched.ask()[0] == 200


def test_an_editor_may_empty_the_file_before_it_writes(watched: Watched) -> None:
    """What is read is what stands there after a moment of quiet."""
    text = (watched.root / "handlers.py").read_text()
    (watched.root / "handlers.py").write_text("")
    (watched.root / "handlers.py").write_text(text.replace('"!"', '"?"'))
    draft = watched.root / "app.toml.draft"
    draft.write_text((watched.root / "app.toml").read_text().replace("timeout_s = 20", "timeout_s = 22"))
    draft.replace(watched.root / "app.toml")
    said = watched.expect(r"tests: 1 failed")
    assert "stays" not in said
    assert watched.ask()[1]["text"] == "A?"


def test_files_that_are_none_of_the_app_are_not_looked_at(watched: Watched) -> None:
    """A log that grows in the folder is no change."""
    for number in range(3):
        (watched.root / "app.log").write_text(str(number))
        time.sleep(0.15)
    watched.edit("handlers.py", '"!"', '"?"')
    said = watched.expect(r"tests: 1 failed")
    assert said.count("changed:") == 1
    assert "app.log" not in said


def test_no_request_fails_while_everything_changes(watched: Watched) -> None:
    """Four clients keep asking through every kind of change; each answer is whole, old or new."""
    stop, answers = threading.Event(), []

    def ask() -> None:
        while not stop.is_set():
            answers.append(watched.ask())

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        watched.edit("handlers.py", '"!"', '"?"')
        watched.expect(r"tests: 1 failed")
        watched.edit("app.toml", "max_batch_size = 4", "max_batch_size = 2")
        watched.expect(r"tests: 1 failed")
        watched.edit("up.py", ".upper()", ".title()")
        watched.expect(r"tests: 1 failed")
        watched.edit("app.toml", "timeout_s = 20", "timeout_s = 19")
        watched.expect(r"tests: 1 failed")
        watched.edit("handlers.py", "return", "return (")
        watched.expect(r"stays")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert {status for status, _, _ in answers} == {200}
    assert {answer["text"] for _, answer, _ in answers} == {"A!", "A?"}
    releases = {release for _, _, release in answers}
    assert len(releases) == 5
    told = {(answer["text"], release) for _, answer, release in answers}
    assert len(told) == 5, "a release has one way to answer"


def test_the_running_app_is_found_by_its_new_release(watched: Watched, modelapp: Callable[..., Any]) -> None:
    """`predict` asks it, and does not take it for an old one."""
    watched.edit("handlers.py", '"!"', '"?"')
    watched.expect(r"tests: 1 failed")
    asked = modelapp("--set", "server.port=0", "predict", "text=b", cwd=watched.root)
    assert json.loads(asked.stdout)["text"] == "B?"
    assert "using the running app" in asked.stderr
    assert "have changed" not in asked.stderr


def test_another_host_on_the_same_port_starts_the_command_again(
    write_app: Callable[..., Path], background: Callable[..., Any]
) -> None:
    """The port is this very app's own, so that it being taken is no reason to stay."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = f'[server]\nhost = "127.0.0.1"\nport = {port}\n'
    root = write_app(TOML + server, {"handlers.py": HANDLERS, "up.py": MODEL})
    watched = Watched(root, background("run", "--watch", cwd=root))
    watched.edit("app.toml", 'host = "127.0.0.1"', 'host = "127.0.0.2"')
    watched.expect(r"a new process is needed")
    watched.expect(r"tests: 1 passed")
    assert f"serving http://127.0.0.2:{port}" in watched.command.stdout


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("raise ValueError(1)\n", r"handlers\.py:3: ValueError: 1"),
        ("import nothere\n", r"handlers\.py:3: ModuleNotFoundError"),
    ],
)
def test_what_a_file_of_handlers_raises_is_told_with_its_place(watched: Watched, more: str, says: str) -> None:
    """File and line, as `run` tells it."""
    path = watched.root / "handlers.py"
    path.write_text(path.read_text() + more)
    watched.expect("the running app stays")
    watched.expect(says)


def test_an_answer_without_what_is_declared_is_not_taken_over(watched: Watched) -> None:
    """The warm-up's answer could not be sent, so the old one stays."""
    watched.edit("app.toml", "[[tests]]", '[endpoints.shout.output]\ntext = "str"\nmarks = "int"\n[[tests]]')
    watched.expect(r"the running app stays")
    watched.expect(r'"marks" is missing')
    assert watched.ask()[1]["text"] == "A!"

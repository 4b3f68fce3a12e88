"""Secrets of a running app: what opens it, and that none of them comes out anywhere."""

import json
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from modelapp.testing import AppProject, RunningApp

WEB, NEXT, CI, OPS = (f"{name}-planted-0123456789" for name in ("web", "next", "ci", "ops"))
TOKENS = f"web={WEB} web={NEXT}, ci={CI}\n ops={OPS}"
SHORT = "planted-short"
APP = """
[app]
name = "guarded"

[models.m]
source = "handlers.py:M"
runtime = "python"

[endpoints.score]
model = "m"
[endpoints.score.input]
x = "int"
[endpoints.score.output]
seen = "str"

[endpoints.other]
steps = [{ name = "out", run = "handlers.py:other", needs = ["x"] }]
[endpoints.other.input]
x = "int"

[[tests]]
name = "nothing is seen"
endpoint = "score"
input = { x = 1 }
expect = { seen = "" }
repeat = 5

[server]
tokens_env = "GUARDED_TOKENS"
rate_per_s = 1000
[server.tokens.ci]
endpoints = ["other"]
rate_per_s = 0.001
[server.tokens.ops]
admin = true
"""
HANDLERS = """
import os

AT_IMPORT = [value for value in os.environ.values() if "planted" in value]
CONTROL = [name for name in os.environ if "CONTROL" in name]


class M:
    def predict(self, batch: list[dict]) -> list[dict]:
        seen = AT_IMPORT + CONTROL + [value for value in os.environ.values() if "planted" in value]
        return [{"seen": " ".join(seen)} for row in batch]


def other(x):
    if x < 0:
        raise ValueError("no")
    return {"y": x}
"""


@pytest.fixture
def guarded(tmp_path: Path) -> AppProject:
    """An app that asks for tokens, with all of them in its environment."""
    env = {"GUARDED_TOKENS": TOKENS, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    return AppProject(tmp_path / "guarded", env=env).write(APP, handlers=HANDLERS)


def status(app: RunningApp, token: str, path: str = "/score", method: str = "POST", x: int = 1) -> int:
    """What a request with a token gets."""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    return app.ask(method, path, json.dumps({"x": x}) if method == "POST" else b"", headers).status


def wait_for(told: Callable[[], bool]) -> None:
    """Until it holds."""
    until_s = time.monotonic() + 20
    while not told():
        assert time.monotonic() < until_s
        time.sleep(0.05)


def children(pid: int) -> list[int]:
    """The processes that any thread of a process has started."""
    return [int(one) for file in Path(f"/proc/{pid}/task").glob("*/children") for one in file.read_text().split()]


def command_lines(pid: int) -> str:
    """The command lines of a process and of all below it."""
    own = Path(f"/proc/{pid}/cmdline").read_bytes().decode()
    return "\n".join([own, *map(command_lines, children(pid))])


def test_only_holders_of_a_token_come_in(guarded: AppProject) -> None:
    """Each by what its table says; health is open; the model's own code finds no secret in its environment."""
    with guarded.serve() as app:
        assert [status(app, "", path, "GET") for path in ("/livez", "/readyz", "/openapi.json", "/v2")] == [200] * 4
        assert [status(app, token) for token in ("", WEB[:-1], SHORT, f"{WEB} web={NEXT}")] == [401] * 4
        described = app.ask("GET", "/openapi.json").json()
        assert described["components"]["securitySchemes"] == {"token": {"type": "http", "scheme": "bearer"}}
        asks = {path for path, one in described["paths"].items() if "security" in next(iter(one.values()))}
        assert {"/score", "/other", "/v2/models/{model}/infer"} <= asks
        assert asks.isdisjoint({"/", "/livez", "/readyz", "/openapi.json"})
        refused = app.ask("POST", "/score", "{}")
        assert refused.headers["www-authenticate"] == "Bearer"
        assert refused.json()["error"]["code"] == "unauthorized"
        assert [status(app, token) for token in (WEB, NEXT, OPS)] == [200] * 3
        assert status(app, CI) == 403
        assert status(app, CI, "/v2/models/m/infer") == 403
        assert [status(app, CI, "/other") for _ in range(2)] == [200, 429]
        answer = app.ask("POST", "/score", '{"x": 1}', {"authorization": f"Bearer {WEB}"})
        assert answer.json() == {"seen": ""}
        late = app.ask("POST", "/other", '{"x": 1}', {"authorization": f"Bearer {CI}"})
        assert int(late.headers["retry-after"]) > 900


def test_a_reload_changes_what_a_token_may(guarded: AppProject) -> None:
    """SIGHUP to the replica; tables that speak of tokens it was not given leave all as it was."""
    with guarded.serve() as app:
        (replica,) = children(app.pid)
        assert status(app, CI) == 403
        text = (guarded.folder / "app.toml").read_text()
        (guarded.folder / "app.toml").write_text(text.replace('endpoints = ["other"]', 'endpoints = ["score"]'))
        os.kill(replica, signal.SIGHUP)
        wait_for(lambda: status(app, CI) in (200, 429))
        assert status(app, CI, "/other") == 403
        (guarded.folder / "app.toml").write_text(text.replace("GUARDED_TOKENS", "ANOTHER"))
        os.kill(replica, signal.SIGHUP)
        wait_for(lambda: "ANOTHER, which is not set" in app.output.stderr)
        assert status(app, WEB) == 200


@pytest.mark.parametrize("verb", [("run",), ("test",), ("predict", "score", "x=1")])
@pytest.mark.parametrize(
    ("tokens", "told"),
    [
        (None, "GUARDED_TOKENS, which is not set"),
        (" ", "GUARDED_TOKENS, which is empty"),
        (f"web={WEB} ci={CI} ops={SHORT}", "entry 3 of GUARDED_TOKENS is shorter than 16"),
        (f"web={WEB} ci={CI} ops={CI}", 'gives "ci" and "ops" the same secret'),
        (f"web={WEB} ci={CI}", "[server.tokens.ops] speaks of a token that GUARDED_TOKENS does not hold"),
    ],
)
def test_nothing_starts_without_its_tokens(guarded: AppProject, verb, tokens, told) -> None:
    """Exit status 5, before anything listens; the text has no secret."""
    if tokens is None:
        del guarded.env["GUARDED_TOKENS"]
    else:
        guarded.env["GUARDED_TOKENS"] = tokens
    outcome = guarded.run(*verb)
    assert outcome.exit_code == 5, outcome
    assert told in outcome.stderr
    assert "planted" not in outcome.stdout + outcome.stderr


def test_no_secret_comes_out_anywhere(guarded: AppProject, tmp_path: Path) -> None:
    """In no output of any verb with all its words, no file, no command line, no answer, whatever fails."""
    texts = []
    for words in (
        ("check",),
        ("check", "--resolved"),
        ("check", "--json"),
        ("lock",),
        ("test", "-vv", "--junit", str(tmp_path / "junit.xml")),
        ("test", "--json"),
        ("predict", "-vv", "other", "x=-1"),
        ("plugins", "--json"),
    ):
        outcome = guarded.run(*words)
        assert outcome.exit_code in (0, 1), outcome
        texts += [outcome.stdout, outcome.stderr]
    with guarded.serve("-vv") as app:
        running = json.loads((guarded.folder / ".modelapp" / "running.json").read_text())
        assert (guarded.folder / ".modelapp" / "running.json").stat().st_mode & 0o077 == 0
        control = running["token"]
        for headers in ({}, {"authorization": f"Bearer {WEB}"}, {"authorization": f"Bearer {WEB}x"}):
            for path in ("/score", "/other", "/nowhere", "/v2/models/m/infer", "/v2/repository/index", "/metrics"):
                for body in ("{}", '{"x": 1}', '{"x": -1}', "{"):
                    answer = app.ask("POST", path, body, headers)
                    texts += [answer.body.decode(), repr(answer.headers)]
        for words in (("dump",), ("dump", "--json")):
            dumped = guarded.run(*words)
            assert dumped.exit_code == 0, dumped
            texts += [dumped.stdout, dumped.stderr]
        texts.append(command_lines(app.pid))
        assert "modelapp.replica" in texts[-1]
        output = app.stop()
    texts += [output.stdout, output.stderr, (tmp_path / "junit.xml").read_text()]
    for folder in (guarded.folder, tmp_path / "cache"):
        texts += [
            path.read_bytes().decode(errors="replace")
            for path in folder.rglob("*")
            if path.suffix != ".pyc" and path.is_file() and path.name not in ("app.toml", "handlers.py")
        ]
    for secret in (WEB, NEXT, CI, OPS, control):
        assert not [text for text in texts if secret in text]


def test_it_listens_to_this_machine_alone_unless_told(guarded: AppProject) -> None:
    """127.0.0.1 is the default; another address without tokens is warned of, with tokens it is not."""
    open_ = AppProject(guarded.folder.parent / "open", env=guarded.env)
    open_.write(APP.partition("[server]")[0], handlers=HANDLERS)
    with open_.serve() as app:
        assert _listens("127.0.0.1", app.port)
        assert not _listens("127.0.0.2", app.port)
        assert "warning" not in app.output.stderr
    with open_.serve("--set", 'server.host="0.0.0.0"') as app:
        assert _listens("127.0.0.2", app.port)
        assert "warning: whoever reaches 0.0.0.0 may call this app" in app.output.stderr
    with guarded.serve("--set", 'server.host="0.0.0.0"') as app:
        assert "whoever" not in app.output.stderr


def _listens(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True

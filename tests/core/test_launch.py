"""How a replica's process is started."""

import os
from pathlib import Path

import attrs
import pytest

from modelapp.app import App, AppInfo, Model, Server
from modelapp.launch import TOKEN_VARIABLE, prepare, thread_budget
from modelapp.runtime import RuntimeSpec


def spec(name: str, **environment: str) -> RuntimeSpec:
    """A runtime that nobody opens."""
    return RuntimeSpec(name=name, open=lambda: None, environment=environment)  # type: ignore[arg-type, return-value]


def app(**threads: int) -> App:
    """An app with one model a keyword, each with its threads."""
    models = {name: Model(name=name, source="x", runtime=name, threads=count) for name, count in threads.items()}
    return App(app=AppInfo(name="app"), models=models, root=Path("/srv/app"), path=Path("/srv/app/app.toml"))


@pytest.mark.parametrize(("cores", "replicas", "threads"), [(8, 1, 8), (8, 3, 2), (2, 4, 1), (1, 1, 1)])
def test_replicas_share_the_cores(monkeypatch: pytest.MonkeyPatch, cores: int, replicas: int, threads: int) -> None:
    """Each gets its whole share, and never less than one."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
    assert thread_budget(replicas) == threads


def test_native_libraries_are_told_their_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of their variables, and that idle threads must not spin."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})
    environment = prepare(app(a=0), {}).environment
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        assert environment[name] == "3"
    assert environment["OMP_WAIT_POLICY"] == "PASSIVE"


def test_a_model_with_more_threads_raises_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Declared threads hold, since the libraries take one number for the whole process."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    assert prepare(app(a=0, b=5), {}).environment["OMP_NUM_THREADS"] == "5"
    assert prepare(app(a=1), {}).environment["OMP_NUM_THREADS"] == "1"


def test_runtimes_that_are_used_set_their_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the number of threads filled in; a runtime that no model uses sets nothing."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    runtimes = {"a": spec("a", A_THREADS="{threads}", A_MODE="x"), "b": spec("b", B_MODE="y")}
    environment = prepare(app(a=0), runtimes).environment
    assert (environment["A_THREADS"], environment["A_MODE"]) == ("2", "x")
    assert "B_MODE" not in environment


def test_each_launch_has_a_token_of_its_own() -> None:
    """It reaches the replica by its environment, which other users cannot read, and is not printed."""
    first, second = prepare(app(), {}), prepare(app(), {})
    assert first.token != second.token
    assert len(first.token) >= 32
    assert first.environment[TOKEN_VARIABLE] == first.token
    assert not any(first.token in word for word in first.command(3, 4))


def test_the_command_line_names_everything() -> None:
    """App, socket, events and overrides, for this very Python."""
    words = prepare(app(), {}, ["server.port=1", "app.seed=2"]).command(3, 4)
    assert words[1:] == [
        *("-P", "-m", "modelapp.replica", "--app", "/srv/app/app.toml", "--fd", "3", "--events", "4"),
        *("--set", "server.port=1", "--set", "app.seed=2"),
    ]


def test_a_log_in_json_is_told_on_the_command_line() -> None:
    """So that what a replica says of an app that it cannot read is JSON too."""
    as_json = attrs.evolve(app(), server=Server(log_format="json"))
    words = prepare(as_json, {}).command(3, 4)
    assert words[words.index("--log-format") + 1] == "json"

"""Fixtures for every room: an app folder to write into, and the command line as users start it."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import settings

# Elsewhere examples are drawn anew each time; a change is judged by the same ones every time.
settings.register_profile("fast", deadline=None, max_examples=60, derandomize=bool(os.environ.get("CI")))
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))

WriteApp = Callable[..., Path]
RunCommand = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(autouse=True)
def _own_surroundings(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's cache, and none takes itself for a job of a CI, where more is refused."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    for name in ("CI", "GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "NO_COLOR", "MODELAPP_DISABLE_PLUGINS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def write_app(tmp_path: Path) -> WriteApp:
    """Writes an app into a folder of its own and returns the folder: write_app(toml, **{"handlers.py": text})."""

    def write(toml: str, files: Mapping[str, str | bytes] | None = None, *, name: str = "app") -> Path:
        root = tmp_path / name
        root.mkdir(exist_ok=True)
        (root / "app.toml").write_text(toml, encoding="utf-8")
        for path, content in (files or {}).items():
            target = root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                target.write_bytes(content)
            else:
                target.write_text(content, encoding="utf-8")
        return root

    return write


@pytest.fixture
def modelapp() -> RunCommand:
    """Runs `modelapp WORDS...` to its end: modelapp("check", cwd=folder, env={...})."""

    def run(
        *words: object, cwd: Path | None = None, env: Mapping[str, str] | None = None, timeout_s: float = 60
    ) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "modelapp", *map(str, words)],
            cwd=cwd,
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    return run


class Background:
    """`modelapp WORDS...` in the background, with its two outputs in files that may be read at any time."""

    def __init__(self, words: tuple[object, ...], cwd: Path, folder: Path, env: Mapping[str, str]) -> None:
        self._out, self._err = folder / "stdout", folder / "stderr"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "modelapp", *map(str, words)],
                cwd=cwd,
                env={**os.environ, **env},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                # A shell that starts the tests in the background makes them ignore SIGINT, and their children too.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )

    @property
    def stdout(self) -> str:
        """What it has printed so far."""
        return self._out.read_text(encoding="utf-8")

    @property
    def stderr(self) -> str:
        """The notes it has printed so far."""
        return self._err.read_text(encoding="utf-8")


@pytest.fixture
def background(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Background]]:
    """Starts `modelapp WORDS...` and ends it after the test: background("run", cwd=folder)."""
    started: list[Background] = []

    def start(*words: object, cwd: Path, env: Mapping[str, str] | None = None) -> Background:
        command = Background(words, cwd, tmp_path_factory.mktemp("output"), env or {})
        started.append(command)
        return command

    yield start
    for command in started:
        if command.process.poll() is None:
            command.process.kill()
        command.process.wait()

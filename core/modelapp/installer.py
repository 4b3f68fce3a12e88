"""Makes a virtual environment and installs into it: by uv where there is one, else by venv and pip."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import attrs

from modelapp import pipsettings
from modelapp.enclosure import LEAK, OUTSIDE, interpreter
from modelapp.errors import SurroundingsError
from modelapp.requirements import redacted
from modelapp.versions import is_python

_MISLEAD = (
    "PIP_TARGET",
    "PIP_PREFIX",
    "PIP_ROOT",
    "PIP_PYTHON",
    "UV_PYTHON",
    "UV_SYSTEM_PYTHON",
    "UV_TARGET",
    "UV_PREFIX",
)
"""Variables that would have an installer put things elsewhere."""
_LAST_LINES = 12
_NOISE = (
    *("Using Python", "Collecting ", "Processing ", "Downloading ", "Obtaining ", "Looking in", "Requirement already"),
    *("INFO: ", "WARNING: Location", "[notice]", "━"),
)
"""How lines begin that do not say why something failed."""
_NEWEST_PYTHON = 30
_OUTPUT_ERRORS = "replace"
WHICH = "import platform as p; print(p.python_implementation(), p.python_version())"
"""What a Python is asked to know which one it is."""


class StepFailedError(Exception):
    """A command of an installer that failed; `lines` are the last it printed, without secrets."""

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = tuple(lines)


class Installer(Protocol):
    """What makes environments. `create` and `install` raise StepFailedError."""

    @property
    def name(self) -> str:
        """The program and its version."""
        ...

    def create(self, folder: Path, python: str) -> None:
        """Make an empty environment at `folder`. `python` is what app.toml asks for; "": the one that runs."""
        ...

    def install(self, folder: Path, words: Sequence[str], *, hashed: bool = False) -> None:
        """Install what `words` say, as `pip install` would be told."""
        ...

    def missing(self, folder: Path) -> list[str]:
        """One sentence for each requirement of an installed distribution that is not met."""
        ...


Run = Callable[[Sequence[str]], str]
"""Runs a command, gives what it printed. Raises StepFailedError."""


def runner(log: Path, *, keep: Sequence[int] = ()) -> Run:
    """Runs commands with their output in `log`. They inherit the descriptors `keep`."""

    def run(words: Sequence[str]) -> str:
        done = subprocess.run(  # noqa: S603 - an installer and its words
            words,
            env=build_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=keep,
            errors=_OUTPUT_ERRORS,
            encoding="utf-8",
            check=False,
        )
        output = redacted(done.stdout)
        with log.open("a", encoding="utf-8") as file:
            file.write(redacted(f"$ {' '.join(words)}\n{output}\n"))
        if done.returncode:
            raise StepFailedError(last_lines(output) or [f"it ended with status {done.returncode}"])
        return output

    return run


def build_environment() -> dict[str, str]:
    """The variables for an installer: nothing that leads elsewhere, no questions, no colours."""
    kept = {name: value for name, value in os.environ.items() if name not in (*LEAK, *_MISLEAD)}
    told = {"PIP_USER": "0", "PIP_NO_INPUT": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "NO_COLOR": "1"}
    return kept | told | {"UV_NO_PROGRESS": "1"} | pipsettings.for_uv(kept)


def last_lines(output: str) -> list[str]:
    """The end of what an installer said, without what does not say why."""
    lines = [line.rstrip() for line in output.splitlines() if line.strip() and not line.lstrip().startswith(_NOISE)]
    return lines[-_LAST_LINES:]


def choose(run: Run) -> Installer:
    """uv where one works, else pip. Raises SurroundingsError where there is neither."""
    for words in _uvs():
        try:
            return Uv(run, words, run([*words, "--version"]).partition("(")[0].strip())
        except (StepFailedError, OSError):  # a shim without a program behind it
            continue
    for words in _modules("pip"):
        try:
            return Pip(run, words, " ".join(run([*words, "--version"]).split()[:2]))
        except (StepFailedError, OSError):
            continue
    raise SurroundingsError(
        "the app's environment cannot be built: there is neither uv nor pip here",
        help="pip install uv, or put uv on the PATH",
    )


def _uvs() -> Iterator[tuple[str, ...]]:
    if found := shutil.which("uv"):
        yield (found,)
    yield from _modules("uv")


def _modules(name: str) -> Iterator[tuple[str, ...]]:
    """A module as a program, of this Python, and of the one outside where this is an app's environment."""
    if find_spec(name) is not None:
        yield (sys.executable, "-P", "-m", name)
    if outside := os.environ.get(OUTSIDE):
        yield (outside, "-P", "-m", name)


def find_python(wanted: str, run: Run) -> str:
    """A Python on the PATH that is what app.toml asks for; "" where there is none."""
    for minor in range(_NEWEST_PYTHON, 10, -1):
        found = shutil.which(f"python3.{minor}")
        if not found:
            continue
        try:
            version = run([found, "-I", "-c", WHICH]).split()[-1]
        except (StepFailedError, OSError, IndexError):
            continue
        if is_python(version, wanted):
            return found
    return ""


@attrs.frozen
class Uv:
    """uv: fast, and able to bring a Python."""

    run: Run
    words: tuple[str, ...]
    name: str

    def create(self, folder: Path, python: str) -> None:
        """`uv venv`, on a Python of the PATH before one that uv has to bring."""
        chosen = (find_python(python, self.run) or python) if python else sys.executable
        self._run("venv", "--no-project", "--python", chosen, str(folder))

    def install(self, folder: Path, words: Sequence[str], *, hashed: bool = False) -> None:
        """`uv pip install`, bytecode included, so that the first start is as fast as the second."""
        more = ("--require-hashes",) if hashed else ()
        self._run("pip", "install", "--python", str(interpreter(folder)), "--compile-bytecode", *more, *words)

    def missing(self, folder: Path) -> list[str]:
        """What `uv pip check` complains of."""
        try:
            self._run("pip", "check", "--python", str(interpreter(folder)))
        except StepFailedError as failed:
            return [line for line in failed.lines if line.startswith("The package")] or list(failed.lines)
        return []

    def _run(self, *words: str) -> str:
        return self.run([*self.words, *words])


@attrs.frozen
class Pip:
    """venv, and the pip of the running Python, which stays outside: both installers make the same environment."""

    run: Run
    words: tuple[str, ...]
    name: str

    def create(self, folder: Path, python: str) -> None:
        """`python -m venv` without pip. Raises StepFailedError where the PATH has no such Python."""
        chosen = find_python(python, self.run) if python else sys.executable
        if not chosen:
            raise StepFailedError([f"there is no Python {python} on the PATH, and no uv that could bring one"])
        self.run([chosen, "-P", "-m", "venv", "--without-pip", str(folder)])

    def install(self, folder: Path, words: Sequence[str], *, hashed: bool = False) -> None:
        """`pip --python ENV install`."""
        more = ("--require-hashes",) if hashed else ()
        self.run([*self.words, "--python", str(interpreter(folder)), "install", "--progress-bar=off", *more, *words])

    def missing(self, folder: Path) -> list[str]:
        """What `pip check` complains of."""
        try:
            self.run([*self.words, "--python", str(interpreter(folder)), "check"])
        except StepFailedError as failed:
            return list(failed.lines)
        return []

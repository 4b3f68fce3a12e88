"""The environment of an app that has requirements: a virtual environment in the user's cache folder, built once.

Its name is a digest of what it is made from. Its marker is written last, so one without it was never finished and is
built again. Two locks lie beside it: the one who builds holds the first alone, all who use it hold the second together,
so that nobody removes it meanwhile.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import platform
import shutil
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs

from modelapp import digests, enclosure
from modelapp.enclosure import FORMAT, MARKER
from modelapp.errors import SurroundingsError
from modelapp.installation import Installation, installation
from modelapp.requirements import Requirements
from modelapp.versions import is_python

VARIABLE = "MODELAPP_ENVIRONMENT"
"""Names the environment that a process was put into."""
UNUSED_DAYS = 30
"""An environment that nobody has used for so long is removed when another is built."""
_DIGITS = 16

Note = Callable[[str], None]


@attrs.frozen(kw_only=True)
class Request:
    """What an app asks for: its requirements as read, the file's name for people, and the Python ("": any)."""

    file: str
    requirements: Requirements
    python: str = ""

    @property
    def asked(self) -> str:
        """A digest of all that the app decides about its environment."""
        wheels = [
            [folder.name, path.name, path.stat().st_size, path.stat().st_mtime_ns]
            for folder in self.requirements.folders
            for path in sorted(folder.iterdir())
        ]
        own = [pin.constraint for pin in self.requirements.own]
        return _digest([FORMAT, self.requirements.lines(), own, wheels, self.python])


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


@attrs.frozen(kw_only=True)
class Environment:
    """One environment, built or not."""

    request: Request
    own: Installation
    folder: Path

    @property
    def python(self) -> Path:
        """Its Python."""
        return enclosure.interpreter(self.folder)

    @property
    def name(self) -> str:
        """Its digest."""
        return self.folder.name

    @property
    def is_built(self) -> bool:
        """Whether it is whole, and its Python still there."""
        return (self.folder / MARKER).is_file() and self.python.exists()

    @property
    def lock(self) -> Path:
        """Held alone by whoever builds it."""
        return self.folder.with_name(f"{self.name}.build")

    @property
    def use(self) -> Path:
        """Held together by those who use it."""
        return self.folder.with_name(f"{self.name}.use")


def home() -> Path:
    """The folder of all environments."""
    return digests.cache_dir() / "environments"


def of(request: Request) -> Environment:
    """The environment that a request means here. Raises SurroundingsError where modelapp cannot be installed again."""
    own = installation()
    if request.python and not is_python(platform.python_version(), request.python):
        python = request.python
    else:
        python = f"{platform.python_implementation()} {platform.python_version()} {sys.abiflags}"
    machine = [sysconfig.get_platform(), getattr(sys.implementation, "_multiarch", "")]
    name = _digest([request.asked, python, machine, own.version, own.words, own.stamp])[:_DIGITS]
    return Environment(request=request, own=own, folder=home() / name)


def is_inside(request: Request) -> bool:
    """Whether this process runs in the environment that `request` means."""
    made = enclosure.made()
    return made is not None and made.get("asked") == request.asked


@contextlib.contextmanager
def locked(path: Path, how: int, note: Note | None = None) -> Iterator[int]:
    """Hold a lock; `note` is told when another has it. The descriptor may be handed on, and the lock with it."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, how | fcntl.LOCK_NB)
        except BlockingIOError:
            if note is None:
                raise
            note("environment: another process builds it, waiting")
            fcntl.flock(fd, how)
        yield fd
    finally:
        os.close(fd)


def hold(environment: Environment) -> int | None:
    """Say that this process uses the environment, until it ends or closes the descriptor. None on a read-only disk."""
    with contextlib.suppress(OSError):
        environment.use.parent.mkdir(parents=True, exist_ok=True)
    try:
        fd = os.open(environment.use, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if environment.is_built:
            return None
        raise SurroundingsError(
            f"the app's environment cannot be built in {home()}: {error.strerror}",
            help="make that folder writable, or name another: XDG_CACHE_HOME=DIR modelapp ...",
        ) from None
    fcntl.flock(fd, fcntl.LOCK_SH)
    if environment.is_built:
        with contextlib.suppress(OSError):
            os.utime(environment.folder / MARKER)  # when it was last used
    return fd


def remove_unused(kept: Environment) -> None:
    """Remove environments that nobody uses or has used for long; what cannot be removed stays."""
    oldest_s = time.time() - UNUSED_DAYS * 86400
    for folder in home().iterdir():
        if not folder.is_dir() or folder == kept.folder:
            continue
        with contextlib.suppress(OSError):
            marker = folder / MARKER
            if (marker if marker.exists() else folder).stat().st_mtime > oldest_s:
                continue
            beside = [folder.with_name(folder.name + end) for end in (".build", ".use")]
            with locked(beside[0], fcntl.LOCK_EX), locked(beside[1], fcntl.LOCK_EX):
                (folder / MARKER).unlink(missing_ok=True)  # first: half an environment is none
                shutil.rmtree(folder)
                folder.with_name(f"{folder.name}.log").unlink(missing_ok=True)

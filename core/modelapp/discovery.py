"""Where plugins come from: the entry points of installed distributions, and objects that a caller hands over."""

import contextlib
import os
import sys
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from importlib import metadata
from typing import TypeVar

import attrs

from modelapp.errors import PluginError

Result = TypeVar("Result")

GROUP = "modelapp"
"""The entry-point group that plugins register in."""
DISABLE = "MODELAPP_DISABLE_PLUGINS"
"""Environment: plugins or distributions to leave out, separated by commas."""
STRICT = "MODELAPP_STRICT_PLUGINS"
"""Environment: "1" makes a broken plugin an error at once instead of a warning; for plugin authors and CI."""


@attrs.frozen
class Origin:
    """A plugin before it is imported."""

    name: str
    distribution: str
    version: str
    target: str
    open: Callable[[], object]

    @property
    def key(self) -> str:
        """Tells apart two plugins of one name."""
        return f"{self.name}@{self.distribution}" if self.distribution else self.name

    def __str__(self) -> str:
        told = f" ({self.distribution} {self.version})" if self.distribution else ""
        return f'plugin "{self.name}"{told}'

    def import_it(self) -> object:
        """The plugin's module or object. What it prints goes to stderr, for stdout may be a JSON document."""
        with contextlib.redirect_stdout(sys.stderr):
            return contained(self.open)

    def error(self, message: str, *, help: str = "") -> PluginError:
        """A PluginError about this plugin."""
        return PluginError(message, plugin=self.name, distribution=self.distribution, version=self.version, help=help)


@attrs.frozen
class BrokenPlugin:
    """A plugin that is installed and cannot be used; `cause` says why, with file:line where that is known."""

    name: str
    distribution: str
    version: str
    cause: str


def origins(extra: Mapping[str, object]) -> Iterator[Origin]:
    """All plugins there are, sorted by name: the order in which their hooks are called."""
    known: dict[int, tuple[str, str]] = {}
    found = []
    for point in metadata.entry_points(group=GROUP):
        distribution, version = _identity(point.dist, known)
        found.append(Origin(point.name, distribution, version, point.value, point.load))
    for name, plugin in extra.items():
        found.append(Origin(name, "", "", getattr(plugin, "__name__", type(plugin).__name__), partial(_same, plugin)))
    yield from sorted(found, key=lambda origin: (origin.name, origin.distribution))


def _identity(distribution: metadata.Distribution | None, known: dict[int, tuple[str, str]]) -> tuple[str, str]:
    """Name and version of a distribution. Its metadata is parsed once: it holds a whole README."""
    if distribution is None:
        return "", ""
    if id(distribution) not in known:
        fields = distribution.metadata
        known[id(distribution)] = (fields["Name"], fields["Version"])
    return known[id(distribution)]


def _same(plugin: object) -> object:
    return plugin


def disabled_names() -> frozenset[str]:
    """The names that MODELAPP_DISABLE_PLUGINS holds."""
    return frozenset(filter(None, (word.strip() for word in os.environ.get(DISABLE, "").split(","))))


def is_disabled(origin: Origin, disabled: Collection[str]) -> bool:
    """Whether the plugin, or the distribution it comes from, is among `disabled`."""
    return origin.name in disabled or (origin.distribution != "" and origin.distribution in disabled)


def contained(call: Callable[[], Result]) -> Result:
    """Call foreign code; what would pass every handler, SystemExit above all, comes out as RuntimeError."""
    try:
        return call()
    except (Exception, KeyboardInterrupt):
        raise
    except BaseException as error:
        what = "it tried to end the process: " if isinstance(error, SystemExit) else ""
        raise RuntimeError(f"{what}{type(error).__name__}: {error}") from error


def cause_of(error: BaseException) -> str:
    """An exception in one line, with the place in the plugin's own code where it was raised."""
    origin = error.__cause__
    if isinstance(error, RuntimeError) and origin is not None and not isinstance(origin, Exception):
        text, error = str(error), origin  # `contained` made it
    else:
        text = f"{type(error).__name__}: {error}".removesuffix(": ")
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<frozen") and frame.filename != __file__ and "importlib" not in frame.filename
    ]
    return f"{text} ({frames[-1].filename}:{frames[-1].lineno})" if frames else text

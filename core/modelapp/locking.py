"""What app.lock should say: the files that app.toml names, as they are, and what a recorded output was made with."""

import importlib.metadata
import platform
import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import attrs

from modelapp.app import App, AppTest, Endpoint, Model
from modelapp.digests import Digests, files_below
from modelapp.distributions import owner
from modelapp.errors import LoadError
from modelapp.lockfile import (
    LOCK,
    Lock,
    LockedFile,
    LockedPlugin,
    LockedSource,
    Recorded,
    key_of,
    read_lock,
    write_lock,
)
from modelapp.naming import Named, named
from modelapp.requirements import OWN, canonical
from modelapp.runtime import RuntimeSpec
from modelapp.scheduler import SchedulerSpec
from modelapp.sources import PACKAGE, locate

_PRECISION = ("dtype", "precision")
"""Options of runtimes that say how a model counts."""


class PluginOrigins(Protocol):
    """What locking needs to know of the installed plugins."""

    @property
    def runtimes(self) -> Mapping[str, RuntimeSpec]:
        """Runtime name -> its record."""
        ...

    @property
    def schedulers(self) -> Mapping[str, SchedulerSpec]:
        """Scheduler name -> its record."""
        ...

    def distribution_of(self, kind: str, name: str) -> tuple[str, str]:
        """Name and version of the distribution that brings a "runtime" or "scheduler"; empty where none does."""
        ...


@attrs.frozen
class Survey:
    """What is there now; `faults` say what app.toml names and could not be found or read, by its path or source."""

    lock: Lock
    faults: Mapping[str, LoadError] = attrs.Factory(dict)

    def told(self) -> list[tuple[str, str]]:
        """Each fault with its sentence."""
        return [(name, fault.message) for name, fault in self.faults.items()]


def lock_of(apps: Sequence[App], plugins: PluginOrigins, previous: Lock | None = None) -> Lock:
    """The lock of an app, of which `apps` are the readings, one a profile.

    What a recorded output was made with is taken from `previous`. Raises LoadError, naming all that is missing.
    """
    found = survey(apps, plugins, previous)
    if found.faults:
        first, *more = found.faults.values()
        lines = [first.message, *(fault.message for fault in more)]
        raise LoadError("\n".join(lines), model=first.model, help=first.help)
    return found.lock


def survey(apps: Sequence[App], plugins: PluginOrigins, previous: Lock | None = None) -> Survey:
    """As `lock_of`, with what is missing beside what is there."""
    look = _Look(apps[0].root, previous or Lock())
    for app in apps:
        look.at(named(app))
        look.at_plugins(app, plugins)
        for test in app.tests:
            look.at_expected(test)
    look.digests.save()
    return look.survey()


class _Look:
    """Gathers what is there; the same thing named twice is one."""

    def __init__(self, root: Path, previous: Lock) -> None:
        self._root = root.resolve()
        self._previous = previous
        self._files: dict[str, LockedFile] = {}
        self._sources: dict[tuple[str, ...], LockedSource] = {}
        self._recorded: dict[str, Recorded] = {}
        self._plugins: dict[str, LockedPlugin] = {}
        self._faults: dict[str, LoadError] = {}
        self.digests = Digests()

    def survey(self) -> Survey:
        """All of it."""
        lock = Lock(
            files=tuple(self._files.values()),
            sources=tuple(self._sources.values()),
            recorded=tuple(self._recorded.values()),
            plugins=tuple(self._plugins.values()),
        )
        return Survey(lock, self._faults)

    def at(self, all_named: Iterable[Named]) -> None:
        """Take up what app.toml names."""
        for one in all_named:
            try:
                if one.source.startswith(PACKAGE):
                    self._package(one)
                else:
                    self._own(one)
            except LoadError as error:
                self._faults.setdefault(_written(one.source), error)
            except OSError as error:
                message = f'{one.key}: "{one.source}" cannot be read: {error.strerror or error}'
                self._faults.setdefault(_written(one.source), LoadError(message, model=one.model))

    def _own(self, one: Named) -> None:
        place = locate(self._root, one.source, key=one.key)
        if place.symbol:  # code, which version control keeps
            return
        written = self._root / _written(one.source)
        if not written.is_dir():
            self._file(written, one)
            return
        for path in files_below(written):
            if path.name not in (LOCK, "app.toml") or path.parent != self._root:
                self._file(path, one)

    def _file(self, path: Path, one: Named) -> None:
        name = path.relative_to(self._root).as_posix()
        real = path.resolve()
        if not real.is_relative_to(self._root):
            raise LoadError(f'{one.key}: "{name}" is a link that leads out of the app\'s folder', model=one.model)
        if not real.is_file():
            raise LoadError(f'{one.key}: "{name}" is no file', model=one.model)
        if any("\ud800" <= char <= "\udfff" for char in name):  # how Python shows bytes that are no UTF-8
            raise LoadError(f"{one.key}: the name {name!a} is not UTF-8", model=one.model, help="rename the file")
        if name not in self._files:
            self._files[name] = LockedFile(name, self.digests.file(real), real.stat().st_size)

    def _package(self, one: Named) -> None:
        path = locate(self._root, one.source, key=one.key).path
        if (one.model, one.file, one.source) in self._sources:
            return
        files = [path] if path.is_file() else list(files_below(path))
        package = one.source.removeprefix(PACKAGE).partition("/")[0].partition(".")[0]
        before = (known.distribution for known in self._previous.sources if known.source == one.source)
        name, version = owner(package, files[0] if files else path, likely=next(before, ""))
        found = LockedSource(
            model=one.model,
            file=one.file,
            source=one.source,
            distribution=name,
            version=version,
            sha256=self.digests.tree(path),
            size_bytes=sum(file.stat().st_size for file in files),
        )
        self._sources[key_of(found)] = found

    def at_expected(self, test: AppTest) -> None:
        """Take up the expected output of a test, with what is known of its making while it is the same."""
        path = self._root / test.expect_file
        if not test.expect_file or not path.is_file():  # it may yet have to be recorded
            return
        try:
            sha256 = self.digests.file(path)
        except OSError as error:
            message = f'the expect_file of test "{test.name}" cannot be read: {error.strerror}'
            self._faults.setdefault(test.expect_file, LoadError(message))
            return
        known = (one for one in self._previous.recorded if (one.test, one.sha256) == (test.name, sha256))
        self._recorded[test.name] = next(known, Recorded(test.name, sha256))

    def at_plugins(self, app: App, plugins: PluginOrigins) -> None:
        """Take up the distributions of other people whose plugins the app uses."""
        used = [("runtime", model.runtime) for model in app.models.values()]
        for name, version in (plugins.distribution_of(*one) for one in (*used, ("scheduler", app.deploy.scheduler))):
            self._plugin(name, version)
        for requirement in app.app.plugins:
            name = requirement_name(requirement)
            try:
                self._plugin(name, importlib.metadata.version(name))
            except (importlib.metadata.PackageNotFoundError, ValueError):
                fault = LoadError(f'app.plugins: "{name}" is not installed', help=f"pip install '{requirement}'")
                self._faults.setdefault(name, fault)

    def _plugin(self, name: str, version: str) -> None:
        if name and canonical(name) != OWN:
            self._plugins[canonical(name)] = LockedPlugin(canonical(name), version)


def _written(source: str) -> str:
    """A source as app.lock writes it."""
    return source if source.startswith(PACKAGE) else posixpath.normpath(source)


def requirement_name(requirement: str) -> str:
    """The distribution that a requirement is about: "acme[gpu]>=1" -> "acme"."""
    end = next((at for at, char in enumerate(requirement) if not (char.isalnum() or char in "._-")), None)
    return requirement[:end].strip()


def record(root: Path, recorded: Recorded) -> None:
    """Put one recorded output into app.lock, in the place of what it said of that test; make the file where none is.

    Raises AppFileError for an app.lock that cannot be read, SurroundingsError where it cannot be written.
    """
    lock = read_lock(root) or Lock()
    others = (one for one in lock.recorded if one.test != recorded.test)
    write_lock(root, attrs.evolve(lock, recorded=(*others, recorded)))


def made_with(app: App, plugins: PluginOrigins, about: AppTest | Endpoint) -> tuple[str, ...]:
    """What may change the last digits of an answer: ("onnxruntime 1.23.0", "cpu", "x86_64", "float32").

    The numeric stack of the runtimes of all models that the test's endpoint may ask, their devices, this machine's
    processor, and their precision where their options name it.
    """
    models = list(_models(app, about))
    specs = [plugins.runtimes[model.runtime] for model in models if model.runtime in plugins.runtimes]
    stack = {canonical(name) for spec in specs for name in spec.numeric_stack}
    precisions = {str(getattr(model.options, name, "")) for model in models for name in _PRECISION}
    return (
        *(f"{name} {version}" for name in sorted(stack) if (version := _version(name))),
        *sorted({model.device for model in models}),
        platform.machine(),
        *sorted(precisions - {""}),
    )


def _models(app: App, about: AppTest | Endpoint) -> Iterator[Model]:
    endpoint = app.endpoint_of(about) if isinstance(about, AppTest) else about
    arm = about.arm if isinstance(about, AppTest) else ""
    arms = list(endpoint.split.arms) if endpoint.split and not arm else [arm]
    names = [endpoint.model, *(step.run for step in endpoint.steps), *arms]
    return (app.models[name] for name in dict.fromkeys(names) if name in app.models)


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""

"""The plugins: found, checked, contained when broken, and the one typed door to what they bring."""

import contextlib
import os
import sys
from collections.abc import Collection, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import pluggy

from modelapp import discovery, hookcheck, hookspecs, speccheck
from modelapp.discovery import BrokenPlugin, Origin, contained
from modelapp.features import Feature
from modelapp.observing import RequestObserver
from modelapp.parts import Parts, clash
from modelapp.routes import ProtocolRoutes
from modelapp.runtime import RuntimeSpec
from modelapp.scheduler import SchedulerSpec
from modelapp.service import Host, Service, SideServer
from modelapp.suggestions import did_you_mean

if TYPE_CHECKING:
    from modelapp.inventory import PluginRecord

Record = TypeVar("Record")


class Plugins:
    """Every usable plugin, with its runtimes and schedulers. `load` is the way to make one."""

    def __init__(self, *, strict: bool = False, warn: bool = True) -> None:
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._strict = strict
        self._warn = warn
        self._origins: list[Origin] = []
        self._disabled: list[Origin] = []
        self._broken: dict[str, BrokenPlugin] = {}
        self._runtimes: Parts[RuntimeSpec] = Parts("runtime")
        self._schedulers: Parts[SchedulerSpec] = Parts("scheduler")

    @classmethod
    def load(
        cls,
        *,
        disabled: Collection[str] | None = None,
        extra: Mapping[str, object] | None = None,
        strict: bool | None = None,
        warn: bool = True,
    ) -> "Plugins":
        """Load the installed plugins and those of `extra` (name -> module or object).

        A broken one is left out with a warning on stderr, or raises PluginError where `strict`. The defaults of
        `disabled` and `strict` are what MODELAPP_DISABLE_PLUGINS and MODELAPP_STRICT_PLUGINS say.
        """
        strict = os.environ.get(discovery.STRICT) == "1" if strict is None else strict
        blocked = discovery.disabled_names() if disabled is None else frozenset(disabled)
        plugins = cls(strict=strict, warn=warn)
        for origin in discovery.origins(extra or {}):
            if discovery.is_disabled(origin, blocked):
                plugins._disabled.append(origin)
            else:
                plugins._add(origin)
        plugins._tell_unmatched(blocked)
        for error in (*plugins._runtimes.clashes(), *plugins._schedulers.clashes()):
            if strict:
                raise error
            plugins._tell(str(error))
        return plugins

    @property
    def runtimes(self) -> Mapping[str, RuntimeSpec]:
        """Runtime name -> its record, of all plugins that work. Two of one name are both left out."""
        return self._runtimes.specs

    @property
    def schedulers(self) -> Mapping[str, SchedulerSpec]:
        """Scheduler name -> its record, of all plugins that work. Two of one name are both left out."""
        return self._schedulers.specs

    @property
    def broken(self) -> tuple[BrokenPlugin, ...]:
        """The plugins that are installed and failed, each with the cause."""
        return tuple(self._broken.values())

    def runtime(self, name: str) -> RuntimeSpec:
        """The runtime called `name`. Raises PluginError that says what is installed, broken, disabled or meant."""
        spec = self.runtimes.get(name)
        if spec is None:
            raise self._runtimes.absent(name, self._disabled, self.broken)
        return spec

    def scheduler(self, name: str) -> SchedulerSpec:
        """The scheduler called `name`. Raises PluginError as `runtime` does."""
        spec = self.schedulers.get(name)
        if spec is None:
            raise self._schedulers.absent(name, self._disabled, self.broken)
        return spec

    def distribution_of(self, kind: str, name: str) -> tuple[str, str]:
        """Name and version of the distribution that brings a "runtime" or "scheduler"; empty where none does."""
        parts = self._runtimes if kind == "runtime" else self._schedulers
        origin = parts.origin_of(name)
        return (origin.distribution, origin.version) if origin else ("", "")

    def protocols(self, service: Service) -> list[ProtocolRoutes]:
        """The protocols that the plugins speak for `service`.

        A plugin that fails is left out with a warning. Raises PluginError where two want one name or one prefix.
        """
        taken: dict[str, Origin] = {}
        protocols: list[ProtocolRoutes] = []
        for origin in self._origins:
            try:
                own = self._collect(origin, "modelapp_protocols", ProtocolRoutes, service=service)
                for protocol in own:
                    speccheck.check_protocol(protocol)
            except Exception as error:
                self._fail(origin, error)
                continue
            for protocol in own:
                for word in (f'the protocol "{protocol.name}"', f'the paths below "{protocol.prefix}"'):
                    if word in taken:
                        raise clash(word, taken[word], origin)
                    taken[word] = origin
            protocols += own
        return protocols

    def observers(self, host: Host) -> list[RequestObserver]:
        """Who wants to be told of requests and runs. A plugin that fails is left out with a warning."""
        return self._collect_all("modelapp_observers", RequestObserver, host)  # type: ignore[type-abstract]  # as isinstance takes it

    def servers(self, host: Host) -> list[SideServer]:
        """The servers on ports of their own. A plugin that fails is left out with a warning."""
        return self._collect_all("modelapp_servers", SideServer, host)  # type: ignore[type-abstract]  # as isinstance takes it

    def ready(self, service: Service) -> None:
        """Tell every plugin that `service` takes requests; one that fails is warned about and stops no other."""
        self._notify("modelapp_ready", service)

    def stopping(self, service: Service) -> None:
        """Tell every plugin that `service` drains; one that fails is warned about and stops no other."""
        self._notify("modelapp_stopping", service)

    def inventory(self) -> "list[PluginRecord]":
        """Every installed plugin with what it brings, probed now; sorted by name."""
        records = [self._record(origin) for origin in (*self._origins, *self._disabled)]
        return sorted(records, key=lambda record: (record.name, record.distribution))

    def _add(self, origin: Origin) -> None:
        self._origins.append(origin)
        try:
            self._register(origin)
            runtimes = self._collect(origin, "modelapp_runtimes", RuntimeSpec)
            schedulers = self._collect(origin, "modelapp_schedulers", SchedulerSpec)
            speccheck.check_all(runtimes, schedulers)
        except Exception as error:
            if self._manager.has_plugin(origin.key):
                self._manager.unregister(name=origin.key)
            self._fail(origin, error)
            return
        for runtime in runtimes:
            self._runtimes.offer(origin, runtime)
        for scheduler in schedulers:
            self._schedulers.offer(origin, scheduler)

    def _register(self, origin: Origin) -> None:
        plugin = origin.import_it()
        if problem := hookcheck.problem_of(plugin):
            raise speccheck.SpecError(problem)
        self._manager.register(plugin, origin.key)

    def _collect(self, origin: Origin, hook: str, kind: type[Record], **arguments: Any) -> list[Record]:
        """What one plugin returns from a collecting hook. Raises what the plugin raises, and SpecError."""

        def call() -> list[Record]:
            caller = self._caller(origin, hook)
            implementations = len(caller.get_hookimpls())
            answers = caller(**arguments)
            answers += [None] * (implementations - len(answers))  # pluggy drops a None, here it is a forgotten return
            return [record for answer in answers for record in speccheck.records(answer, kind, hook)]

        with contextlib.redirect_stdout(sys.stderr):
            return contained(call)

    def _collect_all(self, hook: str, kind: type[Record], host: Host) -> list[Record]:
        found: list[Record] = []
        for origin in self._origins:
            try:
                found += self._collect(origin, hook, kind, host=host)
            except Exception as error:
                self._fail(origin, error)
        return found

    def _caller(self, origin: Origin, hook: str) -> pluggy.HookCaller:
        """The hook with this one plugin behind it, so that a failure has a name."""
        others = [plugin for name, plugin in self._manager.list_name_plugin() if name != origin.key]
        return self._manager.subset_hook_caller(hook, others)

    def _notify(self, hook: str, service: Service) -> None:
        for origin in self._origins:
            try:
                contained(partial(self._caller(origin, hook), service=service))
            except Exception as error:
                self._fail(origin, error)

    def _fail(self, origin: Origin, error: Exception) -> None:
        cause = str(error) if isinstance(error, speccheck.SpecError) else discovery.cause_of(error)
        if self._strict:
            raise origin.error(f"{origin} is broken: {cause}") from error
        self._broken[origin.key] = BrokenPlugin(origin.name, origin.distribution, origin.version, cause)
        for name in {origin.name, getattr(error, "part", "") or origin.name}:
            self._runtimes.lose(name, origin, cause)
            self._schedulers.lose(name, origin, cause)
        self._tell(f"{origin} is broken and left out: {cause}")

    def _features(self, origin: Origin) -> list[Feature]:
        try:
            return self._collect(origin, "modelapp_features", Feature)
        except Exception as error:
            self._fail(origin, error)
            return []

    def _tell(self, text: str) -> None:
        if self._warn:
            print(f"warning: {text}", file=sys.stderr)

    def _tell_unmatched(self, blocked: Collection[str]) -> None:
        known = {word for origin in (*self._origins, *self._disabled) for word in (origin.name, origin.distribution)}
        known.discard("")
        for name in sorted(set(blocked) - known):
            hint = did_you_mean(name, known)
            self._tell(f'{discovery.DISABLE} names "{name}", and no plugin is called that{hint and "; " + hint}')

    def _record(self, origin: Origin) -> "PluginRecord":
        from modelapp.inventory import PluginRecord, part_of

        plugin = self._manager.get_plugin(origin.key)
        parts: list[RuntimeSpec | SchedulerSpec | Feature] = [*self._runtimes.of(origin), *self._schedulers.of(origin)]
        parts += self._features(origin)
        broken = self._broken.get(origin.key)
        return PluginRecord(
            name=origin.name,
            distribution=origin.distribution,
            version=origin.version,
            target=origin.target,
            state="disabled" if origin in self._disabled else "broken" if broken else "ok",
            problem=broken.cause if broken else "",
            hooks=hookcheck.names_of(plugin) if plugin else (),
            parts=tuple(part_of(spec) for spec in parts),
        )

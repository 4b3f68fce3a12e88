"""The runtimes, or the schedulers, that plugins bring: by name, with the clashes and the ones that were lost."""

from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Generic, TypeVar

from modelapp.discovery import DISABLE, BrokenPlugin, Origin
from modelapp.errors import PluginError
from modelapp.runtime import RuntimeSpec
from modelapp.scheduler import SchedulerSpec
from modelapp.suggestions import did_you_mean

Spec = TypeVar("Spec", RuntimeSpec, SchedulerSpec)


class Parts(Generic[Spec]):
    """All parts of one kind ("runtime" or "scheduler") by name."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._offers: dict[str, list[tuple[Origin, Spec]]] = {}
        self._lost: dict[str, PluginError] = {}

    def offer(self, origin: Origin, spec: Spec) -> None:
        """Take up a part; a second one of its name makes a clash, and neither is used."""
        self._offers.setdefault(spec.name, []).append((origin, spec))

    def lose(self, name: str, origin: Origin, cause: str) -> None:
        """Remember that a broken plugin would have brought `name`, for whoever asks for it."""
        self._lost[name] = origin.error(f'the {self.kind} "{name}" cannot be used: {origin} is broken: {cause}')

    @property
    def specs(self) -> Mapping[str, Spec]:
        """Name -> record, of those without a clash, sorted by name."""
        return MappingProxyType(
            {name: offers[0][1] for name, offers in sorted(self._offers.items()) if len(offers) == 1}
        )

    def origin_of(self, name: str) -> Origin | None:
        """The plugin that brings a part; None where none does, or two."""
        offers = self._offers.get(name, [])
        return offers[0][0] if len(offers) == 1 else None

    def of(self, origin: Origin) -> list[Spec]:
        """What one plugin brings, clashes included."""
        return [spec for offers in self._offers.values() for owner, spec in offers if owner is origin]

    def clashes(self) -> list[PluginError]:
        """One error for each name that more than one plugin wants."""
        return [
            clash(f'the {self.kind} "{name}"', offers[0][0], offers[1][0])
            for name, offers in self._offers.items()
            if len(offers) > 1
        ]

    def absent(self, name: str, disabled: Iterable[Origin], broken: Collection[BrokenPlugin]) -> PluginError:
        """The error for whoever asks for a name that no usable plugin has."""
        offers = self._offers.get(name, [])
        if offers:
            return clash(f'the {self.kind} "{name}"', offers[0][0], offers[1][0])
        if name in self._lost:
            return self._lost[name]
        for origin in disabled:
            if origin.name == name:
                return origin.error(
                    f'the {self.kind} "{name}" cannot be used: {origin} is disabled',
                    help=f"take it out of {DISABLE}",
                )
        message = f'no {self.kind} is called "{name}"; installed: {", ".join(self.specs) or "none"}'
        if broken:
            message += f"; broken plugins: {', '.join(plugin.name for plugin in broken)}"
        return PluginError(message, plugin="", help=self._hint(name))

    def _hint(self, name: str) -> str:
        advice = f"install the plugin that brings this {self.kind}; `modelapp plugins` lists what is installed"
        return did_you_mean(name, self.specs, otherwise=advice)


def clash(what: str, first: Origin, second: Origin) -> PluginError:
    """The error for two plugins that want the same thing; it names both."""
    loser = second.name if first.name != second.name else second.distribution
    return second.error(f"{first} and {second} both bring {what}", help=f"leave one of them out: {DISABLE}={loser}")

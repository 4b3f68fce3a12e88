"""Checks the records that plugins hand over, so that a mistake is told as the plugin's and not met later as a crash."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import attrs

from modelapp.app import Model
from modelapp.routes import ProtocolRoutes, Route
from modelapp.runtime import API_VERSION, CAPABILITIES, RuntimeSpec
from modelapp.scheduler import SCHEDULER_CAPABILITIES, SchedulerSpec
from modelapp.suggestions import did_you_mean

VERSIONS = frozenset({API_VERSION})
"""The versions of the contracts that this modelapp can talk."""

RESERVED_RUNTIMES = frozenset(field.name for field in attrs.fields(Model))
"""Keys of [models.N], which a runtime's own table [models.N.<runtime>] must not be mistaken for."""
RESERVED_SCHEDULERS = frozenset({"rollout", "autoscale", "spot"})
"""Tables of [deploy] that belong to no scheduler."""

Record = TypeVar("Record")
_NAME = re.compile("[a-z][a-z0-9_-]*")


class SpecError(Exception):
    """A record is not what the hook wants; `part` is what the record calls itself, "" where that is not known."""

    def __init__(self, message: str, part: str = "") -> None:
        super().__init__(message)
        self.part = part


def records(value: Any, kind: type[Record], hook: str) -> list[Record]:
    """What a hook returned, as a list of `kind`. Raises SpecError naming what came instead."""
    wanted = f"{hook} must return an iterable of {kind.__name__}"
    if isinstance(value, kind):
        raise SpecError(f"{wanted}; it returned a single one: put it into a list")
    if not isinstance(value, Iterable) or isinstance(value, str | bytes | Mapping):
        raise SpecError(f"{wanted}; it returned {_told(value)}")
    found = list(value)
    for item in found:
        if not isinstance(item, kind):
            raise SpecError(f"{wanted}; among what it returned is {_told(item)}")
    return found


def check_all(runtimes: Sequence[RuntimeSpec], schedulers: Sequence[SchedulerSpec]) -> None:
    """Raise SpecError where one of a plugin's records is not sound, or two have one name."""
    for runtime in runtimes:
        check_runtime(runtime)
    for scheduler in schedulers:
        check_scheduler(scheduler)
    for kind, specs in (("runtimes", runtimes), ("schedulers", schedulers)):
        names = [spec.name for spec in specs]
        for name in names:
            if names.count(name) > 1:
                raise SpecError(f'it brings two {kind} called "{name}"', name)


def check_runtime(spec: RuntimeSpec) -> None:
    """Raise SpecError where a runtime's record is not sound."""
    _check_name("runtime", spec.name, RESERVED_RUNTIMES)
    _check_common(f'runtime "{spec.name}"', spec, CAPABILITIES)
    for name, text in dict(spec.environment).items():
        if not isinstance(name, str) or not isinstance(text, str):
            raise SpecError(
                f'runtime "{spec.name}": environment must map texts to texts, got {name!r}: {text!r}', spec.name
            )
    if isinstance(spec.numeric_stack, str) or not all(isinstance(name, str) for name in spec.numeric_stack):
        message = f"numeric_stack must be a tuple of names of distributions, got {spec.numeric_stack!r}"
        raise SpecError(f'runtime "{spec.name}": {message}', spec.name)


def check_scheduler(spec: SchedulerSpec) -> None:
    """Raise SpecError where a scheduler's record is not sound."""
    _check_name("scheduler", spec.name, RESERVED_SCHEDULERS)
    _check_common(f'scheduler "{spec.name}"', spec, SCHEDULER_CAPABILITIES)


def check_protocol(protocol: ProtocolRoutes) -> None:
    """Raise SpecError where a protocol's record is not sound: its prefix, and paths outside it."""
    where = f'protocol "{protocol.name}"'
    if not protocol.prefix.startswith("/"):
        raise SpecError(f'{where}: its prefix must start with "/", got "{protocol.prefix}"', protocol.name)
    for route in protocol.routes:
        if not isinstance(route, Route):
            raise SpecError(f"{where}: its routes must be Route records, got {_told(route)}", protocol.name)
        if route.path != protocol.prefix and not route.path.startswith(protocol.prefix.rstrip("/") + "/"):
            raise SpecError(
                f'{where}: its route "{route.path}" lies outside its prefix "{protocol.prefix}"', protocol.name
            )


def _check_name(what: str, name: object, reserved: Collection[str]) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise SpecError(f"a {what}'s name is lower-case letters, digits, - and _, a letter first; got {name!r}")
    if name in reserved:
        raise SpecError(f'no {what} may be called "{name}": app.toml has a key of that name', name)


def _check_common(where: str, spec: RuntimeSpec | SchedulerSpec, words: Mapping[str, str]) -> None:
    for part in ("open", "probe"):
        if not callable(getattr(spec, part)):
            raise SpecError(f"{where}: {part} must be a function, got {_told(getattr(spec, part))}", spec.name)
    if not isinstance(spec.options, type) or not attrs.has(spec.options):
        raise SpecError(f"{where}: options must be an attrs class, got {_told(spec.options)}", spec.name)
    for word in sorted(set(spec.capabilities) - set(words), key=str):
        hint = did_you_mean(str(word), words)
        raise SpecError(
            f"{where}: {word!r} is no capability; {hint and hint + ' '}known: {', '.join(words)}", spec.name
        )
    if not VERSIONS & set(spec.api_versions):
        raise SpecError(
            f"{where}: it talks version {_numbers(spec.api_versions)} of the contract,"
            f" this modelapp talks {_numbers(VERSIONS)}; install a plugin or a modelapp that share one",
            spec.name,
        )


def _numbers(versions: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(versions))) or "none"


def _told(value: object) -> str:
    if value is None:
        return "nothing (None)"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    return f"a {type(value).__name__}: {value!r:.60}"

"""What is installed, as `modelapp plugins` shows it: each plugin, what it brings, and what is missing to use it."""

import contextlib
import sys

import attrs

from modelapp.discovery import contained
from modelapp.enclosure import remedy
from modelapp.features import Feature
from modelapp.runtime import Availability, RuntimeSpec
from modelapp.scheduler import SchedulerSpec

SCRIPTED = "scripted"
"""The capability word of runtimes and schedulers that imitate one; they cover no real one."""


@attrs.frozen
class Part:
    """A runtime, a scheduler or a feature, which has neither capabilities nor devices.

    `scripted` ones imitate, for tests, and never count as coverage of a real one.
    """

    kind: str
    name: str
    capabilities: tuple[str, ...]
    api_versions: tuple[int, ...]
    ok: bool
    missing: str
    fix: str
    devices: tuple[str, ...]
    scripted: bool


@attrs.frozen
class PluginRecord:
    """One installed plugin. `state` is "ok", "broken" (`problem` says why) or "disabled"."""

    name: str
    distribution: str
    version: str
    target: str
    state: str
    problem: str = ""
    hooks: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()


def probe(spec: RuntimeSpec | SchedulerSpec | Feature) -> Availability:
    """Whether the library and hardware behind `spec` are here. A probe that fails is an answer too: not available."""
    try:
        with contextlib.redirect_stdout(sys.stderr):  # stdout may carry a JSON document
            found: object = contained(spec.probe)
    except Exception as error:
        return Availability(ok=False, missing=f"its probe failed: {type(error).__name__}: {error}", devices=())
    if not isinstance(found, Availability):
        return Availability(ok=False, missing=f"its probe answered {found!r:.60}, not an Availability", devices=())
    return found


def part_of(spec: RuntimeSpec | SchedulerSpec | Feature) -> Part:
    """The record of one runtime, scheduler or feature, probed now."""
    found = probe(spec)
    fix = remedy(found.fix) if found.fix else ""
    if isinstance(spec, Feature):
        return Part("feature", spec.name, (), (), found.ok, found.missing, fix, (), scripted=False)
    return Part(
        kind="runtime" if isinstance(spec, RuntimeSpec) else "scheduler",
        name=spec.name,
        capabilities=tuple(sorted(spec.capabilities)),
        api_versions=tuple(sorted(spec.api_versions)),
        ok=found.ok,
        missing=found.missing,
        fix=fix,
        devices=found.devices,
        scripted=SCRIPTED in spec.capabilities,
    )

"""Every hook a plugin may implement, in the order of an app's life.

Hooks only collect and notify: they return light records, and what those open serves the requests. Implementations take
a hook's arguments by name, any of them or none, never with a default.
"""

from collections.abc import Iterable

import pluggy

from modelapp.features import Feature
from modelapp.observing import RequestObserver
from modelapp.routes import ProtocolRoutes
from modelapp.runtime import RuntimeSpec
from modelapp.scheduler import SchedulerSpec
from modelapp.service import Host, Service, SideServer

PROJECT = "modelapp"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a function of a plugin as the implementation of the hook of its name."""


@hookspec
def modelapp_runtimes() -> Iterable[RuntimeSpec]:  # type: ignore[empty-body]
    """The runtimes this plugin brings. Called once, when the command line or a replica starts.

    Return records only: the library behind a runtime is imported by `RuntimeSpec.open`.

    .. versionadded:: 0.1
    """


@hookspec
def modelapp_schedulers() -> Iterable[SchedulerSpec]:  # type: ignore[empty-body]
    """The schedulers this plugin brings. Called once, when the command line starts.

    .. versionadded:: 0.1
    """


@hookspec
def modelapp_features() -> Iterable[Feature]:  # type: ignore[empty-body]
    """What else this plugin brings, where it needs something that may be missing. Called for `modelapp plugins` alone.

    .. versionadded:: 0.1
    """


@hookspec
def modelapp_protocols(service: Service) -> Iterable[ProtocolRoutes]:  # type: ignore[empty-body]
    """The protocols this plugin speaks for `service`. Called in each replica before it listens, and again with another
    `service` for each change of the app's files that is taken over while it serves.

    .. versionadded:: 0.1
    """


@hookspec
def modelapp_observers(host: Host) -> Iterable[RequestObserver]:  # type: ignore[empty-body]
    """Who wants to be told of every request; an `Observer` is told of every run of a model too. Called once a replica,
    before it loads anything.

    .. versionadded:: 0.1
    """


@hookspec
def modelapp_servers(host: Host) -> Iterable[SideServer]:  # type: ignore[empty-body]
    """Servers on ports of their own. Called once a replica; they are started before its models are loaded.

    .. versionadded:: 0.1
    """


@hookspec
def modelapp_ready(service: Service) -> None:
    """`service` has become ready: every required model answered its warm-up. Called once a replica; changes that are
    taken over later come to `modelapp_protocols` alone.

    .. versionadded:: 0.1
    """


@hookspec
def modelapp_stopping(service: Service) -> None:
    """`service` has begun to drain and will take no more requests. Called once a replica.

    .. versionadded:: 0.1
    """

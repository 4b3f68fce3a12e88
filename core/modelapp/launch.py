"""How a replica's process is started: its command line and its environment."""

import os
import secrets
import sys
from collections.abc import Iterable, Mapping

import attrs

from modelapp import tokens
from modelapp.app import App
from modelapp.runtime import RuntimeSpec

TOKEN_VARIABLE = "MODELAPP_CONTROL_TOKEN"  # noqa: S105 - a variable's name
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@attrs.frozen(kw_only=True)
class Launch:
    """What is needed to start replicas of an app. `program` is what Python runs."""

    app: App
    profile: str = ""
    overrides: tuple[str, ...] = ()
    environment: Mapping[str, str]
    token: str = attrs.field(repr=False)
    # -P: a file of the current folder must not stand in for a library's module of the same name.
    program: tuple[str, ...] = ("-P", "-m", "modelapp.replica")

    def command(self, listen_fd: int, events_fd: int) -> list[str]:
        """The command line of a replica that serves on `listen_fd` and reports on `events_fd`."""
        words = [sys.executable, *self.program, "--app", str(self.app.path.absolute())]
        words += ["--fd", str(listen_fd), "--events", str(events_fd)]
        if self.app.server.log_format != "text":  # said here, since the replica may fail before it has read the app
            words += ["--log-format", self.app.server.log_format]
        if self.profile:
            words += ["--profile", self.profile]
        for override in self.overrides:
            words += ["--set", override]
        return words


def prepare(
    app: App,
    runtimes: Mapping[str, RuntimeSpec],
    overrides: Iterable[str] = (),
    *,
    profile: str = "",
    replicas: int = 1,
) -> Launch:
    """The launch of an app on this machine, one of `replicas` that share its cores.

    Raises SurroundingsError where the bearer tokens that it asks for are not there.
    """
    tokens.read(app.server, os.environ)
    used = [runtimes[name] for name in sorted({model.runtime for model in app.models.values()}) if name in runtimes]
    token = secrets.token_urlsafe(32)
    environment = thread_environment(app, used, thread_budget(replicas)) | {TOKEN_VARIABLE: token}
    return Launch(app=app, profile=profile, overrides=tuple(overrides), environment=environment, token=token)


def thread_budget(replicas: int = 1) -> int:
    """The threads one replica may use: the cores this process may run on, shared among replicas; at least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // replicas)


def thread_environment(app: App, runtimes: Iterable[RuntimeSpec], budget: int) -> dict[str, str]:
    """The variables that native libraries read once, when they are imported.

    Threads that spin while idle take the cores of others, hence PASSIVE. A model's own `threads` raises the bound.
    """
    threads = max([model.threads or budget for model in app.models.values()], default=budget)
    found = dict.fromkeys(_THREAD_VARIABLES, str(threads)) | {"OMP_WAIT_POLICY": "PASSIVE"}
    for runtime in runtimes:
        found |= {name: value.replace("{threads}", str(threads)) for name, value in runtime.environment.items()}
    return found

"""Declarative, test-driven model apps: what plugins and handlers import.

Every name is imported when it is first used, so that the command line starts without all of them.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelapp.call import Call
    from modelapp.errors import (
        BadRequest,
        Cancelled,
        DeadlineExceeded,
        Forbidden,
        HandlerError,
        InvalidInput,
        LoadError,
        ModelAppError,
        ModelDied,
        ModelFailed,
        NotFound,
        NotReady,
        OutOfMemory,
        PluginError,
        QueueFull,
        RateLimited,
        RequestError,
        TooLarge,
        Unauthorized,
        UnsupportedMedia,
    )
    from modelapp.hookspecs import hookimpl
    from modelapp.observing import ModelRun, Observer
    from modelapp.routes import HttpRequest, HttpResponse, HttpStream, ProtocolRoutes, Route
    from modelapp.runtime import (
        Arrays,
        Artefact,
        Availability,
        LoadedModel,
        NoOptions,
        Placement,
        RawOptions,
        Records,
        Rows,
        Run,
        Runtime,
        RuntimeSpec,
    )
    from modelapp.scheduler import Replica, ReplicaState, Scheduler, SchedulerSpec
    from modelapp.service import Host, ModelService, Readiness, Service, SideServer
    from modelapp.signature import Signature, TensorSpec

    __version__: str
    """The version of the installed distribution."""

__all__ = [
    "Arrays",
    "Artefact",
    "Availability",
    "BadRequest",
    "Call",
    "Cancelled",
    "DeadlineExceeded",
    "Forbidden",
    "HandlerError",
    "Host",
    "HttpRequest",
    "HttpResponse",
    "HttpStream",
    "InvalidInput",
    "LoadError",
    "LoadedModel",
    "ModelAppError",
    "ModelDied",
    "ModelFailed",
    "ModelRun",
    "ModelService",
    "NoOptions",
    "NotFound",
    "NotReady",
    "Observer",
    "OutOfMemory",
    "Placement",
    "PluginError",
    "ProtocolRoutes",
    "QueueFull",
    "RateLimited",
    "RawOptions",
    "Readiness",
    "Records",
    "Replica",
    "ReplicaState",
    "RequestError",
    "Route",
    "Rows",
    "Run",
    "Runtime",
    "RuntimeSpec",
    "Scheduler",
    "SchedulerSpec",
    "Service",
    "SideServer",
    "Signature",
    "TensorSpec",
    "TooLarge",
    "Unauthorized",
    "UnsupportedMedia",
    "__version__",
    "hookimpl",
]

_HOMES = {
    "call": ("Call",),
    "errors": (
        "BadRequest",
        "Cancelled",
        "DeadlineExceeded",
        "Forbidden",
        "HandlerError",
        "InvalidInput",
        "LoadError",
        "ModelAppError",
        "ModelDied",
        "ModelFailed",
        "NotFound",
        "NotReady",
        "OutOfMemory",
        "PluginError",
        "QueueFull",
        "RateLimited",
        "RequestError",
        "TooLarge",
        "Unauthorized",
        "UnsupportedMedia",
    ),
    "hookspecs": ("hookimpl",),
    "observing": ("ModelRun", "Observer"),
    "routes": ("HttpRequest", "HttpResponse", "HttpStream", "ProtocolRoutes", "Route"),
    "runtime": (
        "Arrays",
        "Artefact",
        "Availability",
        "LoadedModel",
        "NoOptions",
        "Placement",
        "RawOptions",
        "Records",
        "Rows",
        "Run",
        "Runtime",
        "RuntimeSpec",
    ),
    "scheduler": ("Replica", "ReplicaState", "Scheduler", "SchedulerSpec"),
    "service": ("Host", "ModelService", "Readiness", "Service", "SideServer"),
    "signature": ("Signature", "TensorSpec"),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    """Import a public name from the module that defines it."""
    if name == "__version__":
        from importlib.metadata import version

        return version("modelapp")
    if name not in _HOME:
        raise AttributeError(f'module "modelapp" has no name "{name}"')
    value: object = getattr(import_module(f"modelapp.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__

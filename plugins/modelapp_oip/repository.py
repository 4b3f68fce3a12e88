"""The repository extension: which models there are, and loading and unloading one while the others serve.

Source: Triton's model repository extension. Models come from the app's files alone: a request brings none along.
"""

from collections.abc import Mapping
from typing import Any

from modelapp.errors import InvalidInput
from modelapp.service import ModelService, Service
from modelapp_oip.about import find_model
from modelapp_oip.parameters import flag
from modelapp_oip.wire import VERSION


def index(service: Service, *, ready: bool = False) -> list[dict[str, Any]]:
    """Every model with its state, or only those that are ready."""
    return [_entry(model) for model in service.models.values() if model.ready or not ready]


def _entry(model: ModelService) -> dict[str, Any]:
    entry = {"name": model.name, "version": VERSION, "state": "READY", "reason": ""}
    return entry if model.ready else entry | {"state": "UNAVAILABLE", "reason": model.not_ready().message}


async def load(service: Service, name: str, parameters: Mapping[str, Any]) -> None:
    """Load a model from its files as they are now. Raises NotFound, InvalidInput, NotReady, ModelFailed."""
    for parameter in parameters:
        if parameter == "config" or parameter.startswith("file:"):
            told = f'the parameter "{parameter[:80]}" is not obeyed: app.toml and its files say what a model is'
            raise InvalidInput(told)
    find_model(service, name)
    await service.load(name)


async def unload(service: Service, name: str, parameters: Mapping[str, Any]) -> None:
    """Unload a model; none depends on another. Raises NotFound, InvalidInput, NotReady."""
    flag(parameters, "unload_dependents")
    find_model(service, name)
    await service.unload(name)

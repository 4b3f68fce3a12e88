"""What the protocol tells of the replica and its models, as plain values; REST and gRPC say the same."""

from collections.abc import Mapping
from typing import Any

from modelapp.errors import NotFound, NotReady
from modelapp.service import ModelService, Service
from modelapp.signature import Signature, TensorSpec
from modelapp_oip.wire import VERSION

EXTENSIONS = (
    "binary_tensor_data",
    "classification",
    "generate",
    "model_configuration",
    "model_repository",
    "model_repository(unload_dependents)",
    "parameters",
    "statistics",
)
"""The extensions that work, in the words Triton's clients know them by."""


def find_model(service: Service, name: str, version: str = "") -> ModelService:
    """The model of that name and version, "" standing for the one there is. Raises NotFound."""
    model = service.models.get(name)
    if model is None:
        raise NotFound(f'there is no model "{name[:80]}"; models: {", ".join(service.models) or "none"}')
    if version not in ("", VERSION):
        raise NotFound(f'model "{name}" has no version "{version[:80]}"; versions: {VERSION}')
    return model


def model_of(service: Service, params: Mapping[str, str]) -> ModelService:
    """The model that the parameters of a path name. Raises NotFound."""
    model = service.models.get(params["model"])
    if model is None or "version" in params:  # only then a word more is needed
        return find_model(service, params["model"], params.get("version", ""))
    return model


def why_not_ready(service: Service, model: ModelService) -> str:
    """Why a request to the model would not be answered now; "" where it would."""
    readiness = service.readiness()
    if not model.ready:
        return model.not_ready().message
    return "" if readiness.ready and readiness.models.get(model.name, True) else readiness.reason or "not ready"


def signature_of(model: ModelService) -> Signature:
    """What goes in and comes out. Raises NotReady where the model is not loaded."""
    if model.signature is None:
        raise NotReady(f'model "{model.name}" is not loaded', retry_after_s=1)
    return model.signature


def server_metadata(service: Service) -> dict[str, Any]:
    """Name, release and extensions."""
    return {"name": service.app.name, "version": service.release, "extensions": list(EXTENSIONS)}


def model_metadata(model: ModelService) -> dict[str, Any]:
    """Name, versions, runtime, inputs and outputs; free sizes are -1. Raises NotReady."""
    signature = signature_of(model)
    return {
        "name": model.name,
        "versions": [VERSION],
        "platform": model.runtime,
        "inputs": [_describe(spec) for spec in signature.inputs],
        "outputs": [_describe(spec) for spec in signature.outputs],
    }


def model_config(model: ModelService) -> dict[str, Any]:
    """The model's configuration in the words of Triton's. Raises NotReady.

    Where `max_batch_size` is above 0, `dims` leave the axis out that counts rows.
    """
    signature, table = signature_of(model), model.model
    config: dict[str, Any] = {
        "name": model.name,
        "platform": model.runtime,
        "backend": model.runtime,
        "version_policy": {"latest": {"num_versions": 1}},
        "max_batch_size": table.max_batch_size if signature.batched else 0,
        "input": [_configure(spec, signature) for spec in signature.inputs],
        "output": [_configure(spec, signature) for spec in signature.outputs],
        "model_transaction_policy": {"decoupled": False},
    }
    if signature.batched and table.max_batch_size > 1:
        config["dynamic_batching"] = {"max_queue_delay_microseconds": round(table.max_wait_ms * 1000)}
    return config


def _describe(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": _sizes(spec)}


def _configure(spec: TensorSpec, signature: Signature) -> dict[str, Any]:
    word = "STRING" if spec.datatype == "BYTES" else spec.datatype
    dims = _sizes(spec)[1:] if signature.batched else _sizes(spec)
    found: dict[str, Any] = {"name": spec.name, "data_type": f"TYPE_{word}", "dims": dims}
    return found | {"optional": True} if spec.optional else found


def _sizes(spec: TensorSpec) -> list[int]:
    return [dim if isinstance(dim, int) else -1 for dim in spec.shape]

"""The protocol's messages, in a pool of their own.

Handlers of an app may import tritonclient or kserve, whose messages bear the same full names; one pool, as the default
one that those register in, can hold a name only once.
"""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, TypeAlias

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2

from modelapp.errors import BadRequest

SERVICE = "inference.GRPCInferenceService"
"""The full name of the service."""
Message: TypeAlias = Any
"""A message: its fields are known by inference.proto, not by a type checker."""


@cache
def pool() -> Any:
    """The DescriptorPool with the service, and with the health service for whoever asks by reflection."""
    found: Any = descriptor_pool.DescriptorPool()  # its methods have no types
    content = files("modelapp_oip").joinpath("inference.binpb").read_bytes()
    for file in descriptor_pb2.FileDescriptorSet.FromString(content).file:
        found.AddSerializedFile(file.SerializeToString())
    found.AddSerializedFile(health_pb2.DESCRIPTOR.serialized_pb)
    return found


@cache
def message(name: str) -> type[Message]:
    """The class of a message, e.g. "ModelInferRequest"."""
    found: type[Message] = message_factory.GetMessageClass(pool().FindMessageTypeByName(f"inference.{name}"))
    return found


def parse(name: str, content: bytes) -> Message:
    """The message of that name in `content`. Raises BadRequest where it is none."""
    try:
        return message(name).FromString(content)
    except DecodeError:
        raise BadRequest(f"the bytes are no message {name}") from None


def values_of(parameters: Mapping[str, Message]) -> dict[str, Any]:
    """A map of parameters as plain values; None for one that is empty."""
    if not parameters:
        return {}
    return {key: getattr(value, value.WhichOneof("parameter_choice") or "", None) for key, value in parameters.items()}

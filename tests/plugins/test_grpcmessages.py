"""The messages of the gRPC service."""

import importlib.util
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from google.protobuf.descriptor import Descriptor

from modelapp.errors import BadRequest
from modelapp_oip.grpcmessages import SERVICE, message, parse, pool, values_of

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what a client's own libraries warn of is not ours
    from tritonclient.grpc import service_pb2

ROOT = Path(__file__).resolve().parent.parent.parent


def test_the_messages_are_made_of_the_file_beside_them(tmp_path: Path) -> None:
    """Whoever changes inference.proto makes the messages again: `make proto`."""
    spec = importlib.util.spec_from_file_location("make_proto", ROOT / "tools" / "make_proto.py")
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)

    tool.make(tmp_path / "made")

    assert (tmp_path / "made").read_bytes() == (ROOT / "plugins" / "modelapp_oip" / "inference.binpb").read_bytes()


def fields(descriptor: Descriptor) -> dict[str, tuple[object, ...]]:
    """What the wire needs to know of a message's fields."""
    return {
        field.name: (field.number, field.type, field.is_repeated, field.message_type and field.message_type.full_name)
        for field in descriptor.fields
    }


def messages(found: dict[str, Descriptor]) -> dict[str, Descriptor]:
    """Messages by name, those inside others too."""
    all_of_them = dict(found)
    for descriptor in found.values():
        all_of_them |= messages({nested.full_name: nested for nested in descriptor.nested_types})
    return all_of_them


def test_every_field_is_on_the_wire_what_tritons_client_says() -> None:
    """Each message of ours has theirs with the same name, and each field the same number and type."""
    ours = messages(dict(pool().FindFileByName("inference.proto").message_types_by_name))
    theirs = service_pb2.DESCRIPTOR.pool
    for descriptor in ours.values():
        known = fields(theirs.FindMessageTypeByName(descriptor.full_name))
        mine = fields(descriptor)
        assert {name: known[name] for name in mine} == mine, descriptor.full_name
    assert {method.name for method in pool().FindServiceByName(SERVICE).methods} <= {
        method.name for method in service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods
    }


@pytest.mark.parametrize(
    "order", ["tritonclient.grpc, modelapp_oip.grpcserver", "modelapp_oip.grpcserver, tritonclient.grpc"]
)
def test_both_live_in_one_process(order: str) -> None:
    """An app's handlers may import a client whose messages have the same names, before or after."""
    code = f"import {order}; from modelapp_oip.grpcmessages import message; print(message('ModelInferRequest'))"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, "ModelInferRequest" in done.stdout) == (0, True), done.stderr


def test_bytes_that_are_no_message_are_a_bad_request() -> None:
    """The name of the message is told."""
    with pytest.raises(BadRequest, match="no message ModelReadyRequest"):
        parse("ModelReadyRequest", b"\xff\xff")


def test_parameters_become_plain_values() -> None:
    """Each kind keeps its type; one without a value is None."""
    kinds = message("InferParameter")
    given = {"a": kinds(bool_param=True), "b": kinds(int64_param=2), "c": kinds(string_param="x"), "d": kinds()}
    assert values_of(given) == {"a": True, "b": 2, "c": "x", "d": None}

"""One model's inference requests and answers in gRPC's messages."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from numpy.typing import NDArray

from modelapp.errors import InvalidInput
from modelapp.signature import Signature
from modelapp_oip.classification import classify
from modelapp_oip.datatypes import BINARY_ONLY
from modelapp_oip.grpccontents import read_contents, write_contents
from modelapp_oip.grpcframe import Frame, answer
from modelapp_oip.grpcmessages import Message, message, values_of
from modelapp_oip.raw import Raw, as_text, read_raw, write_raw
from modelapp_oip.wanted import Outputs, Wanted
from modelapp_oip.wire import VERSION

Arrays: TypeAlias = Mapping[str, NDArray[Any]]


class GrpcWire:
    """Reads and writes for one signature. `labels` are the names of the classes, for answers that hold classes."""

    def __init__(self, model: str, signature: Signature, labels: Sequence[str] = ()) -> None:
        self._model = model
        self._signature = signature
        self._labels = labels
        self._texts = frozenset(spec.name for spec in signature.inputs if spec.dtype == "string")
        self._outputs = Outputs(model, signature)
        self._all = self._outputs.all(binary=True)
        self._response = message("ModelInferResponse")

    def read(self, frame: Frame) -> Arrays:
        """The named arrays; those of numbers in raw contents are views of the message. Raises InvalidInput."""
        if self._signature.kind == "records":
            told = f'model "{self._model}" takes records, which this protocol cannot carry; use its endpoint'
            raise InvalidInput(told)
        tensors, raws = frame.request.inputs, frame.raws
        if raws and len(raws) != len(tensors):
            raise InvalidInput(f"there are {len(tensors)} inputs and {len(raws)} raw_input_contents")
        arrays: dict[str, NDArray[Any]] = {}
        for index, tensor in enumerate(tensors):
            name = tensor.name
            if name in arrays:
                raise InvalidInput(f'input "{name[:80]}" stands twice in the inputs', field=name)
            if "shared_memory_region" in tensor.parameters:
                raise InvalidInput(f'input "{name[:80]}" is in shared memory, which is not read here', field=name)
            array = _read_raw(tensor, raws[index]) if raws else read_contents(tensor)
            arrays[name] = as_text(name, array) if name in self._texts and array.dtype.kind == "O" else array
        return arrays

    def wanted(self, frame: Frame) -> Sequence[Wanted]:
        """The outputs that are asked for, all where none is named; raw or not as the inputs. Raises InvalidInput."""
        outputs, raw = frame.request.outputs, is_raw(frame)
        wanted: Sequence[Wanted] = self._all
        if outputs:
            asked = [(output.name, values_of(output.parameters)) for output in outputs]
            wanted = self._outputs.choose(asked, binary=True)
        for one in wanted:
            if not raw and one.sent_as in BINARY_ONLY:
                told = f'output "{one.name}" is {one.datatype}, which goes raw only: send raw_input_contents'
                raise InvalidInput(told, field=one.name)
        return wanted

    def write(self, outputs: Arrays, wanted: Sequence[Wanted], frame: Frame) -> bytes:
        """The answer, raw to raw and typed to typed. Raises ModelFailed."""
        raw = is_raw(frame)
        head = self._response(model_name=self._model, model_version=VERSION, id=frame.request.id)
        raws: list[Raw] = []
        for one in wanted:
            array = outputs[one.name]
            if one.classes:
                array = classify(array, one.classes, self._labels, batched=self._signature.batched)
            tensor = head.outputs.add(name=one.name, datatype=one.sent_as, shape=array.shape)
            if raw:
                raws.append(write_raw(one.name, array))
            else:
                write_contents(tensor, array)
        return answer(head, raws)


def is_raw(frame: Frame) -> bool:
    """Whether the answer goes raw: to raw inputs, and where there are none that could say."""
    return bool(frame.raws) or not any(tensor.HasField("contents") for tensor in frame.request.inputs)


def _read_raw(tensor: Message, raw: Raw) -> NDArray[Any]:
    if tensor.HasField("contents"):
        told = f'input "{tensor.name}" has contents beside raw_input_contents; send all inputs one way'
        raise InvalidInput(told, field=tensor.name)
    return read_raw(tensor.name, tensor.datatype, list(tensor.shape), raw)

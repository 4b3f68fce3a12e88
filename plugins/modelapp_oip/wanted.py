"""What a request wants of the outputs: which, in what form, or only their highest classes."""

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from modelapp.errors import InvalidInput
from modelapp.signature import Signature, TensorSpec
from modelapp_oip.datatypes import BINARY_ONLY, shown
from modelapp_oip.parameters import flag, number, parameters_of, refuse_shared_memory


@attrs.frozen
class Wanted:
    """One output: `binary` as raw bytes behind the JSON; `classes` above 0: the highest values, as text."""

    name: str
    datatype: str
    binary: bool = False
    classes: int = 0

    @property
    def sent_as(self) -> str:
        """The datatype it is sent as."""
        return "BYTES" if self.classes else self.datatype


class Outputs:
    """The outputs of one model, to choose from."""

    def __init__(self, model: str, signature: Signature) -> None:
        self._model = model
        self._specs = {spec.name: spec for spec in signature.outputs}

    def all(self, *, binary: bool = False) -> tuple[Wanted, ...]:
        """Every output. Raises InvalidInput where one cannot be sent that way."""
        return tuple(self._want(spec, {}, binary=binary) for spec in self._specs.values())

    def chosen(self, outputs: object, *, binary: bool = False) -> tuple[Wanted, ...]:
        """What the "outputs" of a request ask for, `binary` where they do not say. Raises InvalidInput."""
        if not isinstance(outputs, list) or not all(isinstance(item, dict) for item in outputs):
            raise InvalidInput('"outputs" must be a list of objects')
        return tuple(self.choose([(item.get("name"), parameters_of(item, "an output")) for item in outputs], binary))

    def choose(self, outputs: Sequence[tuple[object, Mapping[str, Any]]], binary: bool) -> list[Wanted]:
        """The outputs of those names, with their parameters. Raises InvalidInput."""
        chosen: dict[str, Wanted] = {}
        for name, parameters in outputs:
            spec = self._specs.get(name) if isinstance(name, str) else None
            if spec is None:
                known = ", ".join(self._specs)
                raise InvalidInput(f'model "{self._model}" has no output {shown(name)}; its outputs: {known}')
            if spec.name in chosen:
                raise InvalidInput(f'output "{spec.name}" stands twice in "outputs"', field=spec.name)
            chosen[spec.name] = self._want(spec, parameters, binary=binary)
        return list(chosen.values())

    def _want(self, spec: TensorSpec, parameters: Mapping[str, Any], *, binary: bool) -> Wanted:
        refuse_shared_memory(parameters, f'output "{spec.name}"')
        binary = flag(parameters, "binary_data", default=binary)
        classes = number(parameters, "classification")
        if classes and spec.datatype == "BYTES":
            raise InvalidInput(f'output "{spec.name}" is BYTES, which has no highest values to classify by')
        if spec.datatype in BINARY_ONLY and not binary and not classes:
            raise InvalidInput(
                f'output "{spec.name}" is {spec.datatype}, which has no JSON form; ask for it as binary data:'
                ' the parameter "binary_data": true of the output, or "binary_data_output": true of the request',
                field=spec.name,
            )
        return Wanted(spec.name, spec.datatype, binary, classes)

"""A model over tensors behind the contract of a runtime: opened, tried on made-up rows, answering named arrays."""

from collections.abc import Mapping
from typing import Any

import attrs
import numpy as np
import torch
from numpy.typing import NDArray

from modelapp.batchaxis import settled, why_fixed
from modelapp.runtime import Arrays, Artefact, Placement, Run, row_count
from modelapp.signature import Signature
from modelapp.trialrows import Answers, made_up, trials
from modelapp_torch import Options
from modelapp_torch.archives import opener
from modelapp_torch.compiling import compiled
from modelapp_torch.failures import reason, run_failure
from modelapp_torch.networks import open_network
from modelapp_torch.outputs import found, named, to_array
from modelapp_torch.placing import device_of, keep_to, threads_of
from modelapp_torch.program import Program


def load_tensors(artefact: Artefact, options: Options, placement: Placement) -> "TensorModel":
    """Open the class or file, find its outputs and its batch axis, compile it where asked. Raises LoadError."""
    device, threads = device_of(artefact, placement), threads_of(artefact, options, placement)
    keep_to(threads)
    is_class = artefact.symbol or options.architecture
    program = (open_network if is_class else opener(artefact))(artefact, options, device)
    why = why_fixed(program.inputs)
    notes = (*program.notes, why) if why else program.notes
    model = TensorModel(program, threads, Signature(program.inputs, program.outputs, batched=not why, notes=notes))
    model.copies = _writes(model)
    if not program.outputs:
        outputs = found(model.signature, model.trial, program.where, artefact.name)
        model.signature = attrs.evolve(model.signature, outputs=outputs)
    model.signature = settled(model.signature, model.trial, artefact, options.batching, table="torch", reason=reason)
    if options.compile != "off":
        compiled(model, artefact, options)
    return model


class TensorModel:
    """A loaded model over named arrays; they go in and come out without a copy on the CPU."""

    def __init__(self, program: Program, threads: int, signature: Signature) -> None:
        self.signature = signature
        self.device = str(program.device)
        self.program = program
        self.copies = False
        """Whether inputs are copied, since the model writes to them."""
        self._threads = threads
        self._names = [spec.name for spec in program.outputs]

    def infer(self, rows: Arrays, run: Run) -> dict[str, NDArray[Any]]:
        """The outputs by name. Raises OutOfMemory, ModelDied, ModelFailed, and what the model itself raises."""
        keep_to(self._threads)
        try:
            with torch.inference_mode():
                answer = named(self.program.run(self._fed(rows)), self._names)
                return {name: to_array(tensor) for name, tensor in answer.items()}
        except Exception as error:
            failure = run_failure(error, run, "" if self.program.own_code else self.program.where)
            if failure is None:
                raise
        # Here and not above: the exception's frames hold the run's memory, which the next attempt needs.
        if self.program.device.type == "cuda":
            torch.cuda.empty_cache()
        raise failure

    def trial(self, arrays: Arrays) -> Answers:
        """One run over made-up rows."""
        return self.infer(arrays, Run(row_count(arrays)))

    def close(self) -> None:
        """Let go of the network and its weights."""
        self.program = attrs.evolve(self.program, target=_closed)

    def _fed(self, rows: Arrays) -> Mapping[str, torch.Tensor]:
        program = self.program
        fed = {}
        for name, array in rows.items():
            tensor = _tensor(array)
            if program.device.type != "cpu":
                tensor = tensor.pin_memory().to(program.device, non_blocking=True)
            elif self.copies:
                tensor = tensor.clone()
            if program.floats is not None and tensor.is_floating_point():
                tensor = tensor.to(program.floats)
            fed[name] = tensor
        return fed


def _tensor(array: NDArray[Any]) -> torch.Tensor:
    """The array's own memory as a tensor."""
    if not array.flags.writeable:
        array = np.asarray(_Writeable(array))
    if array.dtype.kind == "V":  # bfloat16, which torch does not take from numpy
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


class _Writeable:
    """Says of an array that it may be written to: torch has no tensors that may not, and warns of each.

    None is written to: a model that does so is found at load, and given copies.
    """

    def __init__(self, array: NDArray[Any]) -> None:
        self._array = array
        facts = array.__array_interface__
        self.__array_interface__ = {**facts, "data": (facts["data"][0], False)}


def _writes(model: TensorModel) -> bool:
    """Whether the model changes what it is given; False too where no made-up rows run."""
    for trial in trials(model.signature):
        arrays = made_up(model.signature, trial)
        try:
            model.trial(arrays)
        except Exception:  # noqa: S112 - whatever it is, another trial follows
            continue
        before = made_up(model.signature, trial)
        return any(arrays[name].tobytes() != before[name].tobytes() for name in arrays)
    return False


def _closed(**tensors: torch.Tensor) -> Any:
    raise RuntimeError("the model is closed")

"""ONNX Runtime behind the contract of a runtime: a file becomes a session, and a session answers named arrays."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import onnxruntime  # type: ignore[import-untyped]  # the library ships no types
from numpy.typing import NDArray

from modelapp.batchaxis import settled
from modelapp.runtime import Arrays, Artefact, Placement, Run
from modelapp.signature import Signature
from modelapp_onnx.envelope import SHRINK, Envelope
from modelapp_onnx.failures import reason, run_failure
from modelapp_onnx.generation import OnnxTextModel, load_generating
from modelapp_onnx.session import Opened, open_session
from modelapp_onnx.signature import declared


class OnnxRuntime:
    """Opens ONNX files."""

    def describe(self, artefact: Artefact, options: Any) -> Signature | None:
        """None without a task: whether rows may share a run is known only after trial runs."""
        return Signature(kind="records") if artefact.task else None

    def load(self, artefact: Artefact, options: Any, placement: Placement) -> "OnnxModel | OnnxTextModel":
        """Open the file and find its batch axis, or as its task says. Raises LoadError, naming file and reason."""
        if artefact.task:
            return load_generating(artefact, options, placement)
        opened = open_session(artefact, options, placement)
        signature = declared(opened.session, options, artefact)
        signature = attrs.evolve(signature, notes=(*opened.notes, *signature.notes))
        shrinks = options.arena_shrinkage and opened.on_cpu
        model = OnnxModel(opened, signature, Envelope() if shrinks else None)
        model.signature = settled(
            signature, partial(_trial, model), artefact, options.batching, table="onnx", reason=reason
        )
        return model

    precisions = ("int8",)

    def quantize(self, source: Path, target: Path, precision: str) -> Sequence[str]:
        """Write a file or folder less precise, as `modelapp.runtime.Quantizes` says. Raises LoadError."""
        from modelapp_onnx.quantizing import quantize

        return quantize(source, target, precision)


class OnnxModel:
    """A loaded model. `infer` may be called from several threads at once."""

    def __init__(self, opened: Opened, signature: Signature, envelope: Envelope | None) -> None:
        self.signature = signature
        self.device = opened.device
        self._session: Any = opened.session
        self._names = [spec.name for spec in signature.outputs]
        self._envelope = envelope

    def infer(self, rows: Arrays, run: Run) -> dict[str, NDArray[Any]]:
        """The outputs, in the signature's order. Raises Cancelled, OutOfMemory or ModelFailed."""
        # Fresh options cost 0.3 microseconds and make every run stoppable; once terminated they stay so.
        options = onnxruntime.RunOptions()
        run.on_cancel(partial(setattr, options, "terminate", True))
        if self._envelope is not None and self._envelope.is_outsize(rows):
            options.add_run_config_entry(*SHRINK)
        try:
            answers = self._session.run(self._names, rows, options)
        except Exception as error:
            raise run_failure(error, run) from error
        return dict(zip(self._names, answers, strict=True))

    def close(self) -> None:
        """Free the session; the last run must have ended, or the library crashes."""
        self._session = None


def _trial(model: OnnxModel, arrays: Arrays) -> Mapping[str, NDArray[Any]]:
    """One run over made-up rows."""
    return model.infer(arrays, Run(len(next(iter(arrays.values())))))

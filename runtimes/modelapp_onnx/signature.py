"""What an ONNX file declares: names, dtypes and shapes, read from a session."""

import difflib
from typing import Any

from modelapp.batchaxis import why_fixed
from modelapp.errors import LoadError
from modelapp.runtime import Artefact
from modelapp.signature import Dim, Signature, TensorSpec
from modelapp_onnx import Options

_DTYPES = {
    "tensor(bool)": "bool",
    "tensor(uint8)": "uint8",
    "tensor(uint16)": "uint16",
    "tensor(uint32)": "uint32",
    "tensor(uint64)": "uint64",
    "tensor(int8)": "int8",
    "tensor(int16)": "int16",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(float16)": "float16",
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(string)": "string",
}


def declared(session: Any, options: Options, artefact: Artefact) -> Signature:
    """The file's own words, not yet tried; `batched` is whether axis 0 of every input may grow.

    Raises LoadError where an input, or every output, is no tensor of a dtype that numpy holds.
    """
    inputs = [_input(arg, artefact) for arg in session.get_inputs()]
    inputs += _optional(session, options, artefact)
    notes: list[str] = []
    outputs: list[TensorSpec] = []
    for arg in session.get_outputs():
        if arg.type in _DTYPES:
            outputs.append(_spec(arg))
        else:
            notes.append(_left_out(arg))
    if not outputs:
        raise LoadError(f"{artefact.source} has no output that is a tensor: {' '.join(notes)}", model=artefact.name)
    why_not = why_fixed(inputs)
    notes += [why_not] if why_not else []
    return Signature(inputs=tuple(inputs), outputs=tuple(outputs), batched=not why_not, notes=tuple(notes))


def _input(arg: Any, artefact: Artefact) -> TensorSpec:
    if arg.type not in _DTYPES:
        raise LoadError(
            f'{artefact.source}: input "{arg.name}" is {arg.type}, which this runtime cannot feed',
            model=artefact.name,
            help=f"export the model with an input of one of {', '.join(_DTYPES)}",
        )
    return _spec(arg)


def _optional(session: Any, options: Options, artefact: Artefact) -> list[TensorSpec]:
    """The initializers that the app lets requests replace; the others stay what the file says."""
    offered = {arg.name: arg for arg in session.get_overridable_initializers()}
    for name in options.optional_inputs:
        if name not in offered:
            near = difflib.get_close_matches(name, offered, n=1) or sorted(offered)[:5]
            key = f"models.{artefact.name}.onnx.optional_inputs"
            raise LoadError(
                f'{key}: {artefact.source} has no replaceable initializer "{name}"',
                model=artefact.name,
                help=f"it has {', '.join(near)}" if near else "it has none: every initializer is a constant",
            )
    return [_spec(offered[name], optional=True) for name in options.optional_inputs]


def _spec(arg: Any, *, optional: bool = False) -> TensorSpec:
    return TensorSpec(arg.name, _DTYPES[arg.type], tuple(_dim(dim) for dim in arg.shape), optional=optional)


def _dim(dim: Any) -> Dim:
    """A size, a symbol that means something, or None; exporters write nameless sizes in several ways."""
    if isinstance(dim, int):
        return dim if dim > 0 else None
    if not isinstance(dim, str) or not dim or dim in ("?", "None", "-1") or dim.startswith("unk_"):
        return None
    return dim


def _left_out(arg: Any) -> str:
    note = f'Output "{arg.name}" is {arg.type} and is left out: answers are tensors.'
    if "map(" in arg.type:
        note += " Export without ZipMap (skl2onnx: options={'zipmap': False}) to serve it."
    return note

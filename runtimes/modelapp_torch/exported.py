"""A program of torch.export: its file says what goes in, with dtypes, sizes and which of them are open."""

from typing import Any

import torch

from modelapp.errors import LoadError
from modelapp.runtime import Artefact
from modelapp.signature import Dim, TensorSpec
from modelapp_torch import Options
from modelapp_torch.failures import unloadable
from modelapp_torch.program import Program, declared, refuse


def open_exported(artefact: Artefact, options: Options, device: torch.device) -> Program:
    """The program, on the device it is moved to. Raises LoadError."""
    path = artefact.source
    refuse(options, artefact, "an exported program", "dtype", "quantize", "arguments", "attention")
    try:
        program: Any = torch.export.load(path)
        if device.type != "cpu":
            from torch.export.passes import move_to_device_pass

            program = move_to_device_pass(program, device)
        module = program.module()
    except Exception as error:
        raise unloadable(
            artefact, error, "compare size and digest, or export it again with this version of torch"
        ) from None
    positional = _positional(program, artefact)
    specs = _inputs(program, artefact)
    _no_doubles(options, specs, artefact)
    return Program(
        where=path.name,
        target=module,
        device=device,
        inputs=specs,
        outputs=declared(options.outputs, artefact, "outputs"),
        positional=tuple(spec.name for spec in specs[:positional]),
    )


def _no_doubles(options: Options, specs: tuple[TensorSpec, ...], artefact: Artefact) -> None:
    if options.inputs:
        raise LoadError(
            f"models.{artefact.name}.torch.inputs: {artefact.source} itself says what it takes",
            model=artefact.name,
            help=f"leave inputs out; it takes {', '.join(spec.name for spec in specs)}",
        )


def _positional(program: Any, artefact: Artefact) -> int:
    """How many arguments it takes by position. Raises LoadError where one is no tensor."""
    args, kwargs = program.call_spec.in_spec.children()
    if any(not one.is_leaf() for one in (*args.children(), *kwargs.children())):
        raise LoadError(
            f"{artefact.source} takes lists or tables of tensors",
            model=artefact.name,
            help="export a module whose forward takes each tensor as an argument of its own",
        )
    return len(args.children())


def _inputs(program: Any, artefact: Artefact) -> tuple[TensorSpec, ...]:
    nodes: dict[str, Any] = {
        node.name: node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder"
    }
    values: dict[str, Any] = {name: nodes.get(name) for name in program.graph_signature.user_inputs}
    for name, value in values.items():
        if not isinstance(value, torch.Tensor):
            raise LoadError(
                f'{artefact.source}: its input "{name}" is {value!r}, no tensor',
                model=artefact.name,
                help="export a module whose forward takes tensors only",
            )
    shapes = {name: tuple(_dim(size) for size in value.shape) for name, value in values.items()}
    first = {shape[0] if shape else None for shape in shapes.values()}
    # The program names its open sizes s0, s77; the one that all inputs begin with is known to be the rows.
    rows = next(iter(first)) if len(first) == 1 else None
    named = {
        name: tuple("batch" if isinstance(dim, str) and dim == rows else dim for dim in shape)
        for name, shape in shapes.items()
    }
    return tuple(
        TensorSpec(name, str(value.dtype).removeprefix("torch."), named[name]) for name, value in values.items()
    )


def _dim(size: Any) -> Dim:
    """A fixed size, or the name of an open one; sizes computed from others are open and have none."""
    if isinstance(size, int):
        return size
    name = str(size)
    return name if name.isidentifier() else None

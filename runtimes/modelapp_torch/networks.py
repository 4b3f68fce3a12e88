"""A torch.nn.Module class and its weights: found, made without memory for weights where that can be, filled."""

import importlib
import inspect
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import torch

from modelapp import handlers
from modelapp.errors import LoadError
from modelapp.runtime import Artefact
from modelapp.signature import TensorSpec
from modelapp.suggestions import closest
from modelapp_torch import Options
from modelapp_torch.placing import DTYPES, is_cast
from modelapp_torch.program import Program, declared, refuse, undeclared
from modelapp_torch.quantizing import check_quantize, quantized
from modelapp_torch.weights import State, fill, read_state

_UNSHARED = "replicas do not share its memory."


def open_network(artefact: Artefact, options: Options, device: torch.device) -> Program:
    """The class with its weights, in the number type and on the device asked for. Raises LoadError."""
    refuse(options, artefact, "a class", "attention")
    check_quantize(options, artefact)
    cls, where = _found(artefact, options)
    _check_arguments(cls, options.arguments, where, artefact)
    module, notes = _filled(cls, options, where, artefact)
    module.eval().requires_grad_(False)
    inputs = _inputs(module, options, where, artefact)
    dtype = DTYPES[options.dtype]
    notes += _cast(module, dtype)
    if options.quantize == "int8":
        module = quantized(module, device, where, artefact)
    return Program(
        where=where,
        target=module.to(device),
        device=device,
        inputs=inputs,
        outputs=declared(options.outputs, artefact, "outputs"),
        floats=dtype,
        notes=notes,
        own_code=True,
    )


def _found(artefact: Artefact, options: Options) -> tuple[type[torch.nn.Module], str]:
    """The class that `source` or `architecture` names, and its name. Raises LoadError, HandlerError."""
    if artefact.symbol and options.architecture:
        raise LoadError(
            f"models.{artefact.name} names two classes: {artefact.symbol} in source, {options.architecture} in"
            " architecture",
            model=artefact.name,
            help="keep the class as source and the weights in files, or the weights as source and architecture",
        )
    if artefact.symbol:
        ref = f"{artefact.source.relative_to(artefact.root.resolve()).as_posix()}:{artefact.symbol}"
        cls: Any = handlers.load(artefact.root, ref)
    else:
        ref, cls = options.architecture, _imported(artefact, options.architecture)
    if not (isinstance(cls, type) and issubclass(cls, torch.nn.Module)):
        raise LoadError(
            f"{ref} is no torch.nn.Module",
            model=artefact.name,
            help='derive the class from torch.nn.Module; a class with `predict` is opened by runtime = "python"',
        )
    return cls, ref


def _imported(artefact: Artefact, ref: str) -> Any:
    """The class of "package.module:Class"."""
    place = f"models.{artefact.name}.torch.architecture"
    module, colon, name = ref.partition(":")
    if not colon or not name.isidentifier() or module.endswith(".py"):
        raise LoadError(
            f'{place}: "{ref}" names no class of an installed package',
            model=artefact.name,
            help='write "package.module:Class"; a class of the app itself is the source: "handlers.py:Class"',
        )
    try:
        found = importlib.import_module(module)
    except ImportError as error:
        raise LoadError(
            f"{place}: {module} cannot be imported: {error}", model=artefact.name, help="install what it lacks"
        ) from error
    if not hasattr(found, name):
        near = closest(name, vars(found))
        fix = f'did you mean "{module}:{near}"?' if near else ""
        raise LoadError(f'{place}: {module} has no "{name}"', model=artefact.name, help=fix)
    return getattr(found, name)


def _check_arguments(cls: type, arguments: Mapping[str, Any], where: str, artefact: Artefact) -> None:
    """Raise LoadError where the constructor does not take these keywords, or wants others."""
    takes = inspect.signature(cls).parameters
    try:
        inspect.signature(cls).bind(**arguments)
    except TypeError as error:
        named = {name for name, one in takes.items() if one.kind is not one.VAR_KEYWORD}
        stray = next((name for name in arguments if name not in named), "")
        near = closest(stray, named) if stray else None
        raise LoadError(
            f"models.{artefact.name}.torch.arguments: {where} refuses them: {error}",
            model=artefact.name,
            help=f'did you mean "{near}"?' if near else f"it takes {', '.join(takes) or 'none'}",
        ) from None


def _filled(
    cls: type[torch.nn.Module], options: Options, where: str, artefact: Artefact
) -> tuple[torch.nn.Module, tuple[str, ...]]:
    """The network with its weights, made without memory for others where that can be; and notes."""
    path = artefact.files.get("weights") if artefact.symbol else artefact.source
    state, why = (None, "") if path is None else read_state(path, artefact)
    notes = (f"{path.name} {why}: {_UNSHARED}",) if why and path is not None else ()
    try:
        with torch.device("meta"):
            module = cls(**options.arguments)
        _load(module, state, path, where, artefact)
        if not any(tensor.is_meta for tensor in _all_tensors(module)):
            return module, notes
    except LoadError:
        raise
    except Exception:  # noqa: S110 - it computes with its tensors while it is made, which meta tensors cannot
        pass
    module = cls(**options.arguments)
    _load(module, state, path, where, artefact)
    return module, notes


def _load(module: torch.nn.Module, state: State | None, path: Path | None, where: str, artefact: Artefact) -> None:
    if state is not None and path is not None:
        fill(module, dict(state), path, where, artefact)
    elif held := list(module.state_dict()):
        raise LoadError(
            f'{where} has weights ("{held[0]}" and others), and app.toml names no file of them',
            model=artefact.name,
            help=f'files = {{ weights = "models/net.safetensors" }} in [models.{artefact.name}]',
        )


def _all_tensors(module: torch.nn.Module) -> Iterator[torch.Tensor]:
    """Parameters, buffers, and tensors that are plain attributes."""
    for part in module.modules():
        yield from part.parameters(recurse=False)
        yield from part.buffers(recurse=False)
        for value in vars(part).values():
            values = value if isinstance(value, (list, tuple)) else [value]
            yield from (one for one in values if isinstance(one, torch.Tensor))


def _inputs(module: torch.nn.Module, options: Options, where: str, artefact: Artefact) -> tuple[TensorSpec, ...]:
    """What the options declare, or else the annotations of `forward`; by the names of its parameters."""
    takes = inspect.signature(module.forward).parameters
    texts = dict(options.inputs) or dict(_annotated(type(module).forward))
    needs = tuple(name for name, one in takes.items() if one.default is one.empty and _is_plain(one))
    if not texts:
        raise undeclared(artefact, f"{where}.forward", needs)
    place = f"models.{artefact.name}.torch.inputs"
    open_ended = any(one.kind is one.VAR_KEYWORD for one in takes.values())
    for name in texts:
        if not open_ended and name not in takes:
            near = closest(name, takes)
            fix = f'did you mean "{near}"?' if near else f"it takes {', '.join(takes)}"
            raise LoadError(f'{place}: {where}.forward has no parameter "{name}"', model=artefact.name, help=fix)
    for name in needs:
        if name not in texts:
            raise LoadError(
                f'{place}: {where}.forward needs "{name}" too',
                model=artefact.name,
                help=f'add {name} = "float32[batch, ...]", with its dtype and sizes',
            )
    return declared(texts, artefact, "inputs")


def _is_plain(parameter: inspect.Parameter) -> bool:
    return parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)


def _annotated(forward: Any) -> Iterator[tuple[str, str]]:
    """Parameters that are annotated like `Annotated[Tensor, "float32[batch, 4]"]`."""
    try:
        hints = typing.get_type_hints(forward, include_extras=True)
    except Exception:  # a hint of the model's own that cannot be read says nothing
        return
    for name, hint in hints.items():
        if name != "return" and get_origin(hint) is Annotated:
            text = next((one for one in get_args(hint)[1:] if isinstance(one, str)), None)
            if text is not None:
                yield name, text


def _cast(module: torch.nn.Module, dtype: torch.dtype) -> tuple[str, ...]:
    """Cast its floating numbers, and say that memory is no longer shared where any was another type."""
    others = {str(tensor.dtype).removeprefix("torch.") for tensor in _all_tensors(module) if is_cast(tensor, dtype)}
    if not others:
        return ()
    module.to(dtype)
    wanted = str(dtype).removeprefix("torch.")
    return (f"Its weights are stored as {' and '.join(sorted(others))} and cast to {wanted}: {_UNSHARED}",)

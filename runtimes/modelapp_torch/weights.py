"""Weights from files into a network: read without running anything, mapped where that can be, and compared first."""

import pickle
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import safetensors
import safetensors.torch
import torch

from modelapp.errors import LoadError
from modelapp.modelfile import head
from modelapp.runtime import Artefact
from modelapp.suggestions import closest
from modelapp_torch.failures import reason

State: TypeAlias = dict[str, torch.Tensor]

_FORBIDDEN = re.compile(r"(?:GLOBAL|global:?|class) (?:GLOBAL )?([\w.]+)")
_SHOWN = 3


def read_state(path: Path, artefact: Artefact) -> tuple[State, str]:
    """The tensors of a file by name, on the CPU; and why not all are mapped, "" where they are. Raises LoadError."""
    begins = head(path, artefact.name)
    if path.suffix == ".safetensors":
        try:
            return safetensors.torch.load_file(path), ""
        except (safetensors.SafetensorError, OSError) as error:
            raise LoadError(
                f"{path} cannot be loaded: {reason(error)}",
                model=artefact.name,
                help="it is no safetensors file, or a cut copy: compare size and digest",
            ) from None
    mapped = begins.startswith(b"PK")  # before torch 1.6 it was one pickle, whose tensors are read
    state = _tensors_only(_unpickled(path, artefact, mapped=mapped), path, artefact)
    why = "" if mapped else "is of an old kind that cannot be mapped"
    for name, tensor in state.items():
        if not tensor.is_contiguous():  # as converters leave them; each run would lay them out anew
            state[name] = tensor.contiguous()
            why = why or "holds tensors in another order, which are laid out anew"
    return state, why


def _unpickled(path: Path, artefact: Artefact, *, mapped: bool) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        found = _FORBIDDEN.search(str(error))
        wants = f"it asks for {found[1]}" if found else "it is more than tensors"
        raise LoadError(
            f"{path} is not loaded: {wants}, and reading that would run code",
            model=artefact.name,
            help="where you trust it, write its weights alone: safetensors.torch.save_file(model.state_dict(), ...)",
        ) from None
    except Exception as error:  # whatever a damaged pickle makes of itself
        script = " It is TorchScript, which needs no class." if _is_script(path) else ""
        raise LoadError(
            f"{path} cannot be loaded: {reason(error)}.{script}",
            model=artefact.name,
            help="it must be a state dict as torch.save writes it: compare size and digest, or write it anew",
        ) from None


def _is_script(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _tensors_only(loaded: Any, path: Path, artefact: Artefact) -> State:
    """The mapping of tensors that a checkpoint is, or that it holds under "state_dict"."""
    if isinstance(loaded, Mapping) and isinstance(loaded.get("state_dict"), Mapping):
        loaded = loaded["state_dict"]
    if isinstance(loaded, Mapping) and all(isinstance(value, torch.Tensor) for value in loaded.values()):
        return dict(loaded)
    held = f"the keys {', '.join(map(str, list(loaded)[:5]))}" if isinstance(loaded, Mapping) else type(loaded).__name__
    raise LoadError(
        f"{path} is no state dict: it holds {held}",
        model=artefact.name,
        help="write the weights alone: torch.save(model.state_dict(), ...)",
    )


def fill(module: torch.nn.Module, state: State, path: Path, where: str, artefact: Artefact) -> None:
    """Make the tensors of `state` those of `module`, without a copy. Raises LoadError naming what does not fit."""
    own = module.state_dict(keep_vars=True)
    _tie(own, state)
    if faults := list(_faults(own, state, path, where)):
        message, fix = faults[0]
        more = f" (and {len(faults) - 1} more that do not fit)" if len(faults) > 1 else ""
        raise LoadError(f"{message}{more}", model=artefact.name, help=fix)
    try:
        module.load_state_dict(state, assign=True)
    except RuntimeError as error:  # a network with its own rules
        raise LoadError(f"{path} does not fit {where}: {reason(error)}", model=artefact.name) from None


def _tie(own: Mapping[str, Any], state: State) -> None:
    """Tensors that a network uses under two names are written once by some: read them under both."""
    names: dict[int, list[str]] = {}
    for name, tensor in own.items():
        names.setdefault(id(tensor), []).append(name)
    for shared in names.values():
        known = next((name for name in shared if name in state), None)
        if known is not None:
            state.update({name: state[known] for name in shared if name not in state})


def _faults(own: Mapping[str, Any], state: State, path: Path, where: str) -> Iterator[tuple[str, str]]:
    """What does not fit, most telling first: message and fix."""
    for name in own.keys() & state.keys():
        wanted, found = own[name], state[name]
        if isinstance(wanted, torch.Tensor) and wanted.shape != found.shape:
            yield (
                f'"{name}" is {_shape(found)} in {path} and {_shape(wanted)} in {where}',
                "give the constructor the sizes that the weights were trained with, in `arguments`",
            )
    missing = [name for name in own if name not in state]
    strange = [name for name in state if name not in own]
    if missing:
        near = closest(missing[0], strange)
        yield (
            f"{path} lacks {_listed(missing)}, which {where} has",
            f'it has "{near}"; rename one of the two' if near else "take the weights of this very class",
        )
    if strange:
        yield (
            f"{path} has {_listed(strange)}, which {where} lacks",
            "take the weights of this very class, or leave out of the file what the class does not use",
        )


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(f'"{name}"' for name in names[:_SHOWN])
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown


def _shape(tensor: torch.Tensor) -> str:
    return f"[{', '.join(map(str, tensor.shape))}]"

"""Files that are whole programs: what torch.export, AOTInductor and TorchScript write. No code of the model is needed.

Such a file is code: whoever opens it runs what its author wrote.
"""

import json
import platform
import warnings
import zipfile
from collections.abc import Callable
from typing import Any, TypeAlias

import torch

from modelapp.errors import LoadError
from modelapp.modelfile import head
from modelapp.runtime import Artefact
from modelapp_torch import Options
from modelapp_torch.exported import open_exported
from modelapp_torch.failures import unloadable
from modelapp_torch.program import Program, declared, refuse, undeclared

Opener: TypeAlias = Callable[[Artefact, Options, torch.device], Program]


def opener(artefact: Artefact) -> Opener:
    """What opens the file, told by its contents. Raises LoadError where it is no program."""
    path = artefact.source
    begins = head(path, artefact.name)
    names = []
    if begins.startswith(b"PK") and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    if any("/data/aotinductor/" in name for name in names):
        return _open_compiled
    if any("/models/" in name or name.endswith("serialized_exported_program.json") for name in names):
        return open_exported
    if any(name.endswith("/constants.pkl") for name in names):
        return _open_scripted
    if path.suffix == ".safetensors" or any(name.endswith("/data.pkl") for name in names):
        raise LoadError(
            f"{path} holds weights, and no network that uses them",
            model=artefact.name,
            help='name the class: source = "handlers.py:Net" and files = { weights = "..." },'
            ' or architecture = "package.module:Class"',
        )
    raise LoadError(
        f"{path} is nothing that the torch runtime opens, or a cut copy of it",
        model=artefact.name,
        help="a program (.pt2, TorchScript), or a class with its weights (.safetensors, .pth)",
    )


def _open_compiled(artefact: Artefact, options: Options, device: torch.device) -> Program:
    """A package of AOTInductor: machine code for one kind of processor and one version of torch."""
    path = artefact.source
    refuse(options, artefact, "a compiled package", "dtype", "quantize", "compile", "arguments", "attention")
    try:
        model = torch._inductor.aoti_load_package(str(path), device_index=device.index or -1)
        facts = model.loader.get_metadata()
        spec = json.loads(model.loader.get_call_spec()[0])[1]["children_spec"]
    except Exception as error:
        raise unloadable(artefact, error, "compile it again with this version, on this kind of machine") from None
    _compare(facts, device, artefact)
    inputs = declared(options.inputs, artefact, "inputs")
    positional = len(spec[0]["children_spec"])
    named = tuple(json.loads(spec[1]["context"] or "[]"))
    if not inputs:
        raise undeclared(artefact, str(path), (*(f"x{place}" for place in range(positional)), *named))
    if len(inputs) != positional + len(named):
        raise LoadError(
            f"models.{artefact.name}.torch.inputs declares {len(inputs)} tensors, {path} takes"
            f" {positional + len(named)}",
            model=artefact.name,
            help="declare them in the order of the model's arguments",
        )
    return Program(
        where=path.name,
        target=model,
        positional=tuple(spec.name for spec in inputs if spec.name not in named),
        device=device,
        inputs=inputs,
        outputs=declared(options.outputs, artefact, "outputs"),
    )


def _compare(facts: dict[str, str], device: torch.device, artefact: Artefact) -> None:
    """Refuse machine code of another kind before it is run: it would end the process."""
    wanted = (facts.get("AOTI_DEVICE_KEY", device.type), facts.get("AOTI_MACHINE", platform.machine()))
    here = (device.type, platform.machine())
    if wanted != here:
        raise LoadError(
            f"{artefact.source} is compiled for {' on '.join(wanted)}, and runs here on {' on '.join(here)}",
            model=artefact.name,
            help=f'compile it for this machine, or set device = "{wanted[0]}"',
        )


def _open_scripted(artefact: Artefact, options: Options, device: torch.device) -> Program:
    """TorchScript: names of its inputs are in it, dtypes and sizes are not."""
    path = artefact.source
    refuse(options, artefact, "TorchScript", "dtype", "quantize", "compile", "arguments", "attention")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # whoever serves the file cannot change it
            module: Any = torch.jit.load(str(path), map_location=device).eval()  # type: ignore[no-untyped-call] # untyped there
    except Exception as error:
        raise unloadable(
            artefact, error, "compare size and digest, or write it again with this version of torch"
        ) from None
    takes = tuple(one.name for one in module.forward.schema.arguments[1:])
    inputs = declared(options.inputs, artefact, "inputs")
    if not inputs:
        raise undeclared(artefact, str(path), takes)
    if strange := [spec.name for spec in inputs if spec.name not in takes]:
        raise LoadError(
            f'models.{artefact.name}.torch.inputs: {path} has no input "{strange[0]}"',
            model=artefact.name,
            help=f"it takes {', '.join(takes)}",
        )
    return Program(
        where=path.name,
        target=module,
        device=device,
        inputs=inputs,
        outputs=declared(options.outputs, artefact, "outputs"),
    )

"""torch.compile at load: the cost is paid before anyone waits, and told."""

import shutil
import warnings
from time import perf_counter
from typing import TYPE_CHECKING

import attrs
import numpy as np
import torch

from modelapp.errors import LoadError
from modelapp.runtime import Artefact
from modelapp.trialrows import made_up, trials
from modelapp_torch import Options
from modelapp_torch.failures import reason

if TYPE_CHECKING:
    from modelapp_torch.tensors import TensorModel

_COMPILERS = ("g++", "clang++", "c++")


def compiled(model: "TensorModel", artefact: Artefact, options: Options) -> None:
    """Compile the network in `model` and run it over one row and two, with a note of what that took.

    Raises LoadError where no compiler is here, or where it fails.
    """
    program, signature = model.program, model.signature
    key = f'models.{artefact.name}.torch.compile = "{options.compile}"'
    if program.device.type == "cpu" and not any(shutil.which(name) for name in _COMPILERS):
        raise LoadError(
            f"{key} needs a C++ compiler, and there is none on PATH",
            model=artefact.name,
            help='apt install g++ (and python3-dev), or compile = "off"',
        )
    started = perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the compiler's own parts
            quick = torch.compile(program.target, dynamic=signature.batched or None)
            model.program = attrs.evolve(program, target=quick)
            _run(model)
    except Exception as error:
        raise LoadError(
            f"{key}: {program.where} does not compile: {reason(error)}", model=artefact.name, help='compile = "off"'
        ) from error
    note = f"torch.compile took {perf_counter() - started:.1f} s."
    model.signature = attrs.evolve(signature, notes=(*signature.notes, note))


def _run(model: "TensorModel") -> None:
    """Over the first made-up rows that run: more rows than one first, since sizes of 1 are compiled apart."""
    last: Exception | None = None
    for trial in trials(model.signature):
        one = made_up(model.signature, trial)
        try:
            if model.signature.batched:
                model.trial({name: np.concatenate([array, array]) for name, array in one.items()})
            model.trial(one)
        except Exception as error:  # another trial follows
            last = error
        else:
            return
    if last is not None:
        raise last

"""What torch's exceptions say, in one line and in the product's own error classes."""

import torch

from modelapp.errors import LoadError, ModelDied, ModelFailed, OutOfMemory, RequestError, is_out_of_memory
from modelapp.runtime import Artefact, Run

_NOISE = ("\nException raised from", "\nC++ CapturedTraceback", "\nWhile executing", "\nOriginal traceback")
"""What follows these is a traceback of the library's."""
_SCRIPT = "The following operation failed in the TorchScript interpreter"
"""What follows this is one too, and the last line is the error."""


def reason(error: BaseException) -> str:
    """The library's own words on one line, without its tracebacks."""
    text = str(error).rstrip()
    if text.startswith(_SCRIPT):
        return text.splitlines()[-1]
    for mark in _NOISE:
        text = text.partition(mark)[0]
    return " ".join(text.split()) or type(error).__name__


def unloadable(artefact: Artefact, error: BaseException, help: str) -> LoadError:
    """What to raise where torch cannot open the artefact's file."""
    return LoadError(
        f"{artefact.source} cannot be loaded by torch {torch.__version__}: {reason(error)}",
        model=artefact.name,
        help=help,
    )


def run_failure(error: Exception, run: Run, where: str = "") -> RequestError | None:
    """The outcome of a run that raised `error`: out of memory, a device that is lost, or the fault of the file `where`.

    None: the exception tells more than any words about it, as one of the model's own code does.
    """
    if is_out_of_memory(error):
        return OutOfMemory(f"a run over {run.rows} row{'s' * (run.rows != 1)} did not fit into memory: {reason(error)}")
    if isinstance(error, torch.AcceleratorError):  # after such a one every further call to the device fails
        return ModelDied(f"the device failed: {reason(error)}")
    if isinstance(error, RequestError):
        return error
    return ModelFailed(f"{where}: {reason(error)}") if where else None

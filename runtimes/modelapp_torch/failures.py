"""What torch's exceptions say, in one line and in the product's own error classes."""

import torch

from modelapp.errors import ModelDied, OutOfMemory, RequestError, is_out_of_memory
from modelapp.runtime import Run

_NOISE = ("\nException raised from", "\nC++ CapturedTraceback", "\nWhile executing", "\nOriginal traceback")
"""What follows these is a traceback of the library's."""


def reason(error: BaseException) -> str:
    """The library's own words on one line, without its tracebacks."""
    text = str(error)
    for mark in _NOISE:
        text = text.partition(mark)[0]
    return " ".join(text.split()) or type(error).__name__


def run_failure(error: Exception, run: Run) -> RequestError | None:
    """The outcome of a run that raised `error`: out of memory, or a device that is lost; None for anything else."""
    if is_out_of_memory(error):
        return OutOfMemory(f"a run over {run.rows} row{'s' * (run.rows != 1)} did not fit into memory: {reason(error)}")
    if isinstance(error, torch.AcceleratorError):  # after such a one every further call to the device fails
        return ModelDied(f"the device failed: {reason(error)}")
    return None

"""Where a model runs and with what: device, threads and number type, as app.toml asks and this machine can."""

from typing import Any

import torch

from modelapp.errors import LoadError
from modelapp.runtime import Artefact, Placement
from modelapp_torch import Options

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
"""The words of the option `dtype`."""


def device_of(artefact: Artefact, placement: Placement) -> torch.device:
    """The device asked for; "auto" is CUDA where there is one. Raises LoadError where it is not here."""
    asked = placement.device
    if asked == "auto":
        asked = "cuda" if torch.cuda.is_available() else "cpu"
    key = f'models.{artefact.name}.device is "{asked}"'
    kind, _, index = asked.partition(":")
    if kind not in ("cpu", "cuda") or (index and not index.isdecimal()):
        raise LoadError(
            f"{key}, which the torch runtime does not know",
            model=artefact.name,
            help='device = "cpu", "cuda", "cuda:0" or "auto"',
        )
    if kind == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if count <= int(index or 0):
            raise LoadError(
                f"{key}, but torch {torch.__version__} finds {count or 'no'} CUDA device{'s' * (count > 1)} here",
                model=artefact.name,
                help='install a driver and a CUDA build of torch, or set device = "cpu"',
            )
    return torch.device(asked)


def threads_of(artefact: Artefact, options: Options, placement: Placement) -> int:
    """Threads of one run. Raises LoadError where more are asked for than the model's budget."""
    if options.threads > placement.threads:
        raise LoadError(
            f"models.{artefact.name}.torch.threads is {options.threads},"
            f" over the model's budget of {placement.threads}",
            model=artefact.name,
            help=f"set threads = {options.threads} in [models.{artefact.name}], or leave the key out here",
        )
    return options.threads or placement.threads


def keep_to(threads: int) -> None:
    """Let torch use so many threads for what runs on the calling thread; to be called before every run.

    The number belongs to the thread, and models with other budgets may run on it too. Asking first is cheap; setting
    is not.
    """
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)


def is_cast(tensor: Any, dtype: torch.dtype) -> bool:
    """Whether a tensor must be cast for a model that computes in `dtype`: its numbers are floating, and others."""
    return bool(tensor.is_floating_point() and tensor.dtype != dtype)

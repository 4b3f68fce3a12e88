"""Chance that a seed decides: torch has one source of it for a whole process."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_ONE_AT_A_TIME = threading.Lock()


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """What is drawn within follows from `seed` alone; what is drawn elsewhere goes on as if nothing had been."""
    devices = [device] if device.type == "cuda" else []
    with _ONE_AT_A_TIME, torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        yield

"""From a row of the file to the model's input, and from its answer to a label."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

SPECIES = ("Adelie", "Chinstrap", "Gentoo")


def measures(
    bill_length_mm: float, bill_depth_mm: float, flipper_length_mm: float, body_mass_g: float
) -> NDArray[np.float32]:
    """The model's input, float32 [4], in the order that it was trained with."""
    return np.array([bill_length_mm, bill_depth_mm, flipper_length_mm, body_mass_g], np.float32)


def label(answer: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """The likeliest species and its probability."""
    place = int(answer["species"])
    return {"species": SPECIES[place], "score": float(answer["chances"][place])}

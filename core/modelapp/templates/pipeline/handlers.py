"""What the two models say, laid side by side."""

from collections.abc import Mapping
from typing import Any

from modelapp.errors import InvalidInput

MOST_STARS = 5
MIDDLE = 3
"""Stars that neither praise nor scorn."""


def compare(number: Mapping[str, Any], opinion: Mapping[str, Any]) -> dict[str, Any]:
    """The card's answer. Raises InvalidInput for a digit that is no number of stars."""
    stars = number["digit"]
    if not 1 <= stars <= MOST_STARS:
        raise InvalidInput(f"{stars} is no number of stars, which go from 1 to {MOST_STARS}", field="stars")
    at_odds = stars != MIDDLE and (stars > MIDDLE) != opinion["good"]
    return {"stars": stars, "opinion": opinion["score"], "at_odds": at_odds}

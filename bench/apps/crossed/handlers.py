"""A model in plain Python that tells whose request it answers."""

from typing import Any


class Words:
    """Turns words around, triples the number and adds one; 13 is poison for the whole run."""

    def predict(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """One answer a row."""
        if any(row["number"] == 13 for row in rows):
            raise ValueError("13 is poison")
        return [{"number": row["number"] * 3 + 1, "words": row["words"][::-1]} for row in rows]

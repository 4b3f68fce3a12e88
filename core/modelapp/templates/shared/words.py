"""From a text to the numbers of its words, which is what the model reads, and from its answer to a verdict."""

import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelapp.errors import InvalidInput

VOCABULARY = Path(__file__).parent / "models/words.txt"
REACH = 3
"""So many words after "not" are turned round by it, unless the clause ends before."""

_CLAUSE = re.compile(r"[.,;:!?()]|\bbut\b")
_WORD = re.compile(r"[a-z]+(?:['-][a-z]+)*")
_NOT = frozenset({"not", "no", "never", "nobody", "none", "nor", "nothing", "without", "cannot", "hardly", "barely"})


def words(text: str) -> NDArray[np.int64]:
    """The model's input, int64 [words]: a number for each word it knows. Raises InvalidInput where it knows none."""
    known = _numbers()
    found = [known.get(word) or known.get(word.removeprefix("not "), 0) for word in split(text)]
    if not any(found):
        raise InvalidInput("none of its words is known", field="text")
    return np.array([number for number in found if number], np.int64)


def split(text: str) -> list[str]:
    """The words in lower case; one that is turned round is "not good" instead of "good"."""
    found = []
    for clause in _CLAUSE.split(text.lower().replace("’", "'")):
        turned = 0
        for word in _WORD.findall(clause):
            found.append(f"not {word}" if turned > 0 else word)
            turned = REACH if word in _NOT or word.endswith("n't") else turned - 1
    return found


def verdict(answer: Mapping[str, NDArray[np.float32]]) -> dict[str, Any]:
    """Whether the text is rather good than bad, and how much."""
    score = float(answer["score"])
    return {"good": score > 0, "score": score}


@functools.cache
def _numbers() -> dict[str, int]:
    """Word -> its number, from 1; 0 stands for no word."""
    return {word: number for number, word in enumerate(VOCABULARY.read_text(encoding="utf-8").splitlines(), start=1)}

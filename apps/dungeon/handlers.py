"""What the narrator is told before it goes on: the opening, as much of the past as has room, and the action."""

from collections.abc import Mapping, Sequence
from typing import Any

from modelapp import InvalidInput


def prompt(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The request to the narrator. It stops where the next command would begin."""
    asked = {
        "prompt": told_so_far(inputs["opening"], inputs["turns"], inputs["action"], inputs["memory_chars"]),
        "max_tokens": inputs["max_tokens"],
        "temperature": inputs["temperature"],
        "stop": ["\n>"],
    }
    return asked if inputs["seed"] is None else {**asked, "seed": inputs["seed"]}


def told_so_far(opening: str, turns: Sequence[Mapping[str, str]], action: str, memory_chars: int) -> str:
    """The adventure as the narrator reads it: never more than `memory_chars`. The oldest turns are left out first.

    Raises InvalidInput where the opening and the action alone are more.
    """
    end = f"> {action}\n" if action else ""
    begin = f"{opening}\n" if turns or action else opening
    room = memory_chars - _size(begin) - _size(end)
    if room < 0:
        told = f"opening and action take {memory_chars - room} characters of memory_chars, which is {memory_chars}"
        raise InvalidInput(f"{told}: shorten the opening (a letter like é counts as 2, an emoji as 4)", field="opening")
    kept: list[str] = []
    for turn in reversed(turns):
        told = f"> {turn['did']}\n{turn['told']}\n" if turn["did"] else f"{turn['told']}\n"
        room -= _size(told)
        if room < 0:
            break
        kept.append(told)
    return "".join([begin, *reversed(kept), end])


def _size(text: str) -> int:
    """Characters, those beyond ASCII as their bytes: a text has at most as many tokens."""
    return len(text.encode(errors="replace"))

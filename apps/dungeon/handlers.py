"""What the narrator is told before it goes on: the opening, as much of the past as has room, and the action."""

from collections.abc import Mapping, Sequence
from typing import Any


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
    """The adventure as the narrator reads it. The opening and the action stay; the oldest turns go first."""
    if not turns and not action:
        return opening
    end = f"> {action}\n" if action else ""
    room = memory_chars - len(opening) - len(end)
    kept: list[str] = []
    for turn in reversed(turns):
        told = f"> {turn['did']}\n{turn['told']}\n"
        room -= len(told)
        if room < 0:
            break
        kept.append(told)
    return "".join([opening, "\n", *reversed(kept), end])

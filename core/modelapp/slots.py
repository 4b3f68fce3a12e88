"""Who holds which slot of a generating engine, how much memory is promised, and what an earlier sequence left behind.

Pure bookkeeping in tokens: the memory itself is the engine's. A sequence that is over may stay as a *parked* holding,
whose first tokens can serve a later prompt; parked ones give way, the least used first, as soon as memory is wanted.
"""

from collections.abc import Sequence
from heapq import heapify, heappop, heappush
from typing import NamedTuple

from modelapp.errors import OutOfMemory

_LEAST_SHARED = 8
"""Fewer common tokens are read again sooner than they are copied."""


class Place(NamedTuple):
    """The slot of a new sequence. Free the memory of `dropped` before anything is allocated.

    The first `known` tokens of its prompt are those of the holding `source`, to be copied; 0 and None: nothing is.
    """

    slot: int
    known: int = 0
    source: int | None = None
    dropped: tuple[int, ...] = ()


class _Holding:
    """Memory for `room` tokens, of which `tokens` are filled."""

    __slots__ = ("room", "tokens")

    def __init__(self, room: int, tokens: list[int]) -> None:
        self.room = room
        self.tokens = tokens


class SlotTable:
    """Holdings of at most `tokens` in all: up to `slots` live ones, and up to `parked` of sequences that are over.

    A holding is a number from 0 to `slots` + `parked` - 1; it keeps it when it is parked.
    """

    def __init__(self, slots: int, tokens: int, *, parked: int = 0) -> None:
        self._slots = slots
        self._budget = tokens
        self._most_parked = parked
        self._live: dict[int, _Holding] = {}
        self._parked: dict[int, _Holding] = {}
        """The least recently used first."""
        self._live_tokens = self._parked_tokens = 0
        self._free = list(range(slots + parked))
        heapify(self._free)

    @property
    def live(self) -> Sequence[int]:
        """The slots of sequences that are not over, the oldest first."""
        return tuple(self._live)

    @property
    def parked(self) -> Sequence[int]:
        """What is kept of sequences that are over, the least recently used first."""
        return tuple(self._parked)

    @property
    def reserved(self) -> int:
        """Tokens of all holdings; never more than the budget."""
        return self._live_tokens + self._parked_tokens

    def length(self, slot: int) -> int:
        """Tokens that a live slot knows. Raises KeyError."""
        return len(self._live[slot].tokens)

    def room(self, slot: int) -> int:
        """Tokens that a live slot has memory for. Raises KeyError."""
        return self._live[slot].room

    def has_room(self, tokens: int) -> bool:
        """Whether a sequence of so many tokens can be admitted; parked ones do not stand in its way."""
        return len(self._live) < self._slots and self._live_tokens + tokens <= self._budget

    def admit(self, prompt: Sequence[int], tokens: int) -> Place:
        """A slot for a sequence of so many tokens in all. Raises OutOfMemory where there is no room.

        At least the last token of the prompt is not `known`, since the model must be fed something.
        """
        if not self.has_room(tokens):
            raise OutOfMemory(
                f"no room for a sequence of {tokens} tokens: {len(self._live)} of {self._slots} slots and "
                f"{self._live_tokens} of {self._budget} tokens are taken"
            )
        source, known = self._longest(list(prompt))
        if source in self._parked:
            self._parked[source] = self._parked.pop(source)  # the last to give way
        dropped = self._make_room(tokens)
        if source in dropped:
            source, known = None, 0
        slot = heappop(self._free)
        self._live[slot] = _Holding(tokens, list(prompt[:known]))
        self._live_tokens += tokens
        return Place(slot, known, source, dropped)

    def feed(self, slot: int, tokens: Sequence[int]) -> None:
        """The live slot knows these too. Call it when a step has succeeded. Raises KeyError, OutOfMemory."""
        holding = self._live[slot]
        if len(holding.tokens) + len(tokens) > holding.room:
            raise OutOfMemory(f"slot {slot} has memory for {holding.room} tokens, and was fed more")
        holding.tokens.extend(tokens)

    def release(self, slot: int, *, keep: bool = True) -> tuple[int, ...]:
        """The sequence is over. Whose memory is to be freed: its own, unless it is parked. Raises KeyError."""
        holding = self._live.pop(slot)
        self._live_tokens -= holding.room
        if not keep or not self._most_parked or len(holding.tokens) < _LEAST_SHARED:
            heappush(self._free, slot)
            return (slot,)
        dropped = self._covered(holding.tokens)
        if len(self._parked) >= self._most_parked:
            dropped += (self._evict(next(iter(self._parked))),)
        self._parked[slot] = holding
        self._parked_tokens += holding.room
        return dropped

    def forget(self) -> tuple[int, ...]:
        """Keep nothing of sequences that are over: the holdings whose memory is to be freed."""
        return tuple(self._evict(one) for one in list(self._parked))

    def _make_room(self, tokens: int) -> tuple[int, ...]:
        dropped = []
        while self.reserved + tokens > self._budget:
            dropped.append(self._evict(next(iter(self._parked))))
        return tuple(dropped)

    def _covered(self, tokens: list[int]) -> tuple[int, ...]:
        """Drop what is parked and says nothing that `tokens` do not say."""
        inside = [one for one, held in self._parked.items() if held.tokens == tokens[: len(held.tokens)]]
        return tuple(self._evict(one) for one in inside)

    def _evict(self, one: int) -> int:
        self._parked_tokens -= self._parked.pop(one).room
        heappush(self._free, one)
        return one

    def _longest(self, prompt: list[int]) -> tuple[int | None, int]:
        """The holding that shares the longest beginning with `prompt`, and how long that is."""
        best: tuple[int | None, int] = None, 0
        if not self._most_parked:
            return best
        for holdings in (self._parked, self._live):
            for one, held in holdings.items():
                shared = _common(prompt[:-1], held.tokens)
                if shared >= _LEAST_SHARED and shared > best[1]:
                    best = one, shared
        return best


def _common(first: list[int], second: list[int]) -> int:
    """How many tokens two lists have in common at their beginning."""
    low, high = 0, min(len(first), len(second))
    while low < high:  # slices are compared in C
        middle = (low + high + 1) // 2
        low, high = (middle, high) if first[low:middle] == second[low:middle] else (low, middle - 1)
    return low

"""Whether a model that generates still does the same in another format: both engines take every step, fed alike."""

from collections.abc import Sequence
from typing import Any, Protocol

import attrs
import numpy as np
from numpy.typing import NDArray

from modelapp.errors import LoadError, ModelAppError
from modelapp.generating import Admitted, Capacity, Feed, Generates, Text, TextModel
from modelapp.parity import Comparison, Ledger, compare

_CHUNK = 16
"""Tokens of a prompt that one step is fed, where the steps are drawn."""
_DECODED = 6


class Judge(Protocol):
    """What is made of the steps that two engines take."""

    def begin(self, given: str) -> None:
        """Say what the next steps are about."""
        ...

    def step(self, kind: str, mine: NDArray[Any], theirs: NDArray[Any]) -> None:
        """Hear what both answered, [answers, vocabulary]; `kind` says what they were fed."""
        ...

    def fault(self, told: str) -> None:
        """The two are out of step, and no more comes: what the other's logits are."""
        ...


@attrs.frozen
class Sameness:
    """Implements `Judge`: whether both answer the same, within the ledger's tolerance."""

    ledger: Ledger

    def begin(self, given: str) -> None:
        """Say what comes next."""
        self.ledger.begin(given)

    def step(self, kind: str, mine: NDArray[Any], theirs: NDArray[Any]) -> None:
        """Compare logits, and the likeliest token of each row."""
        found = compare(self.ledger.given, f"logits, {kind}", mine, theirs, self.ledger.tolerance)
        self.ledger.add(found)
        if not found.fault:
            self.ledger.add(self._likeliest(mine, theirs, found))

    def fault(self, told: str) -> None:
        """It is none of the same."""
        self.ledger.add(Comparison(given=self.ledger.given, output="logits", fault=told))

    def _likeliest(self, mine: NDArray[Any], theirs: NDArray[Any], logits: Comparison) -> Comparison:
        """Whether both would take the same token next; ties within the tolerance may fall either way."""
        begun = Comparison(given=self.ledger.given, output="likeliest token", shape=mine.shape[:1])
        for row, (a, b) in enumerate(zip(mine, theirs, strict=True)):
            best, other = int(a.argmax()), int(b.argmax())
            if best != other and a[best] - a[other] > 2 * logits.tolerance * logits.largest:
                return attrs.evolve(begun, fault=f"is {other} in row {row}, in the original {best}", place=(row,))
        return begun


class TwinEngine:
    """Implements `modelapp.generating.Generates`: what the original answers, while `judge` hears of both.

    Raises LoadError where the two do not know the same tokens.
    """

    def __init__(self, original: Generates, exported: Generates, judge: Judge) -> None:
        mine, theirs = original.capacity, exported.capacity
        if (mine.vocabulary, mine.ends) != (theirs.vocabulary, theirs.ends):
            raise LoadError(
                f"the exported model knows {theirs.vocabulary} tokens and ends at {sorted(theirs.ends)}, the original"
                f" {mine.vocabulary} and {sorted(mine.ends)}"
            )
        self.capacity: Capacity = attrs.evolve(
            mine,
            slots=min(mine.slots, theirs.slots),
            context_tokens=min(mine.context_tokens, theirs.context_tokens),
        )
        self._original, self._exported = original, exported
        self._judge = judge
        self._slots: dict[int, int] = {}
        self._failed = False

    def has_room(self, tokens: int) -> bool:
        """Whether both have."""
        return self._original.has_room(tokens) and self._exported.has_room(tokens)

    def admit(self, prompt: Sequence[int], tokens: int) -> Admitted:
        """Admit it to both."""
        admitted = self._original.admit(prompt, tokens)
        other = self._exported.admit(prompt, tokens)
        self._slots[admitted.slot] = other.slot
        if list(admitted.feed) != list(other.feed):
            self._fault(f"is fed {list(other.feed)[:4]} first, the original {list(admitted.feed)[:4]}")
        return admitted

    def step(self, feeds: Sequence[Feed]) -> "NDArray[np.float32]":
        """Step both: the original's logits."""
        mine = self._original.step(feeds)
        if self._failed:
            return mine
        try:
            theirs = self._exported.step([feed._replace(slot=self._slots[feed.slot]) for feed in feeds])
        except ModelAppError as error:
            self._fault(f"are none: {error.message}")
            return mine
        self._judge.step(_kind(feeds), np.asarray(mine), np.asarray(theirs))
        return mine

    def release(self, slot: int) -> None:
        """Release it from both."""
        self._original.release(slot)
        self._exported.release(self._slots.pop(slot))

    def _fault(self, told: str) -> None:
        """From here on the two are out of step, and more comparisons would say nothing."""
        self._failed = True
        self._judge.fault(told)


def _kind(feeds: Sequence[Feed]) -> str:
    long = [len(feed.tokens) > 1 for feed in feeds]
    return "reading a prompt" if all(long) else "mixed" if any(long) else "one token each"


class TwinText:
    """Implements `modelapp.generating.TextModel` over both engines; its tokenizer is the original's."""

    def __init__(self, original: TextModel, exported: TextModel, judge: Judge) -> None:
        self.signature = original.signature
        self.device = original.device
        self.engine = TwinEngine(original.engine, exported.engine, judge)
        self.text: Text = original.text

    def close(self) -> None:
        """Both are closed by whoever loaded them."""


def compare_tokenizers(original: Text, exported: Text, texts: Sequence[str], ledger: Ledger) -> None:
    """Whether both turn texts into the same tokens."""
    for text in texts:
        mine, theirs = original.encode(text), exported.encode(text)
        told = "" if mine == theirs else f"are {theirs[:8]}, in the original {mine[:8]}"
        ledger.add(Comparison(given="texts", output="tokens", shape=(len(mine),), fault=told))


def drive(engine: TwinEngine, judge: Judge) -> None:
    """Take drawn prompts through every kind of step: read in chunks, one token each, and both in one step."""
    judge.begin("random prompts")
    numbers, capacity = np.random.default_rng(0), engine.capacity
    most = max(1, min(40, capacity.context_tokens - 3 * _DECODED, capacity.source_tokens or 40))

    def admit(length: int) -> tuple[int, list[int]]:
        prompt = numbers.integers(0, capacity.vocabulary, min(length, most)).tolist()
        admitted = engine.admit(prompt, min(len(prompt) + 3 * _DECODED, capacity.context_tokens))
        return admitted.slot, list(admitted.feed)

    def decode(active: dict[int, int], chunk: Feed | None = None) -> None:
        """One token of each that is active, and perhaps a chunk of another's prompt."""
        feeds = [Feed(slot, [token]) for slot, token in active.items()]
        logits = engine.step([*feeds, chunk] if chunk else feeds)
        slots = [*active, chunk.slot] if chunk and chunk.wanted else list(active)
        active.update(zip(slots, (int(row.argmax()) for row in logits), strict=True))

    active: dict[int, int] = {}
    for length in (40, 9, 1)[: capacity.slots]:
        slot, feed = admit(length)
        while feed:
            chunk, feed = feed[:_CHUNK], feed[_CHUNK:]
            decode(active, Feed(slot, chunk, wanted=not feed))
    for _ in range(_DECODED):
        decode(active)
    engine.release(next(iter(active)))
    active.pop(next(iter(active)))
    slot, feed = admit(5)  # in a slot that another has left
    decode(active, Feed(slot, feed))
    decode(active)
    for slot in active:
        engine.release(slot)

"""Two engines that take every step together: where one is wrong it is found, in whichever kind of step it is."""

from collections.abc import Callable, Sequence
from typing import Any

import attrs
import numpy as np
import pytest

from modelapp.errors import LoadError, ModelFailed
from modelapp.generating import Admitted, Feed
from modelapp.nulloptions import RuntimeOptions
from modelapp.nulltext import ByteText, NullEngine, NullTextModel
from modelapp.parity import Ledger
from modelapp.runtime import Placement
from modelapp.textparity import Sameness, TwinEngine, TwinText, compare_tokenizers, drive


class Spoilt(NullEngine):
    """An engine whose logits are changed by `spoil`, which is told what was fed."""

    spoil: Callable[[Sequence[Feed], Any], Any] = staticmethod(lambda _, logits: logits)

    def step(self, feeds: Sequence[Feed]) -> Any:
        """The logits, spoilt."""
        return type(self).spoil(feeds, super().step(feeds))


def engine(slots: int = 3, **more: Any) -> NullEngine:
    """One without a flaw."""
    return NullEngine(RuntimeOptions(), Placement(slots=slots, **more))


def spoilt(spoil: Callable[[Sequence[Feed], Any], Any], slots: int = 3) -> NullEngine:
    """One with a flaw."""
    kind = type("Flawed", (Spoilt,), {"spoil": staticmethod(spoil)})
    return kind(RuntimeOptions(), Placement(slots=slots))  # type: ignore[no-any-return]


def driven(other: NullEngine, slots: int = 3) -> Ledger:
    """What comes of drawn prompts."""
    ledger = Ledger(1e-4)
    judge = Sameness(ledger)
    drive(TwinEngine(engine(slots), other, judge), judge)
    return ledger


@pytest.mark.parametrize("slots", [1, 2, 3, 8])
def test_engines_that_do_the_same_pass(slots: int) -> None:
    """Prompts read in chunks, single tokens, both in one step, and a slot used again; nothing is left over."""
    mine, theirs = engine(slots), engine(slots)
    ledger = Ledger(1e-4)
    judge = Sameness(ledger)
    drive(TwinEngine(mine, theirs, judge), judge)
    assert all(one.ok for one in ledger.comparisons)
    outputs = {one.output for one in ledger.comparisons}
    assert {"logits, reading a prompt", "logits, one token each", "likeliest token"} <= outputs
    assert ("logits, mixed" in outputs) == (slots > 1)
    assert (mine.used_slots, theirs.used_slots) == (0, 0)


def mixed(feeds: Sequence[Feed]) -> bool:
    """Whether some are fed one token and some more."""
    return len({len(feed.tokens) > 1 for feed in feeds}) > 1


@pytest.mark.parametrize(
    ("spoil", "output"),
    [
        (lambda feeds, logits: logits[::-1].copy() if mixed(feeds) else logits, "logits, mixed"),
        (lambda feeds, logits: logits * 1.001 if len(feeds) > 1 else logits, "logits, one token each"),
        (
            lambda feeds, logits: np.roll(logits, 1, axis=1) if len(feeds[0].tokens) > 5 else logits,
            "logits, reading a prompt",
        ),
        (lambda feeds, logits: logits[:, :-1], "logits, reading a prompt"),
    ],
    ids=["rows mixed up in mixed steps", "off by a little in company", "long chunks off by one", "short of a token"],
)
def test_a_flaw_is_found(spoil: Any, output: str) -> None:
    """And named by the kind of step that it shows in."""
    ledger = driven(spoilt(spoil))
    assert output in {one.output for one in ledger.comparisons if not one.ok}


def test_a_failing_step_ends_the_comparison() -> None:
    """The two are out of step from then on; the original goes on alone."""

    def fail(feeds: Sequence[Feed], logits: Any) -> Any:
        raise ModelFailed("no kernel")

    ledger = driven(spoilt(fail))
    assert [one.fault for one in ledger.comparisons if not one.ok] == ["are none: no kernel"]


def test_ties_may_fall_either_way() -> None:
    """Two tokens as likely as the tolerance tells apart are no difference; others are."""

    def near(feeds: Sequence[Feed], logits: Any) -> Any:
        moved = logits.copy()
        if not logits.size:
            return moved
        moved[np.arange(len(moved)), moved.argmax(axis=1)] -= share * np.abs(logits).max()
        return moved

    share = 5e-5
    assert all(one.ok for one in driven(spoilt(near)).comparisons)
    share = 3.0
    assert "likeliest token" in {one.output for one in driven(spoilt(near)).comparisons if not one.ok}


def test_other_tokens_are_refused_at_once() -> None:
    """Engines of two vocabularies have nothing to compare."""
    other = engine()
    other.capacity = attrs.evolve(other.capacity, vocabulary=300)
    with pytest.raises(LoadError, match="knows 300 tokens"):
        TwinEngine(engine(), other, Sameness(Ledger(1e-4)))


def test_what_is_fed_first_must_be_the_same() -> None:
    """An engine that begins a prompt otherwise is not the same model."""

    class Shifted(NullEngine):
        def admit(self, prompt: Sequence[int], tokens: int) -> Admitted:
            slot, feed = super().admit(prompt, tokens)
            return Admitted(slot, [0, *feed])

    ledger = driven(Shifted(RuntimeOptions(), Placement(slots=3)))
    assert any("is fed [0, " in one.fault for one in ledger.comparisons)


def test_a_pair_is_a_text_model_and_holds_what_both_can() -> None:
    """The smaller of the two bounds each; room only where both have it."""
    pair = TwinText(
        NullTextModel(RuntimeOptions(), Placement(slots=4, context_tokens=50)),
        NullTextModel(RuntimeOptions(), Placement(slots=2, context_tokens=90)),
        Sameness(Ledger(1e-4)),
    )
    assert (pair.engine.capacity.slots, pair.engine.capacity.context_tokens) == (2, 50)
    pair.engine.admit([1], 5)
    pair.engine.admit([1], 5)
    assert not pair.engine.has_room(5)


def test_tokenizers_are_compared() -> None:
    """Texts must become the same tokens."""

    class Upper(ByteText):
        def encode(self, text: str) -> list[int]:
            return super().encode(text.upper())

    ledger = Ledger(1e-4)
    compare_tokenizers(ByteText(), ByteText(), ["a", "b"], ledger)
    assert [one.ok for one in ledger.comparisons] == [True]
    compare_tokenizers(ByteText(), Upper(), ["a"], ledger)
    assert not ledger.comparisons[0].ok

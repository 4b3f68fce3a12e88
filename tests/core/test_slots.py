"""Who holds which slot, how much memory is promised, and what earlier sequences left behind."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelapp.errors import OutOfMemory
from modelapp.slots import Place, SlotTable

PROMPT = list(range(100, 120))


def test_a_sequence_gets_a_slot_while_there_are_slots_and_tokens() -> None:
    """The third sequence finds no slot, and one that is too long finds no memory."""
    table = SlotTable(2, 100)
    assert table.admit(PROMPT, 40) == Place(0)
    assert not table.has_room(61)
    assert table.admit(PROMPT, 60) == Place(1)
    assert not table.has_room(1)
    with pytest.raises(OutOfMemory, match="no room for a sequence of 1 tokens: 2 of 2 slots and 100 of 100 tokens"):
        table.admit(PROMPT, 1)


def test_a_released_slot_is_given_again() -> None:
    """Without parking a release frees the holding itself."""
    table = SlotTable(1, 50)
    table.admit(PROMPT, 50)
    assert table.release(0) == (0,)
    assert table.reserved == 0
    assert table.admit(PROMPT, 50).slot == 0


def test_what_a_slot_knows_moves_on_only_when_it_is_told() -> None:
    """The length is what was fed in steps that succeeded, and never beyond the memory."""
    table = SlotTable(1, 50)
    table.admit(PROMPT, 22)
    assert table.length(0) == 0
    table.feed(0, PROMPT)
    table.feed(0, [7])
    assert (table.length(0), table.room(0)) == (21, 22)
    with pytest.raises(OutOfMemory, match="memory for 22 tokens"):
        table.feed(0, [8, 9])
    assert table.length(0) == 21


def test_a_prompt_that_begins_like_a_parked_sequence_copies_from_it() -> None:
    """What was fed and chosen before is known, but for the last token of the prompt."""
    table = SlotTable(2, 100, parked=2)
    table.admit(PROMPT, 30)
    table.feed(0, [*PROMPT, 7, 8])
    assert table.release(0) == ()
    assert table.parked == (0,)
    assert table.admit([*PROMPT, 7, 9, 9], 40) == Place(1, known=21, source=0)
    assert table.length(1) == 21
    assert table.admit(PROMPT, 30) == Place(2, known=19, source=0)


def test_a_prompt_copies_from_a_sequence_that_still_runs() -> None:
    """Only what that one has been fed so far."""
    table = SlotTable(2, 100, parked=1)
    table.admit(PROMPT, 30)
    table.feed(0, PROMPT[:12])
    assert table.admit(PROMPT, 30) == Place(1, known=12, source=0)


def test_parked_sequences_give_way_to_live_ones_the_least_used_first() -> None:
    """Memory that only parked ones hold counts as free, and what is given up is named."""
    table = SlotTable(2, 60, parked=3)
    for start in (0, 1000):
        slot = table.admit([start + at for at in range(10)], 20).slot
        table.feed(slot, [start + at for at in range(10)])
        table.release(slot)
    assert table.reserved == 40
    assert table.admit([*range(10), 5], 20) == Place(2, known=10, source=0)
    assert table.admit([5] * 10, 20) == Place(1, dropped=(1,))
    assert table.release(2) == (0,)
    assert table.admit([6] * 10, 40).dropped == (2,)
    assert table.reserved == 60


def test_a_source_that_must_give_way_is_not_copied_from() -> None:
    """Its memory is the new sequence's, so there is nothing left to copy."""
    table = SlotTable(1, 40, parked=1)
    table.admit(PROMPT, 30)
    table.feed(0, PROMPT)
    table.release(0)
    assert table.admit(PROMPT, 30) == Place(0, dropped=(0,))


def test_short_beginnings_are_not_worth_a_copy() -> None:
    """Fewer than eight common tokens are read again."""
    table = SlotTable(2, 100, parked=1)
    table.admit(PROMPT, 30)
    table.feed(0, PROMPT)
    assert table.admit([*PROMPT[:7], 1, 2], 30) == Place(1)


def test_what_is_too_short_to_be_copied_is_not_kept() -> None:
    """Eight tokens are parked when the sequence is over, seven are given back."""
    table = SlotTable(1, 100, parked=1)
    for tokens, parked in ((7, ()), (8, (0,))):
        slot = table.admit(range(tokens), 10).slot
        table.feed(slot, range(tokens))
        table.release(slot)
        assert table.parked == parked


def test_a_parked_sequence_within_another_is_dropped() -> None:
    """It says nothing that the longer one does not say."""
    table = SlotTable(2, 200, parked=2)
    table.admit(PROMPT, 30)
    table.feed(0, PROMPT)
    table.release(0)
    table.admit([*PROMPT, 1], 30)
    table.feed(1, [1])
    assert table.release(1) == (0,)
    assert table.parked == (1,)


def test_forgetting_frees_all_that_is_parked() -> None:
    """The live ones stay."""
    table = SlotTable(2, 200, parked=2)
    for _ in range(2):
        slot = table.admit(PROMPT, 30).slot
        table.feed(slot, PROMPT[table.length(slot) :])
    table.release(0)
    assert table.forget() == (0,)
    assert (table.live, table.parked, table.reserved) == ((1,), (), 30)


MOVES = st.lists(st.tuples(st.sampled_from(["admit", "feed", "release", "drop", "forget"]), st.integers(0, 10**6)))


@given(MOVES, st.integers(1, 4), st.integers(20, 90), st.integers(0, 4))
def test_nothing_leaks_whatever_happens(moves: list[tuple[str, int]], slots: int, budget: int, parked: int) -> None:
    """Memory as an engine would hold it: never over budget, no holding twice, copies true, all free in the end."""
    table = SlotTable(slots, budget, parked=parked)
    memory: dict[int, list[int]] = {}  # what the engine's tensors would hold
    rooms: dict[int, int] = {}
    for move, number in moves:
        live = table.live
        if move == "admit":
            prompt = [3] * (8 + number % 9) + [number % 5]
            tokens = len(prompt) + number % 20
            if not table.has_room(tokens):
                continue
            place = table.admit(prompt, tokens)
            for one in place.dropped:
                del memory[one], rooms[one]
            assert place.slot not in memory
            copied = [] if place.source is None else memory[place.source][: place.known]
            assert copied == prompt[: place.known]
            assert place.known < len(prompt)
            memory[place.slot], rooms[place.slot] = copied, tokens
        elif move == "feed" and live:
            slot = live[number % len(live)]
            if table.length(slot) < table.room(slot):
                table.feed(slot, [3])
                memory[slot].append(3)
        elif move in ("release", "drop") and live:
            for one in table.release(live[number % len(live)], keep=move == "release"):
                del memory[one], rooms[one]
        elif move == "forget":
            for one in table.forget():
                del memory[one], rooms[one]
        assert set(table.live) | set(table.parked) == set(memory)
        assert len(table.live) <= slots
        assert len(table.parked) <= parked
        assert table.reserved == sum(rooms.values()) <= budget
        assert all(len(memory[slot]) == table.length(slot) for slot in table.live)
    for slot in table.live:
        table.release(slot, keep=False)
    table.forget()
    assert table.reserved == 0
    assert table.has_room(budget)

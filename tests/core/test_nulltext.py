"""The scripted text model: its answers can be told beforehand, and nothing of one sequence shows in another."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelapp.errors import InvalidInput, OutOfMemory
from modelapp.generating import Feed, Generates, Text, TextModel
from modelapp.nulloptions import RuntimeOptions
from modelapp.nulltext import END, ByteText, NullEngine, NullTextModel, expected, next_token
from modelapp.runtime import Placement


def test_it_keeps_the_contract() -> None:
    """It is a text model, as the core asks whether something is."""
    model = NullTextModel(RuntimeOptions(), Placement())
    assert isinstance(model, TextModel)
    engine: Generates = model.engine
    text: Text = model.text
    assert engine.capacity.ends == {END}
    assert text.token_text(END) == "<end>"


@given(st.text("ab ", min_size=2, max_size=20), st.integers(1, 19))
def test_a_prompt_in_parts_is_the_same_prompt(prompt: str, cut: int) -> None:
    """However it is cut, and whoever is beside it, the next token is that of the whole."""
    tokens = list(prompt.encode())
    cut = min(cut, len(tokens) - 1)
    engine = NullEngine(RuntimeOptions(), Placement(slots=2))
    one, _ = engine.admit(tokens, 50)
    other, _ = engine.admit([1], 50)
    assert engine.step([Feed(one, tokens[:cut], wanted=False), Feed(other, [1], wanted=True)]).shape == (1, 257)
    logits = engine.step([Feed(other, [2], wanted=False), Feed(one, tokens[cut:], wanted=True)])
    assert np.argmax(logits[0]) == next_token(tokens)


def test_memory_is_counted() -> None:
    """There is room as long as slots and tokens last, and released ones count again."""
    engine = NullEngine(RuntimeOptions(cache_tokens=20), Placement(slots=3))
    first, _ = engine.admit([1], 12)
    assert engine.has_room(8)
    assert not engine.has_room(9)
    with pytest.raises(OutOfMemory):
        engine.admit([1], 9)
    engine.release(first)
    assert engine.has_room(20)


@given(st.lists(st.integers(0, 256), max_size=12))
def test_pieces_joined_are_the_text(tokens: list[int]) -> None:
    """Whatever the bytes are."""
    text = ByteText()
    stream = text.stream()
    assert "".join([*map(stream.push, tokens), stream.flush()]) == text.decode(tokens)


def test_a_conversation_is_lines() -> None:
    """Roles and contents; a message without one of them is refused."""
    text = ByteText()
    assert text.decode(text.chat([{"role": "user", "content": "hi"}])) == "user: hi\nassistant: "
    with pytest.raises(InvalidInput):
        text.chat([{"role": "user"}])


def test_answers_vary_with_the_prompt() -> None:
    """The expected answers are no constant, or a test on them could not fail."""
    assert len({expected(f"prompt {number}", 20) for number in range(20)}) == 20

"""One sequence: what it is fed, what it may show, and how it ends."""

from typing import Any

import numpy as np
import pytest

from modelapp.decoding import Decoding
from modelapp.generating import Feed
from modelapp.nulltext import END, ByteText
from modelapp.prompts import GenerationRequest
from modelapp.sampling import Chosen, Sampling


def begun(max_tokens: int = 10, sampling: Sampling = Sampling(), **more: Any) -> Decoding:  # noqa: B008 (frozen)
    """A sequence with a slot, its prompt read."""
    request = GenerationRequest(prompt=(97, 98), max_tokens=max_tokens, sampling=sampling, **more)
    one = Decoding(request, 0, text=ByteText(), ends={END}, room=12, seed=1)
    one.slot = 4
    one.pending.extend([97, 98])
    return one


def say(one: Decoding, text: str | bytes) -> list[tuple[str, str | None]]:
    """Accept the bytes of a text; what could be shown at each, and whether that ended it."""
    shown = []
    for token in text.encode() if isinstance(text, str) else text:
        if one.finish_reason:
            break
        fragment = one.accept(Chosen(token, 0.0, ()), 2.0)
        shown.append(("", None) if fragment is None else (fragment.text, fragment.finish_reason))
    return shown


def test_a_prompt_is_fed_in_parts_and_logits_are_wanted_after_the_last() -> None:
    """Tokens stay until they are told as fed, so that a failed step can feed them again."""
    one = begun()
    assert one.feed(4, 1) == one.feed(4, 1) == Feed(4, (97,), wanted=False)
    assert one.reading
    one.fed(1)
    assert one.feed(4, 1) == Feed(4, (98,), wanted=True)


def test_a_chosen_token_is_what_is_fed_next() -> None:
    """After the first token the sequence is written: each step feeds the one chosen last."""
    one = begun()
    one.fed(2)
    say(one, "c")
    assert not one.reading
    assert one.feed(4, 1) == Feed(4, (99,), wanted=True)


def test_half_a_character_is_not_shown() -> None:
    """The bytes of one character are shown together, with the tokens they came in."""
    one = begun()
    assert say(one, "é!") == [("", None), ("é", None), ("!", None)]
    assert [len(one.chosen)] == [3]


@pytest.mark.parametrize(
    ("said", "more", "text", "reason"),
    [
        ("abcdefghijkl", {}, "abcdefghij", "length"),
        (b"ab\xc3", {"max_tokens": 3}, "ab�", "length"),
        ("no STOP here", {"stop": ("STOP",), "max_tokens": 20}, "no ", "stop"),
        ("abcx", {"stop_tokens": frozenset({ord("x")})}, "abc", "stop"),
        ("abST", {"stop": ("STOP",), "max_tokens": 4}, "abST", "length"),
    ],
)
def test_an_answer_ends(said: str | bytes, more: dict[str, Any], text: str, reason: str) -> None:
    """At the most tokens, at a stop text that is not shown, at a stop token; what was held back comes at the end."""
    one = begun(**more)
    shown = say(one, said)
    assert "".join(one.texts) == "".join(part for part, _ in shown) == text
    assert one.finish_reason == shown[-1][1] == reason


def test_the_models_own_end_counts_unless_it_is_ignored() -> None:
    """The end token is no part of the answer; `ignore_end` goes on past it."""
    one = begun()
    say(one, "ab")
    fragment = one.accept(Chosen(END, 0.0, ()), 2.0)
    assert fragment is not None
    assert (fragment.finish_reason, len(one.chosen)) == ("stop", 2)
    other = begun(ignore_end=True)
    assert other.accept(Chosen(END, 0.0, ()), 2.0) is None
    assert other.finish_reason is None


def test_a_stop_text_before_the_least_tokens_is_passed_over() -> None:
    """`min_tokens` holds for stop texts as for the model's own end."""
    one = begun(max_tokens=8, stop=("b",), sampling=Sampling(min_tokens=4))
    say(one, "abcdeb")
    assert ("".join(one.texts), one.finish_reason) == ("abcde", "stop")


def test_nothing_ends_before_min_tokens() -> None:
    """Neither the model's end token nor one of the request's can be drawn until then."""
    logits = np.zeros(300, np.float32)
    logits[[END, 65]] = 9.0
    one = begun(stop_tokens=frozenset({65}), sampling=Sampling(min_tokens=1))
    first = one.choose(logits)
    assert first.token not in (END, 65)
    assert one.choose(logits).token == min(END, 65)


def test_a_fragment_tells_all_tokens_that_made_it() -> None:
    """In their order, each told once."""
    one = begun()
    tokens = "aé".encode()
    told = [one.accept(Chosen(token), 2.0) for token in tokens]
    assert [None if fragment is None else [chosen.token for chosen in fragment.chosen] for fragment in told] == [
        [tokens[0]],
        None,
        [tokens[1], tokens[2]],
    ]

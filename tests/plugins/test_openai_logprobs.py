"""Log probabilities in both shapes, where they are hard to write."""

from modelapp_openai.logprobs import chat_logprobs, completion_logprobs

HALF = {"token": "\ufffd", "id": 3, "logprob": -0.5, "top": [{"token": "\ufffd", "id": 3, "logprob": -0.5}]}
NEVER = {"token": "é", "id": 4, "logprob": float("-inf"), "top": [{"token": "a", "id": 5, "logprob": 0.0}]}


def test_what_json_cannot_hold_is_the_least_number() -> None:
    """Minus infinity is -9999, as OpenAI writes it."""
    (one,) = chat_logprobs([NEVER]).content
    assert (one.logprob, one.top_logprobs[0].logprob) == (-9999.0, 0.0)
    assert completion_logprobs([NEVER], 0).token_logprobs == [-9999.0]


def test_bytes_are_told_where_the_token_has_any() -> None:
    """A part of a character is none of its own."""
    half, whole = chat_logprobs([HALF, NEVER]).content
    assert (half.bytes, whole.bytes) == (None, list("é".encode()))
    assert half.top_logprobs[0].bytes is None


def test_the_chosen_token_is_among_the_likeliest_and_offsets_go_on() -> None:
    """Also where it was not likely; the next piece of a stream begins where this one ended."""
    told = completion_logprobs([HALF, NEVER], 7)
    assert told.top_logprobs[1] == {"a": 0.0, "é": -9999.0}
    assert told.text_offset == [7, 8]

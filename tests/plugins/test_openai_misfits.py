"""Values that do not fit a request of OpenAI's shape, in words for people."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelapp.errors import InvalidInput
from modelapp_openai.chat import ChatRequest
from modelapp_openai.completions import CompletionRequest
from modelapp_openai.requests import as_asked
from modelapp_openai.speech import SpeechRequest

SECRET = "what the patient said"
CHAT: Any = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def refusal(kind: type[msgspec.Struct], document: dict[str, Any]) -> InvalidInput:
    """What is said of a document that does not fit."""
    with pytest.raises(InvalidInput) as refused:
        as_asked(document, kind)
    return refused.value


@pytest.mark.parametrize(
    ("more", "field", "told"),
    [
        ({"temperature": -1}, "temperature", "temperature must be a number from 0 to 2, not -1"),
        ({"temperature": "0.5"}, "temperature", "temperature must be a number from 0 to 2, not a string"),
        ({"n": 1.5}, "n", "n must be a whole number from 1 to 128, not 1.5"),
        ({"n": True}, "n", "n must be a whole number from 1 to 128, not true"),
        ({"seed": 10**40}, "seed",
         f"seed must be a whole number from {-(2**63)} to {2**63 - 1}, not such a large number"),
        ({"repetition_penalty": 0}, "repetition_penalty", "repetition_penalty must be a number over 0, not 0"),
        ({"stream": "yes"}, "stream", "stream must be true or false, not a string"),
        ({"stream_options": 3}, "stream_options", "stream_options must be an object, not 3"),
        ({"stop": ["a", ""]}, "stop[1]", "stop[1] must be a string that is not empty, not an empty one"),
        ({"stop": 7}, "stop", "stop must be a string that is not empty or a list of strings, not 7"),
        ({"logit_bias": {"5": 1, "7": 200}}, "logit_bias", "logit_bias.7 must be a number from -100 to 100, not 200"),
        ({"logit_bias": {"5": None}}, "logit_bias", "logit_bias.5 must be a number from -100 to 100, not null"),
        ({"stop_token_ids": "x"}, "stop_token_ids", "stop_token_ids must be a list of whole numbers, not a string"),
        ({"messages": []}, "messages",
         "messages must be a list of one or more objects with role and content, not an empty list"),
        ({"messages": SECRET}, "messages",
         "messages must be a list of one or more objects with role and content, not a string"),
        ({"messages": [SECRET]}, "messages[0]", "messages[0] must be an object with role and content, not a string"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "messages[0].content is missing"),
        ({"messages": [{"role": "wizard", "content": SECRET}]}, "messages[0].role",
         'messages[0].role must be one of "assistant", "developer", "system", "user", not "wizard"'),
        ({"messages": [{"role": "x" * 500, "content": SECRET}]}, "messages[0].role",
         f'messages[0].role must be one of "assistant", "developer", "system", "user", not "{"x" * 37}..."'),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content",
         "messages[0].content must be a string or a list of objects with type, not null"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": [SECRET]}]}]},
         "messages[0].content[0].text", "messages[0].content[0].text must be a string, not a list"),
    ],
)  # fmt: skip
def test_a_misfit_is_told_with_what_may_stand_there(more: dict[str, Any], field: str, told: str) -> None:
    """The place, what is wanted, what came: numbers as they are, of texts no more than a word."""
    error = refusal(ChatRequest, CHAT | more)
    assert (error.field, error.message) == (field, told)


def test_what_is_missing_and_what_is_too_long() -> None:
    """A field that nobody sent, and a text of which only the length is told."""
    assert refusal(CompletionRequest, {"prompt": "x"}).message == "model is missing"
    error = refusal(SpeechRequest, {"model": "m", "input": SECRET * 300})
    assert error.message == f"input must be a string of 1 to 4096 characters, not one of {len(SECRET) * 300} characters"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)
FIELDS = [field.encode_name for field in msgspec.structs.fields(ChatRequest)]


@given(st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=3))
def test_whatever_comes_is_read_or_refused_by_a_field(more: dict[str, Any]) -> None:
    """There is no value for which the words fail."""
    error = None
    try:
        as_asked(CHAT | more, ChatRequest)
    except InvalidInput as refused:
        error = refused
    if error is not None:
        assert error.field.partition("[")[0].partition(".")[0] in more
        assert error.message.startswith(error.field)
        assert "expected" not in error.message.lower()

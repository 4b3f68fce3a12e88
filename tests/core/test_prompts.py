"""What a generating model is asked: read strictly, refused before anything runs, with the field and what would do."""

import math

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelapp.app import Generation
from modelapp.errors import InvalidInput
from modelapp.generating import Capacity
from modelapp.prompts import GenerationRequest, read_request
from modelapp.sampling import Sampling
from modelapp.tasks import GENERATION_INPUTS

CAPACITY = Capacity(slots=4, context_tokens=32, vocabulary=100, ends=frozenset({0}))
TRANSLATOR = Capacity(slots=4, context_tokens=10, vocabulary=100, ends=frozenset({0}), source_tokens=20)


class Letters:
    """A tokenizer with one token for each character."""

    def encode(self, text):
        """Their code points, up to the vocabulary."""
        return [ord(character) % 100 for character in text if character != "~"]

    def chat(self, messages):
        """The contents, one after the other."""
        return self.encode("".join(str(message.get("content")) for message in messages))


def read(record, *, task="text-generation", capacity=CAPACITY, **defaults):
    """The request that the record makes."""
    return read_request(record, task, Letters(), capacity, Generation(**defaults))


def refused(record, **how):
    """The error and the field that it names."""
    with pytest.raises(InvalidInput) as caught:
        read(record, **how)
    return caught.value.message, caught.value.field


def test_a_prompt_alone_has_the_defaults():
    """Those of app.toml; the seed is for whoever runs it."""
    wanted = GenerationRequest(prompt=(97, 98), max_tokens=8, sampling=Sampling(temperature=0.5))
    assert read({"prompt": "ab"}, max_tokens=8, temperature=0.5) == wanted
    assert read({"prompt": "ab"}, max_tokens=8).sampling.temperature == 0.0


def test_every_key_is_read():
    """Each into its place; whole numbers are numbers, and ids of a bias may be strings."""
    request = read(
        {
            "prompt": [1, 2, 3],
            "max_tokens": 7,
            "min_tokens": 2,
            "temperature": 1,
            "top_p": 0.5,
            "top_k": 3,
            "min_p": 0.25,
            "repetition_penalty": 1.5,
            "presence_penalty": -1,
            "frequency_penalty": 2.0,
            "logit_bias": {"5": 1, 6: -2.5},
            "seed": 2**63 - 1,
            "stop": "END",
            "stop_tokens": [4, 4],
            "ignore_end": True,
            "logprobs": 0,
            "n": 3,
        }
    )
    assert request == GenerationRequest(
        prompt=(1, 2, 3),
        max_tokens=7,
        n=3,
        seed=2**63 - 1,
        stop=("END",),
        stop_tokens=frozenset({4}),
        ignore_end=True,
        sampling=Sampling(
            temperature=1.0,
            top_k=3,
            top_p=0.5,
            min_p=0.25,
            repetition_penalty=1.5,
            presence_penalty=-1.0,
            frequency_penalty=2.0,
            logit_bias={5: 1.0, 6: -2.5},
            min_tokens=2,
            logprobs=0,
        ),
    )
    assert read({"messages": [{"role": "user", "content": "hi"}]}).prompt == (4, 5)


def test_none_is_absent():
    """Of every key."""
    assert read(dict.fromkeys(GENERATION_INPUTS) | {"prompt": "a"}) == read({"prompt": "a"})


def test_arrays_are_read_as_the_lists_they_are():
    """Protocols over tensors have no lists, and numbers of their own."""
    record = {"prompt": np.array([1, 2], np.int64), "temperature": np.float32(0.5), "n": np.int64(2)}
    request = read(record)
    assert (request.prompt, request.sampling.temperature, request.n) == ((1, 2), 0.5, 2)
    assert refused({"prompt": np.array([[1, 2]])})[1] == "prompt"


BAD = [
    ("max_tokens", [0, -1, 1.0, "7", True, [7], 33]),
    ("min_tokens", [-1, 1.5, True, 32]),
    ("temperature", [-0.1, 100.1, math.nan, math.inf, "1", True, [1], 10**400]),
    ("top_p", [0, -0.5, 1.01, math.nan, False]),
    ("top_k", [-1, 0.5, "all"]),
    ("min_p", [-0.1, 1.1, math.nan]),
    ("repetition_penalty", [0, 1e-60, 0.009, -1, math.inf, math.nan, 101]),
    ("presence_penalty", [101, -101, math.nan, "0"]),
    ("frequency_penalty", [101, -101, math.nan, {}]),
    (
        "logit_bias",
        [[], {"x": 1}, {"-1": 1}, {"100": 1}, {100: 1}, {1: math.nan}, {1: "2"}, {1: True}, {True: 1}, {"²": 1}],
    ),
    ("seed", [-1, 2**63, 1.0, "1", True]),
    ("stop", ["", [""], ["a", 1], 7, ["a"] * 17, "x" * 1001, {"a": 1}]),
    ("stop_tokens", [7, [-1], [100], ["1"], [True], [1.0], [1] * 129]),
    ("ignore_end", [1, "true", 0.0]),
    ("logprobs", [-1, 21, True, 1.0]),
    ("n", [0, -1, 129, 1.0, True]),
    ("prompt", ["", "~", [], 7, [1.0], [True], ["a"], [100], [-1], {"a": 1}, "a" * 32, [1] * 32, "\ud800", "a" * 9999]),
]


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in BAD for value in values])
def test_what_cannot_be_meant_is_refused_with_its_field(name, value):
    """And the message names it too; no text that people wrote is repeated in it."""
    message, field = refused({"prompt": "a", name: value})
    assert field == name
    assert name in message or "tokens" in message
    assert "aaa" not in message


@pytest.mark.parametrize(
    "messages",
    [
        [],
        "hi",
        {"role": "user"},
        [7],
        [{"content": "x"}],
        [{"role": 7, "content": "x"}],
        [{"role": "u", "content": "x" * 40}],
        [{"role": "u", "content": "x" * 9999}],
        [{"role": "u", "content": [{"text": 7}, {"text": "x" * 9999}, 7]}],
    ],
)
def test_messages_must_be_a_conversation(messages):
    """A list of objects with a role, which fit the model."""
    assert refused({"messages": messages})[1] == "messages"


def test_one_of_prompt_and_messages_is_the_prompt():
    """Neither is none, and both are two."""
    assert refused({}) == ("prompt or messages is missing", "prompt")
    both = refused({"prompt": "a", "messages": [{"role": "user", "content": "b"}]})
    assert both == ("prompt and messages are given; one of them is the prompt", "messages")
    assert refused({}, task="text-to-text", capacity=TRANSLATOR)[0] == "prompt is missing"


def test_an_unknown_key_is_refused_with_the_near_word():
    """A misspelt setting would be left out in silence."""
    assert refused({"prompt": "a", "max_token": 3}) == (
        'the model has no input "max_token"; did you mean "max_tokens"?',
        "max_token",
    )
    message, _ = refused({"prompt": "a", "zzzzzz": 3})
    assert "it takes prompt, messages" in message
    assert refused({"messages": []}, task="text-to-text", capacity=TRANSLATOR)[1] == "messages"


def test_an_answer_that_is_asked_for_must_fit():
    """The message says what would; a default is shortened to it."""
    assert read({"prompt": [1] * 30, "max_tokens": 2}).max_tokens == 2
    message, field = refused({"prompt": [1] * 30, "max_tokens": 3})
    assert field == "max_tokens"
    assert "30 tokens and 3 more" in message
    assert "room for 32: ask for at most 2" in message
    assert read({"prompt": [1] * 30}, max_tokens=128).max_tokens == 2
    assert read({"prompt": [1] * 31}, max_tokens=128).max_tokens == 1
    assert refused({"prompt": [1] * 30, "min_tokens": 3}, max_tokens=128)[1] == "min_tokens"


def test_a_prompt_that_is_too_long_says_how_long_it_may_be():
    """Found and allowed."""
    message, field = refused({"prompt": "a" * 40})
    assert field == "prompt"
    assert "has 40 tokens" in message
    assert "room for 32" in message
    assert "31" in message


def test_min_tokens_over_max_tokens_is_refused():
    """Also over the one that nobody asked for."""
    assert refused({"prompt": "a", "min_tokens": 5, "max_tokens": 4}) == (
        "min_tokens is 5, over max_tokens 4",
        "min_tokens",
    )
    assert "by default 4" in refused({"prompt": "a", "min_tokens": 5}, max_tokens=4)[0]


def test_an_encoder_decoder_bounds_prompt_and_answer_apart():
    """The answer begins with a start token, which has a place too."""
    how = {"task": "text-to-text", "capacity": TRANSLATOR}
    assert read({"prompt": [1] * 20, "max_tokens": 9}, **how).max_tokens == 9
    assert read({"prompt": [1] * 20}, max_tokens=128, **how).max_tokens == 9
    assert refused({"prompt": [1] * 20, "max_tokens": 10}, **how) == (
        "10 tokens are asked for; the model answers at most 9",
        "max_tokens",
    )
    assert "reads at most 20" in refused({"prompt": [1] * 21}, **how)[0]


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.dictionaries(st.sampled_from(list(GENERATION_INPUTS)), ANYTHING, max_size=4),
    st.sampled_from([CAPACITY, TRANSLATOR]),
)
def test_anything_is_either_read_or_refused(record, capacity):
    """What is read fits the model, and all that is in it is finite."""
    try:
        request = read({"prompt": "ab"} | record, capacity=capacity)
    except InvalidInput as error:
        told = error
    else:
        told = None
    if told is not None:
        assert told.message
        assert told.field in GENERATION_INPUTS
        return
    before = 1 if capacity.source_tokens else len(request.prompt)
    assert request.prompt
    assert 1 <= request.max_tokens <= capacity.context_tokens - before
    assert request.sampling.min_tokens <= request.max_tokens
    assert all(0 <= token < 100 for token in (*request.prompt, *request.stop_tokens, *request.sampling.logit_bias))
    how = request.sampling
    numbers = [how.temperature, how.top_p, how.min_p, how.repetition_penalty, how.presence_penalty]
    assert all(map(math.isfinite, [*numbers, how.frequency_penalty, *how.logit_bias.values()]))


def test_a_bias_has_a_most_of_tokens():
    """They are read while the loop waits, and weigh on each step: so many are taken, one more is not."""
    capacity = attrs.evolve(CAPACITY, vocabulary=5000)
    assert len(
        read({"prompt": "a", "logit_bias": dict.fromkeys(range(1024), 1)}, capacity=capacity).sampling.logit_bias
    )
    message, field = refused({"prompt": "a", "logit_bias": dict.fromkeys(range(1025), 1)}, capacity=capacity)
    assert (message, field) == ("logit_bias holds 1025 tokens; the most are 1024", "logit_bias")


def test_ids_that_are_too_many_are_not_looked_at():
    """A body of a million numbers is refused for its length, before each of them is judged."""
    message, field = refused({"prompt": ["no id"] * 40})
    assert (message.startswith("prompt has 40 tokens; the model has room for 32"), field) == (True, "prompt")


def test_log_probabilities_are_bounded_in_all():
    """What each asks for alone may be too much together: the answer would be hundreds of megabytes."""
    roomy = attrs.evolve(CAPACITY, context_tokens=8192)
    asked = {"prompt": "a", "max_tokens": 4000, "logprobs": 2}
    assert read({**asked, "n": 20}, capacity=roomy).n == 20
    message, field = refused({**asked, "n": 21}, capacity=roomy)
    assert field == "logprobs"
    assert "252,000" in message

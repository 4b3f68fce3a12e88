"""The next token: what the model says, what the request asks for, and dice that no neighbour can touch."""

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from modelapp.errors import ModelFailed
from modelapp.sampling import Chosen, Sampler, Sampling, largest

NUMBERS = st.floats(-50, 50, width=32)
LOGITS = st.lists(NUMBERS, min_size=2, max_size=60).map(lambda values: np.array(values, np.float32))


def sampler(*, seed=0, prompt=(), ends=(), **how):
    """A sampler with these settings."""
    return Sampler(Sampling(**how), seed=seed, prompt=prompt, ends=ends)


def draws(logits, count, **how):
    """So many tokens, each by dice of its own, as if nothing had been chosen before."""
    return [sampler(seed=seed, **how).choose(logits).token for seed in range(count)]


def softmax(logits):
    """In float64, as a textbook has it."""
    weights = np.exp(np.asarray(logits, np.float64) - np.max(logits))
    return weights / weights.sum()


@given(LOGITS)
def test_temperature_0_takes_the_likeliest(logits):
    """Of equal ones that with the lowest id."""
    chosen = sampler().choose(logits)
    assert chosen == Chosen(int(np.flatnonzero(logits == logits.max())[0]), 0.0, ())


def test_logits_are_left_as_they_are():
    """Whoever looks at them later sees the model's own, whatever was taken off or added."""
    logits = np.array([1.0, 2.0, 3.0], np.float32)
    chooser = sampler(temperature=0.5, repetition_penalty=2.0, logit_bias={0: 5.0}, min_tokens=2, ends=[1], prompt=[2])
    chooser.choose(logits)
    assert logits.tolist() == [1.0, 2.0, 3.0]


@given(LOGITS, st.integers(0, 2**63 - 1), st.floats(0.1, 3), st.integers(0, 10), st.floats(0.05, 1), st.floats(0, 1))
def test_the_same_seed_draws_the_same(logits, seed, temperature, top_k, top_p, min_p):
    """Whatever other sequences drew meanwhile."""
    how = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p}
    alone, beside, other = sampler(seed=seed, **how), sampler(seed=seed, **how), sampler(seed=seed + 1, **how)
    expected = [alone.choose(logits).token for _ in range(5)]
    got = []
    for _ in range(5):
        other.choose(logits)
        got.append(beside.choose(logits).token)
    assert got == expected


def test_draws_follow_the_models_distribution():
    """20,000 draws at temperatures 1 and 2 are within four standard deviations for every token."""
    logits = np.array([2.0, 1.0, 0.0, -1.0, -30.0] + [-2.0] * 600, np.float32)
    for temperature in (1.0, 2.0):
        chooser = sampler(temperature=temperature, seed=7)
        counts = np.bincount([chooser.choose(logits).token for _ in range(20_000)], minlength=logits.size)
        wanted = 20_000 * softmax(logits / temperature)
        assert np.all(np.abs(counts - wanted) <= 4 * np.sqrt(wanted) + 3)


def test_a_temperature_near_0_is_the_likeliest_token():
    """Nothing overflows on the way there."""
    logits = np.array([-1e30, 3.0, 3.1, -np.inf], np.float32)
    assert draws(logits, 20, temperature=1e-30) == [2] * 20


def allowed(logits, *, temperature=1.0, top_k=0, top_p=1.0, min_p=0.0):
    """The tokens that the filters leave, by sorting everything."""
    order = sorted(range(len(logits)), key=lambda token: (-logits[token], token))
    order = order[: top_k or None]
    chances = softmax(np.asarray(logits, np.float64)[order] / temperature)
    kept, total = [], 0.0
    for token, chance in zip(order, chances, strict=True):
        if total >= top_p:
            break
        total += chance
        if chance >= min_p * chances[0]:
            kept.append(token)
    return set(kept)


@given(
    st.lists(st.integers(-8, 8), min_size=2, max_size=40),
    st.integers(0, 12),
    st.sampled_from([0.07, 0.31, 0.53, 0.77, 0.93, 1.0]),
    st.sampled_from([0.0, 0.013, 0.2, 0.9]),
    st.sampled_from([0.7, 1.0, 1.7]),
)
def test_filters_leave_what_sorting_everything_leaves(values, top_k, top_p, min_p, temperature):
    """Nothing else is ever drawn."""
    logits = np.array(values, np.float32)
    how = {"top_k": top_k, "top_p": top_p, "min_p": min_p, "temperature": temperature}
    left = allowed(values, **how)
    assert set(draws(logits, 40, **how)) <= left


def test_filters_leave_all_that_they_should():
    """Over many draws each token that is left comes, among equal ones those with the lowest ids."""
    logits = np.array([1.0, 1.0, 0.9, 1.0, 0.0, -5.0], np.float32)
    assert set(draws(logits, 300, temperature=1.0, top_k=2)) == {0, 1}
    assert set(draws(logits, 300, temperature=1.0, top_p=0.4)) == {0, 1}
    assert set(draws(logits, 300, temperature=1.0, min_p=0.85)) == {0, 1, 2, 3}
    assert set(draws(logits, 300, temperature=1.0, top_p=1e-9)) == {0}
    assert set(draws(logits, 300, temperature=1.0, top_k=1)) == {0}


def test_a_large_vocabulary_is_filtered_like_a_small_one():
    """50,000 tokens, of which the nucleus is a part of the first hundred."""
    logits = np.full(50_000, -9.0, np.float32)
    logits[:100] = np.linspace(5, 4, 100)
    left = allowed(logits.tolist(), top_p=0.5)
    assert set(draws(logits, 200, temperature=1.0, top_p=0.5)) <= left
    assert set(draws(logits, 200, temperature=1.0, top_k=3)) == {0, 1, 2}


@given(LOGITS, st.data())
def test_largest_is_what_sorting_gives(logits, data):
    """The largest first, and of equal ones the first."""
    count = data.draw(st.integers(1, logits.size))
    order = sorted(range(logits.size), key=lambda token: (-logits[token], token))
    assert largest(logits, count).tolist() == order[:count]


def test_the_repetition_penalty_counts_prompt_and_answer():
    """Logits over 0 are divided, those below multiplied, once however often a token has been."""
    logits = np.array([4.0, 3.0, 2.5, -1.0], np.float32)
    chooser = sampler(repetition_penalty=2.0, prompt=[0, 0, 0])
    assert [chooser.choose(logits).token for _ in range(4)] == [1, 2, 0, 0]
    low = np.array([-1.0, -1.5], np.float32)
    assert sampler(repetition_penalty=2.0, prompt=[0]).choose(low).token == 1


def test_presence_and_frequency_count_the_answer_alone():
    """Presence once, frequency for each time."""
    logits = np.array([3.0, 2.0, 0.0], np.float32)
    chooser = sampler(presence_penalty=1.5, prompt=[0])
    assert [chooser.choose(logits).token for _ in range(4)] == [0, 1, 0, 0]
    chooser = sampler(frequency_penalty=0.8, prompt=[0])
    assert [chooser.choose(logits).token for _ in range(6)] == [0, 0, 1, 0, 1, 0]


def test_penalties_of_a_long_answer_count_every_token():
    """The tally grows with the answer."""
    chooser = sampler(presence_penalty=100.0)
    logits = np.linspace(1, 0, 500, dtype=np.float32)
    assert [chooser.choose(logits).token for _ in range(500)] == list(range(500))


def test_a_bias_is_added():
    """So that a token can be made certain or impossible."""
    logits = np.array([3.0, 2.0, 1.0], np.float32)
    assert sampler(logit_bias={2: 100.0}).choose(logits).token == 2
    assert sampler(logit_bias={0: -100.0}).choose(logits).token == 1


def test_ends_come_only_after_min_tokens():
    """Until then they cannot be chosen, by whatever dice."""
    logits = np.array([9.0, 1.0, 8.0], np.float32)
    chooser = sampler(min_tokens=2, ends=[0, 2])
    assert [chooser.choose(logits).token for _ in range(4)] == [1, 1, 0, 0]
    assert set(draws(logits, 50, temperature=5.0, min_tokens=1, ends=[0])) == {1, 2}


@given(LOGITS, st.integers(0, 5))
def test_logprobs_are_those_of_the_model_itself(logits, count):
    """Before penalties, bias, temperature and filters."""
    chances = np.log(softmax(logits))
    for how in ({}, {"temperature": 0.3, "top_k": 2, "logit_bias": {1: 3.0}, "repetition_penalty": 1.3, "prompt": [0]}):
        chosen = sampler(logprobs=count, **how).choose(logits)
        assert math.isclose(chosen.logprob, chances[chosen.token], abs_tol=1e-4)
        best = sorted(range(logits.size), key=lambda token: (-logits[token], token))
        assert [token for token, _ in chosen.top] == best[:count]
        assert np.allclose([value for _, value in chosen.top], chances[[token for token, _ in chosen.top]], atol=1e-4)


def test_logprobs_leave_out_what_cannot_be():
    """Minus infinity is no number of JSON."""
    chosen = sampler(logprobs=3).choose(np.array([1.0, -np.inf, 1.0], np.float32))
    assert [token for token, _ in chosen.top] == [0, 2]
    assert all(math.isclose(value, math.log(0.5), abs_tol=1e-6) for _, value in chosen.top)


@pytest.mark.parametrize("how", [{}, {"temperature": 1.0}, {"temperature": 1.0, "top_p": 0.9, "logprobs": 2}])
@pytest.mark.parametrize("bad", [[np.nan] * 3, [-np.inf] * 3, [1.0, np.nan, 2.0], [1.0, np.inf, 2.0]])
def test_logits_without_a_meaning_are_the_models_failure(bad, how):
    """NaN and infinity in any place, and no token left."""
    with pytest.raises(ModelFailed, match=r"NaN or infinity|rules every token out"):
        sampler(**how).choose(np.array(bad, np.float32))


def test_ruling_everything_out_is_told_as_the_requests_doing():
    """Where the model itself left something."""
    with pytest.raises(ModelFailed, match="min_tokens or logit_bias"):
        sampler(min_tokens=1, ends=[0, 1]).choose(np.array([1.0, 2.0], np.float32))


@given(
    st.lists(st.one_of(NUMBERS, st.just(float("-inf"))), min_size=1, max_size=400).filter(
        lambda values: max(values) > float("-inf")
    ),
    st.integers(0, 50),
    st.floats(0.01, 1),
    st.floats(0, 1),
    st.floats(1e-6, 100),
    st.integers(0, 2**63 - 1),
)
@example([0.0] * 300, 0, 1.0, 0.0, 1.0, 0)
def test_what_the_model_rules_out_is_never_chosen(values, top_k, top_p, min_p, temperature, seed):
    """Whatever the filters are."""
    logits = np.array(values, np.float32)
    chooser = sampler(top_k=top_k, top_p=top_p, min_p=min_p, temperature=temperature, seed=seed)
    assert logits[chooser.choose(logits).token] > -np.inf


@pytest.mark.parametrize("temperature", [1e-300, 1e-38, 1e-9, 1e-6])
@pytest.mark.parametrize("logits", [[3.0, 3.0001, -1e30], [0.0, 5.0, -math.inf], [-1e38, 3e38, 0.0]])
def test_the_coldest_temperature_is_no_division_by_nothing(temperature, logits):
    """It takes the likeliest token, as 0 does, with every filter."""
    values = np.array(logits, np.float32)
    for how in ({}, {"top_p": 1e-300}, {"top_p": 0.5, "min_p": 1.0}, {"top_k": 2, "top_p": 0.9}):
        assert draws(values, 5, temperature=temperature, **how) == [1] * 5


def test_a_vocabulary_of_one_token():
    """It is chosen, and the model is sure of it."""
    for how in ({}, {"temperature": 1e-9}, {"temperature": 100.0, "top_k": 3, "top_p": 1e-9, "min_p": 1.0}):
        assert sampler(logprobs=20, **how).choose(np.array([-4.0], np.float32)) == Chosen(0, 0.0, ((0, 0.0),))


def test_presence_is_of_the_answer_alone():
    """A token of the prompt costs nothing, though the repetition penalty beside it counts it."""
    logits = np.array([5.0, 4.5], np.float32)
    both = {"prompt": [0], "repetition_penalty": 1.0001, "presence_penalty": 1.0}
    chooser = sampler(**both)
    assert [chooser.choose(logits).token for _ in range(2)] == [0, 1]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_no_log_probability_is_ever_nan(value):
    """Also where NaN stands at a token that may not be chosen yet."""
    with pytest.raises(ModelFailed, match="NaN or infinity"):
        sampler(min_tokens=1, ends=[1], logprobs=1).choose(np.array([1.0, value], np.float32))

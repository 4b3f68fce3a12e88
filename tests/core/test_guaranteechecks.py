"""Guarantees that promise nothing, contradict themselves, or are about what is not there."""

import pytest

from modelapp.guaranteechecks import samples_needed
from modelapp.guarantees import Latency

# Name, what is changed into what, code, line, column, marked characters, message, help, and, where no edit mends it,
# the command that does, "" for none.
MISTAKES = [
    (
        "unknown endpoint",
        "port = 8000\n",
        'port = 8000\n[guarantees.latency]\nendpoint = "continu"\np95_ms = 250\n',
        "MA060",
        71,
        12,
        '"continu"',
        'no endpoint is called "continu"',
        'did you mean "continue"?',
    ),
    (
        "unknown endpoint of a named one",
        "port = 8000\n",
        'port = 8000\n[guarantees.latency.story]\nendpoint = "continu"\np95_ms = 250\n',
        "MA060",
        71,
        12,
        '"continu"',
        'no endpoint is called "continu"',
        'did you mean "continue"?',
    ),
    (
        "unknown arm",
        "port = 8000\n",
        'port = 8000\n[guarantees.latency]\nendpoint = "both"\narm = "storry"\np95_ms = 250\n',
        "MA060",
        72,
        7,
        '"storry"',
        'endpoint "both" has no arm "storry"',
        'did you mean "story"?',
    ),
    (
        "arm of an endpoint without",
        "port = 8000\n",
        'port = 8000\n[guarantees.latency]\nendpoint = "continue"\narm = "story"\np95_ms = 250\n',
        "MA060",
        72,
        7,
        '"story"',
        'endpoint "continue" has no arm "story"',
        "",
        "",
    ),
    (
        "unknown model",
        "port = 8000\n",
        'port = 8000\n[guarantees.batching]\nmodel = "storry"\n',
        "MA060",
        71,
        9,
        '"storry"',
        'no model is called "storry"',
        'did you mean "story"?',
    ),
    (
        "added wait",
        "port = 8000\n",
        'port = 8000\n[guarantees.batching]\nmodel = "story"\nmax_added_wait_ms = 12\n',
        "MA067",
        9,
        15,
        "15",
        '"max_wait_ms" is more than "max_added_wait_ms"',
        "write max_wait_ms = 7",
    ),
    (
        "added wait of each, hardly any",
        "port = 8000\n",
        "port = 8000\n[guarantees.batching]\nmax_added_wait_ms = 3\n",
        "MA067",
        9,
        15,
        "15",
        '"max_wait_ms" is more than "max_added_wait_ms"',
        "write max_wait_ms = 1.5",
    ),
    (
        "inconclusive",
        "port = 8000\n",
        "port = 8000\n[guarantees.latency]\np95_ms = 250\nrate_per_s = 5\nduration_s = 10\n",
        "MA061",
        73,
        14,
        "10",
        "this run can never be conclusive",
        "duration_s = 40 would do",
    ),
    (
        "inconclusive by default",
        "port = 8000\n",
        "port = 8000\n[guarantees.latency]\np99_ms = 250\nrate_per_s = 50\n",
        "MA061",
        72,
        14,
        "50",
        "this run can never be conclusive",
        "duration_s = 20 would do",
    ),
    (
        "inconclusive of what is asked",
        "port = 8000\n",
        "port = 8000\n[guarantees.latency]\np50_ms = 250\nrate_per_s = 5\nduration_s = 10\nmin_samples = 51\n",
        "MA061",
        73,
        14,
        "10",
        "this run can never be conclusive",
        "duration_s = 11 would do",
    ),
    (
        "nothing promised",
        "port = 8000\n",
        "port = 8000\n[guarantees.latency]\nconcurrency = 8\n",
        "MA062",
        70,
        1,
        "[guarantees.latency]",
        "[guarantees.latency] promises nothing",
        'add a limit, e.g. "p95_ms = 250"',
        "",
    ),
    (
        "nothing promised of batches",
        "port = 8000\n",
        "port = 8000\n[guarantees.batching]\nsame_output = false\n",
        "MA062",
        70,
        1,
        "[guarantees.batching]",
        "[guarantees.batching] promises nothing",
        'add a limit, e.g. "min_speedup = 1.5", or leave same_output out',
        "",
    ),
    (
        "nothing promised of any request",
        "port = 8000\n",
        "port = 8000\n[guarantees.robustness]\nnever_5xx = false\n",
        "MA062",
        70,
        1,
        "[guarantees.robustness]",
        "[guarantees.robustness] promises nothing",
        "remove the table, or never_5xx = false",
        "",
    ),
    (
        "two loads",
        "port = 8000\n",
        "port = 8000\n[guarantees.latency]\np95_ms = 250\nconcurrency = 8\nrate_per_s = 50\n",
        "MA063",
        73,
        1,
        "rate_per_s",
        "the load is given in two ways",
        "keep one: so many requests at a time, or so many a second",
    ),
    (
        "p95 below p50",
        "port = 8000\n",
        "port = 8000\n[guarantees.latency]\np50_ms = 300\np95_ms = 250\n",
        "MA064",
        72,
        10,
        "250",
        '"p95_ms" is below "p50_ms"',
        "write p95_ms = 300",
    ),
    (
        "p99 below p50",
        "port = 8000\n",
        "port = 8000\n[guarantees.latency]\np50_ms = 300\np99_ms = 250\n",
        "MA064",
        72,
        10,
        "250",
        '"p99_ms" is below "p50_ms"',
        "write p99_ms = 300",
    ),
    (
        "tokens of no stream",
        "port = 8000\n",
        'port = 8000\n[guarantees.latency]\nendpoint = "continue"\np95_ms = 900\np95_first_token_ms = 250\n',
        "MA065",
        73,
        1,
        "p95_first_token_ms",
        '"p95_first_token_ms" is about streams, and endpoint "continue" does not stream',
        "remove it",
    ),
    (
        "mean batch",
        "port = 8000\n",
        "port = 8000\n[guarantees.batching]\nmin_mean_batch = 9\n",
        "MA066",
        71,
        18,
        "9",
        '"min_mean_batch" is more than any run may hold',
        "write min_mean_batch = 8",
    ),
    (
        "inputs file",
        "port = 8000\n",
        'port = 8000\n[guarantees.latency]\np95_ms = 250\ninputs = "data/holdout.json"\n',
        "MA057",
        72,
        10,
        '"data/holdout.json"',
        "there is no file data/holdout.json",
        'did you mean "data/holdout.jsonl"?',
    ),
    (
        "reference file",
        "port = 8000\n",
        'port = 8000\n[guarantees.drift]\nreference = "data/seen.jsonl"\n',
        "MA057",
        71,
        13,
        '"data/seen.jsonl"',
        "there is no file data/seen.jsonl",
        'did you mean "data/words.json"?',
    ),
    (
        "unknown task",
        "port = 8000\n",
        'port = 8000\n[guarantees.drift]\nreference = "data/holdout.jsonl"\ntask = "train"\n',
        "MA060",
        72,
        8,
        '"train"',
        'no job is called "train"',
        "",
        "",
    ),
    (
        "task that is a batch",
        "port = 8000\n",
        'port = 8000\n[jobs.night]\nendpoint = "continue"\ninput = "data/holdout.jsonl"\n'
        'output = "out.jsonl"\n[guarantees.drift]\nreference = "data/holdout.jsonl"\ntask = "night"\n',
        "MA060",
        76,
        8,
        '"night"',
        'job "night" is no task',
        'name a job with run = "file.py:function"',
        "",
    ),
]


def test_each_mistake_is_told_where_it_stands(dungeon, mistake):
    """Code, line, column, marked characters, message and help are exactly these, and nothing else is said."""
    dungeon.expect_told(mistake)


def test_each_mistake_can_be_mended(dungeon, mistake):
    """The file loads with the edit of its problem; where no edit can help, a command is told, or only the help."""
    dungeon.expect_mended(mistake)


@pytest.mark.parametrize(
    ("limits", "needed"),
    [
        ({"p50_ms": 1}, 20),
        ({"p95_ms": 1}, 200),
        ({"p50_ms": 1, "p99_ms": 1}, 1000),
        ({"p95_first_token_ms": 1}, 200),
        ({"p99_ms": 1, "min_samples": 7}, 7),
        ({"max_realtime_factor": 1}, 20),
    ],
)
def test_the_highest_percentile_says_how_many_answers_it_takes(limits, needed):
    """Ten beyond it, unless the file asks for another number."""
    assert samples_needed(Latency(name="", **limits)) == needed


@pytest.mark.parametrize(
    "text",
    [
        "[guarantees.latency]\np95_ms = 250\nrate_per_s = 20\nduration_s = 10\n",
        "[guarantees.latency]\nmax_error_percent = 0\n",
        "[guarantees.latency]\np50_ms = 100\np95_ms = 100\np99_ms = 100\n",
        '[guarantees.latency]\nendpoint = "both"\narm = "poem"\np95_ms = 250\n',
        '[guarantees.latency]\narm = "poem"\np95_ms = 250\n',
        "[guarantees.batching]\n",
        "[guarantees.batching]\nsame_output = false\nmin_speedup = 1.5\n",
        "[guarantees.batching]\nmin_mean_batch = 8\n",
        "[guarantees.batching]\nmax_added_wait_ms = 15\n",
        '[guarantees.batching]\nmodel = "poem"\nmax_added_wait_ms = 1\n',
        "[guarantees.robustness]\n",
        "[guarantees.rollout]\n",
    ],
)
def test_a_guarantee_at_its_bounds_is_one(dungeon, text):
    """What is just enough is enough, and a table that promises by its defaults promises something."""
    dungeon.load(dungeon.text + text)


def test_a_broken_limit_is_told_alone(dungeon):
    """That the rest of the table then promises nothing is no other mistake."""
    assert dungeon.only(dungeon.text + '[guarantees.latency]\np95_ms = "x"\n').code == "MA020"

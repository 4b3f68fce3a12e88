"""Numbers of app.toml that make each other impossible, or that earlier runs speak against."""

import pytest

from modelapp import signaturecache
from modelapp.signature import Signature
from modelapp.signaturecache import Measured

APP = """\
[app]
name = "tale"

[models.story]
source = "story.onnx"
runtime = "onnx"
max_batch_size = 4
max_wait_ms = 50
max_queue = 40

[endpoints.tell]
model = "story"
timeout_s = 2

[guarantees.latency]
p95_ms = 200
duration_s = 100
"""


@pytest.mark.parametrize(
    ("old", "new", "marked", "message", "help"),
    [
        ("p95_ms = 200", "p95_ms = 2001", "2001", '"p95_ms" can never be exceeded', "write p95_ms = 2000"),
        ("p95_ms = 200", "p99_ms = 9000", "9000", '"p99_ms" can never be exceeded', "write p99_ms = 2000"),
        (
            "max_wait_ms = 50",
            "max_wait_ms = 200",
            "200",
            '"max_wait_ms" alone takes as long as an answer may',
            "write max_wait_ms = 50",
        ),
        (
            "p95_ms = 200",
            "p50_ms = 50\np95_ms = 200",
            "50",
            '"max_wait_ms" alone takes as long as an answer may',
            "write max_wait_ms = 12.5",
        ),
        (
            "duration_s = 100\n",
            "duration_s = 100\n[deploy.rollout]\nmax_gate_s = 101\n",
            "100",
            "the gate ends before this run does",
            "write duration_s = 99",
        ),
    ],
)
def test_times_that_make_each_other_impossible(dungeon, old, new, marked, message, help):
    """An error at one of them, whose edit makes the file valid."""
    text = APP.replace(old, new)
    (problem,) = dungeon.everything(text)
    assert (problem.code, problem.message, problem.help) == ("MA067", message, help)
    assert problem.source[problem.column - 1 :][: problem.length] == marked
    assert not dungeon.everything(problem.edit.apply(text))


def test_every_limit_beyond_the_time_of_an_answer_is_told(dungeon):
    """At once, those of streams included."""
    limits = "p50_ms = 2500\np95_ms = 3000\np95_first_token_ms = 4000"
    text = APP.replace("p95_ms = 200", limits).replace("timeout_s = 2", "timeout_s = 2\nstream = true")
    text = text.replace("max_wait_ms = 50", 'task = "text-generation"')
    problems = dungeon.everything(text)
    assert [problem.source for problem in problems] == limits.split("\n")
    for problem in reversed(problems):
        text = problem.edit.apply(text)
    assert not dungeon.everything(text)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("p95_ms = 200", "p95_ms = 2000"),
        ("max_wait_ms = 50", "max_wait_ms = 199"),
        ("max_batch_size = 4\nmax_wait_ms = 50", "max_wait_ms = 500"),
        ("p95_ms = 200", "max_error_percent = 1"),
        ("duration_s = 100\n", "duration_s = 100\n[deploy.rollout]\nmax_gate_s = 102\n"),
        ("duration_s = 100\n", 'duration_s = 100\n[deploy.rollout]\nmax_gate_s = 10\ngate = ["tests"]\n'),
    ],
)
def test_times_that_just_fit(dungeon, old, new):
    """A wait that never happens, a gate that does not ask, a limit at its bound."""
    assert not dungeon.everything(APP.replace(old, new))


@pytest.fixture
def ran(dungeon):
    """ran(run_ms, text): the warnings about times, after a run of the model took so long here."""
    (dungeon.root / "story.onnx").write_bytes(b"weights")

    def check(run_ms, text=APP, **signature):
        model = dungeon.load(APP).models["story"]
        signaturecache.write(dungeon.root, model, Measured(Signature(kind="records", **signature), run_ms))
        return [one for one in dungeon.notices(text) if one.code == "MA068"]

    return check


def test_a_limit_below_what_a_run_took(ran):
    """A warning at the limit, for another machine may be quicker."""
    (told,) = ran(201.0, APP.replace("max_queue = 40", "max_queue = 4"))
    assert (told.severity, told.source) == ("warning", "p95_ms = 200")
    assert told.label == "runs of its models took 201 ms here"
    assert ran(199.0) == []


def test_a_queue_that_outlasts_the_time_allowed(ran):
    """The last of 40 rows, four a run, has ten runs to wait for."""
    assert ran(200.0) == []
    (told,) = ran(200.5, APP.replace("p95_ms = 200", "p95_ms = 300"))
    assert told.source == "max_queue = 40"
    assert told.label == "the last of 40 rows waits 2 s, and timeout_s of tell is 2"
    assert told.edit is not None
    assert ran(200.5, told.edit.apply(APP.replace("p95_ms = 200", "p95_ms = 300"))) == []


def test_a_model_that_runs_one_at_a_time_empties_its_queue_more_slowly(ran):
    """However many rows a run was declared to hold."""
    assert [one.source for one in ran(60.0, batched=False)] == ["max_queue = 40"]
    assert ran(49.0, batched=False) == []


def test_more_runs_at_once_empty_it_more_quickly(ran):
    """`concurrency` counts."""
    more = APP.replace("max_queue = 40", "max_queue = 40\nconcurrency = 2").replace("p95_ms = 200", "p95_ms = 900")
    assert ran(390.0, more) == []
    assert [one.source for one in ran(410.0, more)] == ["max_queue = 40"]


def test_a_run_of_load_that_has_too_few_answers(ran):
    """One at a time, each 20 ms: fewer than 200 in three seconds."""
    text = APP.replace("duration_s = 100", "duration_s = 3")
    (told,) = ran(20.0, text)
    assert told.message == "this run may not be conclusive"
    assert told.label == "1 at a time for 3 s: 150 calls, needed 200"
    assert ran(20.0, told.edit.apply(text)) == []
    assert ran(20.0, text.replace("duration_s = 3", "duration_s = 3\nconcurrency = 2")) == []


def test_without_a_measurement_nothing_is_told(ran):
    """A model that only started has shown no time."""
    assert ran(None) == []


def test_of_arms_the_quickest_counts(ran, dungeon):
    """One of them answers; of steps each does."""
    split = APP.replace('model = "story"', "split = { arms = { story = 50, poem = 50 } }") + (
        '[models.poem]\nsource = "poem.onnx"\nruntime = "onnx"\n'
    )
    assert ran(205.0, split.replace("max_queue = 40", "max_queue = 4")) == []
    steps = 'steps = [{ name = "a", run = "story", needs = ["x"] }, { name = "b", run = "story", needs = ["a"] }]\n'
    twice = APP.replace('model = "story"\n', steps) + '[endpoints.tell.input]\nx = "json"\n'
    assert ran(99.0, twice) == []
    assert [one.source for one in ran(101.0, twice)] == ["p95_ms = 200"]

"""The observer that counts, by hand: what becomes of requests and runs, of releases, and of readers beside writers."""

import threading
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelapp import ModelRun
from modelapp.call import Call
from modelapp.errors import RequestError, request_codes
from modelapp.loader import load_app
from modelapp.observing import Observer
from modelapp.plugins import Plugins
from modelapp.testing import FakeClock
from modelapp_metrics.metric import SECONDS
from modelapp_metrics.recorder import KEPT_S, Recorder
from modelapp_metrics.table import METRICS
from modelapp_metrics.tally import MOST_EVENTS

APP = """\
[app]
name = "shop"
[models.fast]
source = "app.toml"
runtime = "null"
[models.slow]
source = "app.toml"
runtime = "null"
[endpoints.price]
model = "fast"
[endpoints.both]
split = { arms = { fast = 50, slow = 50 } }
[guarantees.latency]
p95_ms = 123
"""
BY_NAME = {metric.name: metric for metric in METRICS}


class Host:
    """What the recorder asks of its host."""

    def __init__(self, app):
        self.app, self.release, self.service = app, "r1", self


@pytest.fixture(scope="session")
def app(tmp_path_factory):
    """An app with a model, a split and a promise."""
    path = tmp_path_factory.mktemp("shop") / "app.toml"
    path.write_text(APP)
    return load_app(path, Plugins.load())


@pytest.fixture
def clock():
    """Driven by hand."""
    return FakeClock()


@pytest.fixture
def recorder(app, clock):
    """A recorder of that app's replica."""
    return Recorder(Host(app), clock=clock)


def ended(outcome="ok", *, endpoint="price", release="r1", total_s=0.5, **more):
    """A request that has ended."""
    call = Call(100.0)
    call.endpoint, call.protocol, call.outcome, call.release = endpoint, "natural", outcome, release
    call.ended_s, call.status = 100.0 + total_s, request_codes().get(outcome, 200)
    for name, value in more.items():
        setattr(call, name, value)
    return call


def counts(recorder, name, *labels):
    """label values -> count, of a counter without those at zero."""
    with recorder.reading() as ledgers:
        found = {}
        for release, ledger in ledgers.items():
            own = [label for label in labels if label != "release"]
            for values, sums in ledger.sums(BY_NAME[name], own).items():
                key = (*values, release) if "release" in labels else values
                found[key] = found.get(key, 0) + sums.total
        return {key: total for key, total in found.items() if total}


def test_it_is_an_observer(recorder):
    """As the core asks for one."""
    assert isinstance(recorder, Observer)


def test_a_request_is_counted_by_what_it_was(recorder):
    """Endpoint, arm, protocol, outcome, token, and the numbers it carried."""
    recorder.request_ended(ended(bytes_in=3, bytes_out=5, token="ann", rows=2, device_s=0.25, cpu_s=0.125))
    recorder.request_ended(ended(endpoint="both", arm="slow", bytes_in=4))
    recorder.request_ended(ended("queue_full", bytes_out=7))
    assert counts(recorder, "modelapp_requests_total", "endpoint", "model", "outcome", "protocol", "release") == {
        ("price", "", "ok", "natural", "r1"): 1,
        ("both", "slow", "ok", "natural", "r1"): 1,
        ("price", "", "queue_full", "natural", "r1"): 1,
    }
    assert counts(recorder, "modelapp_request_bytes_total", "endpoint") == {("price",): 3, ("both",): 4}
    assert counts(recorder, "modelapp_response_bytes_total", "endpoint") == {("price",): 12}
    assert counts(recorder, "modelapp_token_requests_total", "token") == {("ann",): 1, ("",): 2}
    assert counts(recorder, "modelapp_token_rows_total", "token") == {("ann",): 2}
    assert counts(recorder, "modelapp_token_device_seconds_total", "token") == {("ann",): 0.25}
    assert counts(recorder, "modelapp_token_cpu_seconds_total", "token") == {("ann",): 0.125}


def test_times_fall_into_the_buckets_of_what_was_promised(recorder):
    """A limit of the app's own is a bound, and what takes exactly so long is within it."""
    for total_s in (0.122, 0.1230000001, 0.124, 99.0):
        recorder.request_ended(ended(total_s=total_s, timings_ms={"queue": 2.0}))
    recorder.request_ended(ended(first_s=100.01))
    with recorder.reading() as ledgers:
        ledger = ledgers["r1"]
        duration = BY_NAME["modelapp_request_duration_seconds"]
        assert ledger.bounds(duration) == tuple(sorted([*SECONDS, 0.123]))
        found = ledger.sums(duration, ["endpoint", "outcome"])["price", "ok"]
        at = ledger.bounds(duration).index(0.123)
        assert (found.buckets[at], found.buckets[at + 1], found.buckets[-1]) == (1, 2, 1)
        queue = ledger.sums(BY_NAME["modelapp_request_queue_seconds"], ["endpoint"])["price",]
        assert (queue.count, queue.total) == (4, 0.008)  # the last request met no queue
        first = ledger.sums(BY_NAME["modelapp_request_first_chunk_seconds"], ["endpoint"])["price",]
        assert first.count == 1
        assert first.total == pytest.approx(0.01)


def test_a_run_is_counted_by_its_model(recorder):
    """Rows, extra runs and seconds; the release is that of its requests, or what is served now."""
    mates = (ended(release="r0"), ended(release="r0"))
    recorder.run_ended(run(mates, extra_runs=2, outcome="ok"))
    recorder.run_ended(run((), outcome="model_failed"))
    assert counts(recorder, "modelapp_runs_total", "model", "outcome", "release") == {
        ("fast", "ok", "r0"): 1,
        ("fast", "model_failed", "r1"): 1,
    }
    assert counts(recorder, "modelapp_rows_total", "model") == {("fast",): 16}
    assert counts(recorder, "modelapp_extra_runs_total", "model") == {("fast",): 2}
    assert counts(recorder, "modelapp_device_seconds_total", "device") == {("cpu",): 0.5}
    assert counts(recorder, "modelapp_cpu_seconds_total", "model") == {("fast",): 0.25}
    assert counts(recorder, "modelapp_run_cost", "model") == {("fast",): 40}


def run(calls, **more):
    """A run of eight rows."""
    values = {
        "device": "cpu",
        "rows": 8,
        "cost": 20.0,
        "started_s": 1.0,
        "ended_s": 1.5,
        "infer_s": 0.25,
        "cpu_s": 0.125,
    }
    return ModelRun("fast", calls=calls, **values, **more)


def test_a_step_counts_each_token_by_the_time_it_took(recorder):
    """First ones since their request came, others since the one before; a step of a prompt alone gives none."""
    call = ended(release="r0")
    recorder.run_ended(run((call,), step=True, tokens_in=30))
    recorder.run_ended(run((call,), step=True, tokens_in=5, firsts_s=(0.5,), gaps_s=(0.25, 0.125)))
    assert counts(recorder, "modelapp_prompt_tokens_total", "model", "release") == {("fast", "r0"): 35}
    assert counts(recorder, "modelapp_generated_tokens_total", "model") == {("fast",): 3}
    assert counts(recorder, "modelapp_first_token_seconds", "model") == {("fast",): 0.5}
    assert counts(recorder, "modelapp_next_token_seconds", "model") == {("fast",): 0.375}
    assert counts(recorder, "modelapp_runs_total", "model") == {("fast",): 2}
    with recorder.reading() as ledgers:
        first = BY_NAME["modelapp_first_token_seconds"]
        assert ledgers["r0"].sums(first, ["model"])["fast",].count == 1
        assert 0.123 in ledgers["r0"].bounds(first)


def test_tokens_are_counted_however_many_there_are(recorder):
    """More than are folded at once, and none twice."""
    for _ in range(3):
        recorder.run_ended(run((), step=True, gaps_s=(0.001,) * MOST_EVENTS))
    assert counts(recorder, "modelapp_generated_tokens_total", "model") == {("fast",): 3 * MOST_EVENTS}


@given(st.lists(st.tuples(st.text(max_size=8), st.text(max_size=8), st.text(max_size=8)), max_size=200))
def test_what_clients_choose_never_becomes_a_label(app, chosen):
    """However many endpoints, models and codes are made up: the number of series stays what the app names."""
    recorder = Recorder(Host(app))
    for endpoint, model, outcome in chosen:
        recorder.request_ended(ended(outcome, endpoint=endpoint, model=model, status=422))
    with recorder.reading() as ledgers:
        keys = ledgers["r1"].requests.keys
    assert {key.endpoint for key in keys} <= {"", "price", "both"}
    assert {key.model for key in keys} <= {"", "fast", "slow"}
    assert len({key.outcome for key in keys}) <= len(request_codes()) + 2 + 32
    assert sum(counts(recorder, "modelapp_requests_total", "outcome").values()) == len(chosen)


def test_an_error_of_an_apps_own_keeps_its_code_unless_it_is_a_fault(recorder):
    """A fault under a code that nobody knows would set off no alert."""
    recorder.request_ended(ended("too_dark", status=422))
    recorder.request_ended(ended("lamp_broke", status=500))
    recorder.request_ended(ended("", status=0))
    assert counts(recorder, "modelapp_requests_total", "outcome") == {("too_dark",): 1, (RequestError.code,): 2}


def test_health_checks_have_counts_and_no_times(recorder):
    """They would make every percentile look good."""
    recorder.request_ended(ended(endpoint=""))
    assert counts(recorder, "modelapp_requests_total", "endpoint") == {("",): 1}
    assert counts(recorder, "modelapp_request_duration_seconds", "endpoint") == {}


def test_what_an_alert_must_see_the_first_of_is_there_from_the_start(recorder):
    """Prometheus sees no increase in a series that begins at one."""
    with recorder.reading() as ledgers:
        found = ledgers["r1"].sums(BY_NAME["modelapp_requests_total"], ["endpoint", "model", "outcome"])
    faults = {code for code, status in request_codes().items() if status >= 500}
    assert set(found) == {
        (endpoint, model, outcome)
        for endpoint, model in (("price", ""), ("both", "fast"), ("both", "slow"))
        for outcome in ("ok", *faults)
    }


def test_the_series_of_a_replaced_release_stay_for_a_while(recorder, clock):
    """Long enough to be scraped; what still ends in it is counted there, and a release that returns goes on."""
    recorder.request_ended(ended())
    recorder.host.release = "r2"
    recorder.request_ended(ended(release="r2"))
    recorder.request_ended(ended(release=""))
    clock.advance(KEPT_S)
    recorder.request_ended(ended())
    expected = {("r1",): 2, ("r2",): 2}
    assert counts(recorder, "modelapp_requests_total", "release") == expected
    recorder.host.release = "r1"
    assert counts(recorder, "modelapp_requests_total", "release") == expected
    clock.advance(KEPT_S + 1)
    assert counts(recorder, "modelapp_requests_total", "release") == {("r1",): 2}


def test_no_count_is_lost_between_folding_and_reading(recorder):
    """Two threads note, one reads all the time: in the end all are there, and no reader saw fewer than before."""
    each, seen, running = 20 * MOST_EVENTS + 7, [0.0], threading.Event()
    running.set()

    def read():
        while running.is_set():
            seen.append(sum(counts(recorder, "modelapp_requests_total", "endpoint").values()))

    def note():
        for _ in range(each):
            recorder.request_ended(ended())

    reader, writers = threading.Thread(target=read), [threading.Thread(target=note) for _ in range(2)]
    for thread in (reader, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    running.clear()
    reader.join()
    assert seen == sorted(seen)
    assert counts(recorder, "modelapp_requests_total", "endpoint") == {("price",): 2 * each}
    assert counts(recorder, "modelapp_request_duration_seconds", "endpoint") == {("price",): each}


def test_notes_are_folded_before_they_pile_up(recorder):
    """Where nobody scrapes, memory stays what it is, and requests are not held on to."""
    call = ended()
    for _ in range(2 * MOST_EVENTS):
        recorder.request_ended(call)
    tracemalloc.start()
    for _ in range(20 * MOST_EVENTS):
        recorder.request_ended(call)
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < 200_000

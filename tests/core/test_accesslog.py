"""Which requests have a line in the access log, and what it tells."""

import json
import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from modelapp.accesslog import MOST_A_SECOND, WINDOW_S, AccessLog
from modelapp.call import Call
from modelapp.loglines import JsonLines, TextLines

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Log:
    """An access log on a clock of its own."""

    def __init__(self, caplog, **modes: str) -> None:
        self._caplog = caplog
        caplog.set_level(logging.INFO, logger="modelapp.access")
        self.serve(**modes)
        self.due: list[tuple[float, Callable[[], None]]] = []
        self.log = AccessLog(lambda: self.served, later=lambda seconds, work: self.due.append((seconds, work)))

    def serve(self, **modes: str) -> None:
        """Serve endpoints that are logged so."""
        endpoints = {name: SimpleNamespace(name=name, access_log=mode) for name, mode in modes.items()}
        self.served: Any = SimpleNamespace(app=SimpleNamespace(endpoints=endpoints))

    def ask(self, id: str, *, at_s: float = 1.0, ms: float = 1.0, **facts: Any) -> None:
        """One request has ended."""
        call = Call(at_s, id=id)
        call.ended_s, call.status, call.outcome, call.endpoint = at_s + ms / 1000, 200, "ok", "score"
        for name, value in facts.items():
            setattr(call, name, value)
        self.log.request_ended(call)

    def end_window(self) -> None:
        """Ten seconds are over."""
        ((seconds, work),) = self.due
        self.due.clear()
        assert seconds == WINDOW_S
        work()

    @property
    def lines(self) -> list[dict]:
        """The fields of all lines since the last look."""
        found = [record.fields for record in self._caplog.records]
        self._caplog.clear()
        return found

    @property
    def whys(self) -> list[tuple[str, str]]:
        """Ids and reasons of all lines since the last look."""
        return [(line["request_id"], line["why"]) for line in self.lines]


UNSAMPLED = "b"
SAMPLED = "id-69"


@pytest.fixture
def log(caplog) -> Log:
    """Of an app with an endpoint of each kind; the slowest of the window is known."""
    log = Log(caplog, score="sample", every="all", none="off")
    log.ask("slowest", ms=1000)
    return log


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(500, "model_failed"), (503, "not_ready"), (504, "deadline_exceeded"), (429, "queue_full")],
)
def test_every_failure_of_the_server_has_a_line(log: Log, status: int, outcome: str) -> None:
    """Refusals for want of room are such."""
    log.ask(UNSAMPLED, status=status, outcome=outcome)
    assert log.whys == [(UNSAMPLED, "error")]


@pytest.mark.parametrize(("status", "outcome"), [(422, "invalid_input"), (404, "not_found"), (499, "cancelled")])
def test_a_callers_own_errors_are_sampled_like_answers(log: Log, status: int, outcome: str) -> None:
    """Anybody can make as many as they like."""
    log.ask(UNSAMPLED, status=status, outcome=outcome)
    assert log.whys == []
    log.ask(SAMPLED, status=status, outcome=outcome)
    assert log.whys == [(SAMPLED, "sample")]


def test_about_one_in_a_hundred_is_told_and_always_the_same_ones(log: Log) -> None:
    """Ids that count up are no worse than others; the same id is told by every replica, or by none."""
    ids = [f"9f3c01aa{count:08x}" for count in range(100_000)]
    for number, name in enumerate(ids):
        log.ask(name, at_s=float(number))  # a second for each: bounds come elsewhere
    told = {name for name, why in log.whys if why == "sample"}
    assert 900 < len(told) < 1100
    for number, name in enumerate(reversed(ids)):
        log.ask(name, at_s=float(number))
    assert {name for name, _ in log.whys} == told


def test_the_slowest_of_each_window_is_told_when_it_ends(log: Log) -> None:
    """Once, whatever else came."""
    log.ask("fast", ms=2)
    log.ask("slower", ms=2000)
    assert log.whys == []
    log.end_window()
    assert log.whys == [("slower", "slow")]
    assert not log.due
    log.ask("alone", ms=1)
    log.end_window()
    assert log.whys == [("alone", "slow")]


def test_a_slowest_that_has_a_line_already_gets_no_second(log: Log) -> None:
    """And none that was faster stands in for it."""
    log.ask("late", ms=3000, status=504, outcome="deadline_exceeded")
    assert log.whys == [("late", "error")]
    log.end_window()
    assert log.whys == []


def test_each_endpoint_is_logged_as_it_says(log: Log) -> None:
    """A reload may change it; routes of no endpoint are sampled."""
    log.ask(UNSAMPLED, endpoint="every")
    log.ask(SAMPLED, endpoint="none", status=500, outcome="internal")
    log.ask(SAMPLED, endpoint="")
    assert log.whys == [(UNSAMPLED, "all"), (SAMPLED, "sample")]
    log.serve(score="all", every="off")
    log.ask(UNSAMPLED, endpoint="every")
    log.ask(UNSAMPLED)
    assert log.whys == [(UNSAMPLED, "all")]


def test_what_the_products_own_commands_send_is_no_traffic(log: Log) -> None:
    """Unless every request is asked for."""
    log.ask(SAMPLED, trusted=True, status=500, ms=9000)
    log.ask("r1", trusted=True, endpoint="every")
    log.end_window()
    assert log.whys == [("r1", "all"), ("slowest", "slow")]


@pytest.mark.parametrize("protocol", ["health", "metrics"])
def test_probes_and_scrapes_have_no_line(log: Log, protocol: str) -> None:
    """They come every few seconds, and a replica that starts is not ready for good reason."""
    log.ask(SAMPLED, protocol=protocol, endpoint="", status=503, ms=9000)
    log.end_window()
    assert log.whys == [("slowest", "slow")]


def test_a_flood_of_one_outcome_is_cut_counted_and_hides_no_other(log: Log) -> None:
    """Under overload most answers are alike."""
    for number in range(1000):
        log.ask(f"q{number}", status=429, outcome="queue_full")
    log.ask("x", status=500, outcome="model_failed")
    told = log.lines
    assert [line["outcome"] for line in told] == ["queue_full"] * MOST_A_SECOND + ["model_failed"]
    log.ask("later", at_s=2.0, status=429, outcome="queue_full")
    assert log.whys == [("later", "error")]
    log.end_window()
    slow, left_out = log.lines
    assert slow["why"] == "slow"
    assert (left_out["outcome"], left_out["left_out"]) == ("queue_full", 1000 - MOST_A_SECOND)


def test_all_means_all(log: Log) -> None:
    """Whoever asks for every request gets every request."""
    for number in range(1000):
        log.ask(f"r{number}", endpoint="every")
    assert len(log.lines) == 1000


def test_what_was_kept_is_written_when_the_replica_stops(log: Log) -> None:
    """The slowest of a window that is cut short."""
    log.log.close()
    assert log.whys == [("slowest", "slow")]
    log.log.close()
    assert log.whys == []


def test_a_line_tells_names_counts_and_times_and_nothing_of_what_was_said(log: Log, caplog) -> None:
    """A token by its name; neither headers nor anything of a body."""
    log.ask(
        "r1",
        at_s=0.0,
        ms=12.5,
        endpoint="every",
        method="POST",
        route="/every",
        protocol="natural",
        release="rel",
        model="words",
        token="team",
        rows=3,
        bytes_in=10,
        bytes_out=20,
        device_s=0.002,
        cpu_s=0.001,
        timings_ms={"queue": 0.12345, "batch": 1.0, "execute": 2.0},
        headers={"authorization": "Bearer hush", "traceparent": TRACEPARENT},
    )
    line = TextLines().format(caplog.records[0])
    time, rest = line.split(" ", 1)
    assert time[-1] == "Z"
    assert rest == (
        "POST /every 200 ok 12.500ms request_id=r1 trace_id=4bf92f3577b34da6a3ce929d0e0e4736 release=rel"
        " protocol=natural endpoint=every model=words token=team queue_ms=0.123 batch_ms=1.0 execute_ms=2.0"
        " rows=3 bytes_in=10 bytes_out=20 device_ms=2.0 cpu_ms=1.0 why=all"
    )
    as_json = json.loads(JsonLines().format(caplog.records[0]))
    assert as_json["time"] == time
    assert as_json["message"] == "POST /every 200 ok 12.500ms"
    assert (as_json["total_ms"], as_json["outcome"], as_json["token"]) == (12.5, "ok", "team")


def test_names_that_callers_choose_cannot_forge_a_line(log: Log, caplog) -> None:
    """A request id by gRPC may hold anything."""
    log.ask("r1\n2026 GET / 200 ok\x1b[2J", endpoint="every")
    line = TextLines().format(caplog.records[0])
    assert line.isprintable()
    assert "r1?2026 GET" in line

"""Log lines: readable or JSON, tied to their requests, and never a reason to wait."""

import io
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelapp import current
from modelapp.call import Call
from modelapp.loglines import (
    MOST_ALIKE,
    MOST_IDS,
    FloodGuard,
    JsonLines,
    LineHandler,
    Printed,
    TextLines,
    json_line,
    moment,
)
from modelapp.testing import AppProject

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Pipe:
    """A pipe, and a logger of its own that writes to it."""

    def __init__(self, formatter: logging.Formatter) -> None:
        self.read_fd, self.write_fd = os.pipe()
        self.handler = LineHandler(self.write_fd, formatter)
        self.logger = logging.Logger("mine", logging.INFO)
        self.logger.addHandler(self.handler)

    def read(self) -> bytes:
        """What stands in the pipe."""
        os.set_blocking(self.read_fd, False)
        content = b""
        while True:
            try:
                chunk = os.read(self.read_fd, 1 << 20)
            except BlockingIOError:
                return content
            if not chunk:
                return content
            content += chunk

    def lines(self) -> list[dict]:
        """Its lines, each a JSON object."""
        return [json.loads(line) for line in self.read().decode().splitlines()]

    def close(self) -> None:
        """Both ends."""
        os.close(self.read_fd)
        os.close(self.write_fd)


@pytest.fixture
def text() -> Iterator[Pipe]:
    """Lines for people."""
    pipe = Pipe(TextLines())
    yield pipe
    pipe.close()


@pytest.fixture
def lines() -> Iterator[Pipe]:
    """JSON."""
    pipe = Pipe(JsonLines())
    yield pipe
    pipe.close()


def _call(number: int = 0) -> Call:
    call = Call(0.0, id=f"r{number}")
    call.release, call.endpoint = "rel", "score"
    return call


def test_a_line_for_people_is_its_message_and_whose_request_it_is(text: Pipe) -> None:
    """Of one request, of a few, of many, and of none."""
    many = tuple(_call(number) for number in range(MOST_IDS + 3))
    for calls in ((), many[:1], many[:2], many):
        current.work_for(calls, text.logger.warning, "half %d", 5)
    told = text.read().decode().splitlines()
    assert told[:3] == ["half 5", "half 5  [request r0]", "half 5  [requests r0, r1]"]
    assert told[3].endswith(f"r{MOST_IDS - 1} and 3 more]")


def test_a_json_line_tells_time_level_logger_message_and_the_request(lines: Pipe) -> None:
    """With the trace that the request came with, though nothing is traced."""
    call = _call()
    call.headers = {"traceparent": TRACEPARENT}
    current.work_for((call,), lines.logger.warning, "half\n%d", 5)
    (line,) = lines.lines()
    assert line.pop("time")[-1] == "Z"
    assert line == {
        "level": "WARNING",
        "logger": "mine",
        "message": "half\n5",
        "request_id": "r0",
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        "release": "rel",
        "endpoint": "score",
    }


def test_the_span_of_a_traced_request_is_told_before_its_callers(lines: Pipe) -> None:
    """As it goes out with the answer."""
    call = _call()
    call.headers = {"traceparent": TRACEPARENT}
    call.traceresponse = "00-4bf92f3577b34da6a3ce929d0e0e4736-00000000000000aa-01"
    current.work_for((call,), lines.logger.info, "x")
    assert lines.lines()[0]["span_id"] == "00000000000000aa"


def test_the_line_of_a_batch_lists_its_mates_within_bounds(lines: Pipe) -> None:
    """And says how many there were."""
    current.work_for(tuple(_call(number) for number in range(100)), lines.logger.info, "x")
    (line,) = lines.lines()
    assert line["request_ids"] == [f"r{number}" for number in range(MOST_IDS)]
    assert line["requests"] == 100


def test_an_exception_is_one_field_and_extras_are_fields(lines: Pipe) -> None:
    """Whatever they are; none can pass for what the line itself says."""
    try:
        int("two\nlines")
    except ValueError:
        lines.logger.exception("failed", extra={"user": 3, "thing": object, "level": "none", "time": 0})
    (line,) = lines.lines()
    assert line["exception"].startswith("Traceback")
    assert line["exception"].endswith("ValueError: invalid literal for int() with base 10: 'two\\nlines'")
    assert (line["user"], line["level"], line["message"]) == (3, "ERROR", "failed")
    assert "object" in line["thing"]
    assert line["time"] != 0


def test_a_message_that_does_not_fit_its_arguments_is_told_and_harms_nobody(lines: Pipe) -> None:
    """The line after it comes as ever."""
    lines.logger.info("%d", "x")
    lines.logger.info("next")
    first, second = lines.lines()
    assert "could not be written" in first["message"]
    assert second["message"] == "next"


@given(st.text(), st.text())
def test_every_text_is_one_line_of_json(message: str, value: str) -> None:
    """Also one with line ends, control characters and halves of characters."""
    line = json_line("INFO", "mine", message, 0.0, {"value": value})
    assert "\n" not in line
    assert "\r" not in line
    assert json.loads(line)["message"] == message
    assert json.loads(line)["value"] == value


def test_times_are_told_in_utc_with_milliseconds() -> None:
    """As RFC 3339 has it."""
    assert moment(1e9 + 0.0006) == "2001-09-09T01:46:40.000Z"
    assert moment(0) == "1970-01-01T00:00:00.000Z"


def test_a_model_that_fails_for_everybody_does_not_flood_the_log(lines: Pipe) -> None:
    """Each kind of the product's lines by itself; an app's own lines always pass."""
    now_s = 1.0
    lines.handler.addFilter(FloodGuard(lambda: now_s))
    product = logging.Logger("modelapp", logging.INFO)
    product.addHandler(lines.handler)
    for number in range(100):
        product.error("%s", f'model "words" raised ValueError: {number}')
        product.error("request %d failed", number)
        lines.logger.info("mine")
    told = [line["message"] for line in lines.lines()]
    assert sum("words" in message for message in told) == MOST_ALIKE
    assert sum("request" in message for message in told) == MOST_ALIKE
    assert told.count("mine") == 100
    now_s = 2.0
    for number in (100, 101):
        product.error("%s", f'model "words" raised ValueError: {number}')
    first, second = lines.lines()
    assert first["left_out"] == 100 - MOST_ALIKE
    assert "left_out" not in second


def test_as_text_the_lines_that_were_left_out_are_told_too(text: Pipe) -> None:
    """On the line that comes after them."""
    now_s = 1.0
    text.handler.addFilter(FloodGuard(lambda: now_s))
    product = logging.Logger("modelapp", logging.INFO)
    product.addHandler(text.handler)
    for _ in range(MOST_ALIKE + 3):
        product.error("alike")
    now_s = 2.0
    product.error("alike")
    assert text.read().decode().splitlines()[-1] == "alike  [3 more like it had no line]"


def test_a_reader_that_stops_reading_loses_lines_and_is_told_how_many(lines: Pipe) -> None:
    """Nobody waits for it line by line, and what does arrive is whole."""
    for number in range(3000):
        lines.logger.info("line %d %s", number, "x" * 100)
    before = lines.read().decode().splitlines()
    assert 0 < len(before) < 3000
    assert all(json.loads(line) for line in before)
    lines.logger.info("again")
    told, again = lines.lines()
    assert told["message"] == f"{3000 - len(before)} log lines were left out: nobody read them"
    assert again["message"] == "again"


def test_a_line_longer_than_a_pipe_takes_at_once_arrives_whole(lines: Pipe) -> None:
    """A traceback may be long."""
    lines.logger.info("x" * 30_000)
    assert lines.lines()[0]["message"] == "x" * 30_000


def test_a_reader_that_is_gone_is_no_error() -> None:
    """The server goes on."""
    pipe = Pipe(TextLines())
    os.close(pipe.read_fd)
    pipe.logger.info("x")
    pipe.logger.info("y")
    os.close(pipe.write_fd)


def test_printed_lines_become_log_lines_of_the_request(lines: Pipe) -> None:
    """Whole ones; each thread's pieces stay apart."""
    printed = Printed("stdout", lines.handler, sys.__stdout__)
    call = _call()

    def work() -> None:
        current.work_for((call,), print, "in", "pieces", file=printed)
        print("the other's", end=" ", file=printed, flush=True)

    print("half", end="", file=printed)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    print(" and half\n\nlast", file=printed)
    told = [(line["message"], line.get("request_id")) for line in lines.lines()]
    assert told == [("in pieces", "r0"), ("the other's ", None), ("half and half", None), ("last", None)]
    assert isinstance(printed, io.TextIOBase)


APP = """
[app]
name = "talks"

[models.m]
source = "handlers.py"
runtime = "null"
null = { inputs = { x = "float32[batch, 1]" } }

[endpoints.score]
steps = [
  { name = "row", run = "m", needs = ["x"] },
  { name = "y", run = "handlers.py:talk", needs = ["row", "secret"] },
]
access_log = "all"
input = { x = "list[float]", secret = "str" }
output = { y = "float" }

[server]
tokens_env = "TALKS_TOKENS"

[server.tokens.team]
"""
HANDLERS = """
import logging
import threading
import warnings

log = logging.getLogger("mine")
log.setLevel(logging.INFO)

def _fail():
    raise ValueError("in a thread of its own")

def talk(row, secret):
    print("printed")
    log.info("told %s", len(secret), extra={"length": len(secret)})
    warnings.warn("old")
    thread = threading.Thread(target=_fail)
    thread.start()
    thread.join()
    try:
        1 / 0
    except ZeroDivisionError:
        log.exception("caught")
    return {"y": 1.0}
"""
TOKEN, SECRET = "hush-" + "t" * 32, "planted-value"


def _talk(project: AppProject, *options: str) -> tuple[dict[str, str], str]:
    """One request, a replica that dies, and another: the headers of the answer, and all that was logged."""
    with project.serve(*options, env={"TALKS_TOKENS": f"team={TOKEN}", "PYTHONWARNINGS": "always"}) as running:
        headers = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"}
        body = json.dumps({"x": [1.0], "secret": SECRET})
        answer = running.ask("POST", "/score", body, headers)
        assert answer.status == 200, running.output
        refused = running.ask("POST", "/score", body, {**headers, "authorization": f"Bearer {TOKEN}x"})
        assert refused.status == 401
        (replica,) = _children(running.pid)
        os.kill(replica, signal.SIGKILL)
        running.wait_ready(30)
        return dict(answer.headers), running.stop().stderr


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


@pytest.mark.slow
def test_every_line_of_a_replica_and_its_parent_is_json(tmp_path: Path) -> None:
    """What handlers log, print, warn of and fail with, the access log, and the parent's notes; secrets in none."""
    project = AppProject(tmp_path / "app").write(APP, handlers=HANDLERS)
    headers, stderr = _talk(project, "--set", 'server.log_format="json"')
    assert TOKEN not in stderr
    assert SECRET not in stderr
    lines = [json.loads(line) for line in stderr.splitlines()]
    assert all({"time", "level", "logger", "message"} <= set(line) for line in lines)
    mine = [line for line in lines if line.get("request_id") == headers["x-request-id"]]
    assert all(line["release"] == headers["x-modelapp-release"] for line in mine)
    told = {(line["logger"], line["message"].split(":")[-1].strip()): line for line in mine}
    assert ("stdout", "printed") in told
    assert told["mine", "told 13"]["length"] == 13
    assert told["mine", "caught"]["exception"].endswith("ZeroDivisionError: division by zero")
    assert any("UserWarning: old" in line["message"] for line in mine if line["logger"] == "py.warnings")
    threads = [line for line in lines if "in a thread of its own" in line.get("exception", "")]
    assert {line["level"] for line in threads} == {"CRITICAL"}
    access = {line["outcome"]: line for line in lines if line["logger"] == "modelapp.access"}
    answered = access["ok"]
    assert (answered["outcome"], answered["token"], answered["rows"]) == ("ok", "team", 1)
    assert answered["request_id"] == headers["x-request-id"]
    assert access.keys() <= {"ok", "unauthorized"}  # the refusal has a line where it is the slowest so far
    assert any("replica died" in line["message"] for line in lines if line["logger"] == "modelapp")


@pytest.mark.slow
def test_as_text_each_line_is_readable_and_tells_its_request(tmp_path: Path) -> None:
    """And holds no secret either."""
    project = AppProject(tmp_path / "app").write(APP, handlers=HANDLERS)
    headers, stderr = _talk(project)
    assert TOKEN not in stderr
    assert SECRET not in stderr
    lines = stderr.splitlines()
    request = headers["x-request-id"]
    assert "printed" in lines
    assert f"told 13  [request {request}]" in lines
    assert any(line.endswith("why=all") and f"request_id={request}" in line for line in lines)
    assert any(line.startswith("replica died") for line in lines)


def test_what_a_caller_sent_cannot_pass_for_a_line_of_the_log() -> None:
    """Lines after the first are set in, and control characters shown as ?; an app's own lines stay as they are."""
    pipe = Pipe(TextLines())
    pipe.logger.name = "modelapp.edge"
    pipe.logger.error("%s", "it failed: bad\nready\x1b[31m\r")
    pipe.logger.name = "mine"
    pipe.logger.error("%s", "two\nlines")
    assert pipe.read().decode() == "it failed: bad\n  ready?[31m?\ntwo\nlines\n"

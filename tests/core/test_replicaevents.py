"""What a replica tells its parent."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelapp.replicaevents import Event, Reporter, parse


def test_what_is_told_is_read() -> None:
    """The replica's end and the parent's agree."""
    read, write = os.pipe()
    Reporter(write).tell("loaded", model="m", seconds=0.5, notes=("slow",), device="cpu")
    os.close(write)
    line = os.read(read, 4096)
    os.close(read)
    assert parse(line) == Event(kind="loaded", model="m", seconds=0.5, notes=("slow",), device="cpu")


@pytest.mark.parametrize(
    "line", [b"", b"{", b"[]", b"7", b'{"event": "sung"}', b'{"model": "m"}', b'{"event": ["ready"]}', b"\xff"]
)
def test_what_is_no_event_is_passed_over(line: bytes) -> None:
    """A newer replica may tell more than an older parent knows."""
    assert parse(line) is None


@given(st.binary(max_size=60))
def test_no_line_raises(line: bytes) -> None:
    """Whatever a replica writes, its parent lives on."""
    parse(line)


def test_facts_of_another_kind_are_left_out() -> None:
    """The event itself still counts."""
    assert parse(b'{"event": "loaded", "seconds": "1", "notes": 7}') == Event(kind="loaded")


def test_a_parent_that_is_gone_is_no_error() -> None:
    """Telling it is without effect."""
    read, write = os.pipe()
    os.close(read)
    reporter = Reporter(write)
    reporter.tell("ready")
    reporter.tell("ready")
    os.close(write)

"""W3C trace context is read as its specification says, and nothing else passes for it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.trace import INVALID_SPAN, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from modelapp.tracecontext import ids

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize("flags", ["00", "01", "ff"])
def test_the_ids_are_told_whatever_the_flags(flags: str) -> None:
    """Sampled or not, the lines of one trace should be found together."""
    assert ids(f"00-{TRACE}-{SPAN}-{flags}") == (TRACE, SPAN)


def test_a_later_version_may_say_more() -> None:
    """And version 00 may not."""
    assert ids(f"01-{TRACE}-{SPAN}-01-more") == (TRACE, SPAN)
    assert ids(f"00-{TRACE}-{SPAN}-01-more") == ("", "")


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "00",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}-01\n",
        f"00-{TRACE}x-{SPAN}-01",
    ],
)
def test_what_is_not_valid_tells_nothing(wrong: str) -> None:
    """A log line must not carry whatever a caller sent."""
    assert ids(wrong) == ("", "")


@given(st.from_regex(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-[a-z]{0,3})?", fullmatch=True))
def test_it_agrees_with_the_propagator_of_opentelemetry(traceparent: str) -> None:
    """On every text of about the right form."""
    span = get_current_span(TraceContextTextMapPropagator().extract({"traceparent": traceparent}))
    context = span.get_span_context()
    told = (f"{context.trace_id:032x}", f"{context.span_id:016x}") if span is not INVALID_SPAN else ("", "")
    assert ids(traceparent) == told

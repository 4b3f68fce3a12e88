"""W3C trace context: the ids in a `traceparent`, told in log lines also where nothing is traced."""

import re

_TRACEPARENT = re.compile(r"(?!ff)([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?").fullmatch
_NO_TRACE, _NO_SPAN = "0" * 32, "0" * 16


def ids(traceparent: str) -> tuple[str, str]:
    """Its trace id and span id, 32 and 16 hexadecimal digits; both "" where it is not valid.

    Source: W3C Trace Context, section 3.2.2; only versions after 00 may say more at the end.
    """
    found = _TRACEPARENT(traceparent)
    if found is None or (found[1] == "00" and found[4] is not None):
        return "", ""
    trace_id, span_id = found[2], found[3]
    if trace_id == _NO_TRACE or span_id == _NO_SPAN:
        return "", ""
    return trace_id, span_id

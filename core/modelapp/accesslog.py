"""The access log: a line for requests that tell something, by each endpoint's `access_log`; bodies never."""

import asyncio
import logging
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from time import time
from typing import Any, Literal, Protocol

from modelapp.app import App
from modelapp.call import Call
from modelapp.loglines import moment, trace_fields
from modelapp.observing import POLLED

log = logging.getLogger("modelapp.access")

WINDOW_S = 10.0
"""Of each such window, the slowest request is told."""
SHARE = 0.01
"""Of the requests that nothing else tells."""
MOST_A_SECOND = 20
"""Sampled lines of each outcome; what is left out is counted, and told."""
_SERVER_ERROR = 500
_TOO_MANY = 429
_TOLD = frozenset({"method", "route", "status", "outcome", "total_ms", "left_out"})
"""What a line's message tells already."""
_SAMPLED_BELOW = int(SHARE * 2**32)

Why = Literal["all", "error", "slow", "sample"]


class Serves(Protocol):
    """What is served now."""

    @property
    def app(self) -> App:
        """The app."""
        ...


Later = Callable[[float, Callable[[], None]], Any]
"""Calls a function after so many seconds, as a loop's `call_later` does."""


def _on_this_loop(seconds: float, work: Callable[[], None]) -> Any:
    return asyncio.get_running_loop().call_later(seconds, work)


class AccessLog:
    """An observer that writes the access log. `served` gives what is served now."""

    def __init__(self, served: Callable[[], Serves], *, later: Later = _on_this_loop) -> None:
        log.setLevel(logging.INFO)
        self._served = served
        self._later = later
        self._known: Serves | None = None
        self._special: Mapping[str, str] = {}
        self._window_is_open = False
        self._slowest_s = 0.0
        self._slowest: tuple[str, dict[str, Any]] | None = None
        self._second = 0
        self._written: Counter[str] = Counter()
        self._left_out: Counter[str] = Counter()

    def request_ended(self, call: Call) -> None:
        """Write its line now, keep it as the slowest so far, or let it pass."""
        served = self._served()
        if served is not self._known:
            self._learn(served)
        if self._special and (mode := self._special.get(call.endpoint)) is not None:
            if mode == "all":
                self._write(*_line(call, "all"))
            return
        if call.trusted or call.protocol in POLLED:  # what `test` and `predict` send is no traffic
            return
        slowest = call.ended_s - call.arrived_s > self._slowest_s
        why: Why | Literal[""] = ""
        if call.status >= _SERVER_ERROR or call.status == _TOO_MANY:
            why = "error"
        elif zlib.crc32(call.id.encode()) < _SAMPLED_BELOW:
            why = "sample"
        if why or slowest:
            self._consider(call, why, slowest)

    def _consider(self, call: Call, why: Why | Literal[""], slowest: bool) -> None:
        if not self._window_is_open:
            self._window_is_open = True
            self._later(WINDOW_S, self._end_window)
        written = bool(why) and self._has_room(call)
        if why and written:
            self._write(*_line(call, why))
        if slowest:
            self._slowest_s = call.ended_s - call.arrived_s
            self._slowest = None if written else _line(call, "slow")

    def _has_room(self, call: Call) -> bool:
        """Whether this second has room for another line of its outcome; if not, it is counted."""
        if (second := int(call.ended_s)) != self._second:
            self._second = second
            self._written.clear()
        self._written[call.outcome] += 1
        if self._written[call.outcome] <= MOST_A_SECOND:
            return True
        self._left_out[call.outcome] += 1
        return False

    def _end_window(self) -> None:
        self._window_is_open = False
        if self._slowest is not None:
            self._write(*self._slowest)
        self._slowest_s, self._slowest = 0.0, None
        for outcome, count in sorted(self._left_out.items()):
            self._write(
                f"{count} more requests with the outcome {outcome} have no line: at most {MOST_A_SECOND} a second have",
                {"time": moment(time()), "outcome": outcome, "left_out": count},
            )
        self._left_out.clear()

    def _write(self, message: str, fields: dict[str, Any]) -> None:
        log.info("%s", message, extra={"fields": fields, "told": _TOLD})

    def _learn(self, served: Serves) -> None:
        self._known = served
        endpoints = served.app.endpoints.values()
        self._special = {one.name: one.access_log for one in endpoints if one.access_log != "sample"}

    def close(self) -> None:
        """Write what is left."""
        self._end_window()


def _line(call: Call, why: Why) -> tuple[str, dict[str, Any]]:
    fields = facts(call, why)
    how = f"{call.status} {call.outcome or '-'} {fields['total_ms']:.3f}ms"
    return f"{call.method or call.protocol or '-'} {call.route or '-'} {how}", fields


def facts(call: Call, why: Why) -> dict[str, Any]:
    """What a line tells of a request: names, counts and times, nothing of what was asked or answered."""
    told: dict[str, Any] = {
        "time": moment(time()),
        "request_id": call.id,
        **trace_fields(call),
        "release": call.release,
        "protocol": call.protocol,
        "method": call.method,
        "route": call.route,
        "endpoint": call.endpoint,
        "model": call.model,
        "arm": call.arm,
        "token": call.token,
    }
    told = {name: value for name, value in told.items() if value}
    told |= {"outcome": call.outcome, "status": call.status, "total_ms": _ms(call.ended_s - call.arrived_s)}
    told |= {f"{name}_ms": round(ms, 3) for name, ms in call.timings_ms.items()}
    told |= {"rows": call.rows, "bytes_in": call.bytes_in, "bytes_out": call.bytes_out}
    if call.device_s or call.cpu_s:
        told |= {"device_ms": _ms(call.device_s), "cpu_ms": _ms(call.cpu_s)}
    return told | {"why": why}


def _ms(seconds: float) -> float:
    return round(seconds * 1e3, 3)

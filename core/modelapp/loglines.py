"""How a replica writes its log: lines for people, or one JSON object a line; each tells whose request it is about."""

import io
import json
import logging
import os
import select
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal, TextIO

from modelapp import current, tracecontext
from modelapp.call import Call

LogFormat = Literal["text", "json"]
MOST_IDS = 16
"""Ids of batch mates that one line tells."""
MOST_ALIKE = 20
"""Lines a second of each kind of the product's own."""
_KIND_CHARS = 80
_PIPE_BYTES = 4096  # a pipe that takes anything takes as much in one piece
_PATIENCE_MS = 250
_encode = json.JSONEncoder(ensure_ascii=False, default=str).encode
_USUAL = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "fields", "taskName", "told"}


def setup(log_format: LogFormat, fd: int = 2) -> None:
    """Send every logger's lines, from WARNING up, to `fd`; as "json", also what Python code prints."""
    handler = LineHandler(fd, JsonLines() if log_format == "json" else TextLines())
    handler.addFilter(FloodGuard())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    if log_format == "json":
        sys.stdout = Printed("stdout", handler, sys.stdout)
        sys.stderr = Printed("stderr", handler, sys.stderr)
        logging.captureWarnings(True)
        sys.excepthook = partial(_uncaught, "the process")
        threading.excepthook = lambda told: _uncaught(
            f"thread {told.thread.name if told.thread else '?'}", told.exc_type, told.exc_value, told.exc_traceback
        )


def _uncaught(where: str, kind: Any, error: Any, place: Any) -> None:
    logging.getLogger("modelapp").critical("%s failed", where, exc_info=(kind, error, place))


def json_line(level: str, logger: str, message: str, created_s: float, fields: Mapping[str, Any]) -> str:
    """One line, without its end. `created_s` is `time.time`'s; what JSON does not know of `fields` is told as text."""
    line = {"time": moment(created_s), "level": level, "logger": logger, "message": message, **fields}
    return _encode(line)


def moment(time_s: float) -> str:
    """A time of `time.time` as RFC 3339, in UTC, with milliseconds."""
    return f"{datetime.fromtimestamp(time_s, UTC).isoformat(timespec='milliseconds')[:-6]}Z"


def request_fields(calls: tuple[Call, ...]) -> dict[str, Any]:
    """What a line tells of the requests it is about: one in full, of several their ids."""
    if not calls:
        return {}
    first = calls[0]
    if len(calls) > 1:
        fields: dict[str, Any] = {"request_ids": [call.id for call in calls[:MOST_IDS]], "requests": len(calls)}
        return fields | ({"release": first.release} if first.release else {})
    fields = {"request_id": first.id, **trace_fields(first)}
    told = ("release", first.release), ("endpoint", first.endpoint), ("model", first.model), ("arm", first.arm)
    return fields | {name: value for name, value in told if value}


def trace_fields(call: Call) -> dict[str, str]:
    """Its trace, and its own span where a tracer follows it; of a request that came with a trace alone, the trace."""
    if call.traceresponse:
        trace_id, span_id = tracecontext.ids(call.traceresponse)
        return {"trace_id": trace_id, "span_id": span_id}
    trace_id, _ = tracecontext.ids(call.traceparent or call.headers.get("traceparent") or "")
    return {"trace_id": trace_id} if trace_id else {}


class TextLines(logging.Formatter):
    """The message, and whose request it is about; what an exception tells follows on lines of its own."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """The first line; of a record with fields, the time, its message, and the fields that this does not tell."""
        message = record.message
        if (fields := getattr(record, "fields", None)) is not None:
            told = {"time", *getattr(record, "told", ())}
            rest = (f"{name}={value}" for name, value in fields.items() if name not in told)
            return _printable(" ".join((fields["time"], message, *rest)))
        if record.name.startswith("modelapp"):  # an app's own lines are as it wants them
            message = _indented(message)
        if left_out := getattr(record, "left_out", 0):
            message = f"{message}  [{left_out} more like it had no line]"
        ids = [call.id for call in current.calls()]
        if not ids:
            return message
        more = f" and {len(ids) - MOST_IDS} more" if len(ids) > MOST_IDS else ""
        return f"{message}  [request{'s' if len(ids) > 1 else ''} {', '.join(ids[:MOST_IDS])}{more}]"


class JsonLines(logging.Formatter):
    """One object: time, level, logger, message, whose request it is about, what `extra` gave, and the exception."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        fields = getattr(record, "fields", None)
        told: dict[str, Any] = dict(request_fields(current.calls()) if fields is None else fields)
        for name, value in vars(record).items():
            if name not in _USUAL:
                told.setdefault(name, value)
        if record.exc_info:
            told["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            told["stack"] = record.stack_info
        if fields is None:
            told.pop("time", None)  # only who tells all may tell another time
        for taken in ("level", "logger", "message"):
            told.pop(taken, None)
        return json_line(record.levelname, record.name, record.getMessage(), record.created, told)


class FloodGuard(logging.Filter):
    """Of each kind of the product's own lines MOST_ALIKE a second pass; the next that passes tells of the others.

    A model that fails may fail for every request. What an app logs itself always passes.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._second = 0
        self._passed: Counter[str] = Counter()
        self._left_out: Counter[str] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it passes."""
        if not record.name.startswith("modelapp") or hasattr(record, "fields"):
            return True
        if (second := int(self._clock())) != self._second:
            self._second = second
            self._passed.clear()
        kind = str(record.msg)
        if kind == "%s":  # a text that was made elsewhere: what it is about stands before the colon
            kind = record.getMessage().partition(":")[0][:_KIND_CHARS]
        self._passed[kind] += 1
        if self._passed[kind] > MOST_ALIKE:
            self._left_out[kind] += 1
            return False
        if left_out := self._left_out.pop(kind, 0):
            record.left_out = left_out
        return True


class LineHandler(logging.Handler):
    """Writes lines to a file descriptor, and never waits long for whoever should read them.

    A reader that stops reading loses lines; their number is told once it reads again.
    """

    def __init__(self, fd: int, formatter: logging.Formatter) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self._fd = fd
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)
        self._left_out = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        try:
            line = self.format(record)
        except Exception as error:  # a message that does not fit its arguments
            line = self.format(_record(logging.ERROR, record.name, f"a log line could not be written: {error}"))
        if self._left_out and self._writable(0):
            told = f"{self._left_out} log lines were left out: nobody read them"
            self._left_out = 0
            self._write(self.format(_record(logging.WARNING, "modelapp", told)))
        self._write(line)

    def _writable(self, timeout_ms: int) -> bool:
        return bool(self._poll.poll(timeout_ms))

    def _write(self, line: str) -> None:
        content = line.encode("utf-8", errors="backslashreplace") + b"\n"
        try:
            for start in range(0, len(content), _PIPE_BYTES):
                if not self._writable(0 if self._left_out else _PATIENCE_MS):
                    self._left_out += 1
                    return
                os.write(self._fd, content[start : start + _PIPE_BYTES])
        except OSError:  # nobody will ever read it
            self._left_out += 1


class Printed(io.TextIOBase):
    """Stands for `sys.stdout` or `sys.stderr` where every line has to be JSON: each printed line becomes a log line."""

    encoding = "utf-8"

    def __init__(self, name: str, handler: logging.Handler, raw: TextIO) -> None:
        self.buffer = raw.buffer
        self._logger = name
        self._handler = handler
        self._raw = raw
        self._unfinished = threading.local()

    def write(self, text: str, /) -> int:
        """Keep what is no whole line yet, of each thread by itself."""
        *lines, rest = (getattr(self._unfinished, "text", "") + text).split("\n")
        self._unfinished.text = rest
        for line in lines:
            self._tell(line)
        return len(text)

    def flush(self) -> None:
        """Write what is there."""
        rest, self._unfinished.text = getattr(self._unfinished, "text", ""), ""
        self._tell(rest)

    def _tell(self, line: str) -> None:
        if line:
            # Past the loggers: a handler of the app's own may write to this very stream.
            self._handler.handle(_record(logging.INFO, self._logger, line))

    def writable(self) -> bool:
        """It is."""
        return True

    def fileno(self) -> int:
        """Of the stream it stands for: what is written there by others stays as it is."""
        return self._raw.fileno()


def _printable(line: str) -> str:
    """A caller chooses its request id and the names of models: no character may end the line or move the cursor."""
    return line if line.isprintable() else "".join(char if char.isprintable() else "?" for char in line)


def _indented(message: str) -> str:
    """What a model or a function said of its failure may hold what a caller sent: it must not pass for a line of its
    own, nor move the cursor.
    """
    return message if message.isprintable() else "\n  ".join(map(_printable, message.split("\n")))


def _record(level: int, logger: str, message: str) -> logging.LogRecord:
    return logging.LogRecord(logger, level, "", 0, message, None, None)

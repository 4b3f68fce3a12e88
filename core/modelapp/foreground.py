"""The parent of a replica: binds the socket, starts the replica, watches it, replaces it when it dies, stops it."""

import contextlib
import os
import queue
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator

import attrs

from modelapp import listener, tls
from modelapp.errors import HandlerError, LoadError, SurroundingsError
from modelapp.launch import Launch
from modelapp.lifeline import Lifeline
from modelapp.pulse import Pulse
from modelapp.replicaevents import Event
from modelapp.replicaprocess import ReplicaProcess, how_it_ended

_STOP_MARGIN_S = 5.0
"""How long past drain_s a stopping replica is waited for before it is killed."""
_FIRST_BACKOFF_S = 0.1
_GONE = b'{"error":{"code":"not_ready","message":"the app has stopped","field":null}}'
_CLOSED = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\nconnection: close\r\n"
    b"content-length: %d\r\n\r\n%s" % (len(_GONE), _GONE)
)
"""What callers get who had connected when nobody was there any more to hear them."""


@attrs.frozen
class Patience:
    """How many deaths within how many seconds end it all, and the longest wait before a replacement."""

    deaths: int = 3
    within_s: float = 60.0
    longest_backoff_s: float = 5.0


def _to_stderr(content: bytes) -> None:
    with contextlib.suppress(OSError):
        os.write(2, content)


class Foreground:
    """One replica under watch. Use as a context manager; `address` None is the app's own. `stop_signal` SIGTERM drains
    with a time for other clients to leave, SIGINT without.

    `note` is told in words what happens to the replica, `output` gets what it prints; both are called on the watching
    thread. Raises PortInUseError and SurroundingsError where it cannot listen.
    """

    def __init__(
        self,
        launch: Launch,
        *,
        address: tuple[str, int] | None = None,
        note: Callable[[str], None] = print,
        output: Callable[[bytes], None] = _to_stderr,
        patience: Patience | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        server = launch.app.server
        tls.check(launch.app)
        self._socket = listener.listen(*(address or (server.host, server.port)))
        self._socket.set_inheritable(True)
        self.url = listener.url(self._socket, "https" if server.tls_cert else "http")
        self.token = launch.token
        self.drain_s = server.drain_s
        """How long the replica drains, which a change that it took over may alter."""
        self.cut_short = False
        """Whether a second stop ended the replica before it had drained."""
        self._launch = launch
        self._note = note
        self._output = output
        self._patience = patience or Patience()
        self._stop_signal = stop_signal
        self._lifeline = Lifeline(server.drain_s + _STOP_MARGIN_S)
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        self._queue: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self.failure: Exception | None = None
        """Why it ended, where nobody asked it to."""
        self._stops = 0
        self._reloads = 0
        self._listens = False
        """Whether the replica has told anything yet: before that a SIGHUP would end it."""
        self._kill_at_s: float | None = None
        self._ready = False
        self._pulse = Pulse()
        self._release = ""
        self._failed: Event | None = None
        self._deaths: deque[float] = deque()
        self._thread = threading.Thread(target=self._watch, name="replica-watch", daemon=True)

    def __enter__(self) -> "Foreground":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._thread.join()
        self._lifeline.close()
        self._socket.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def stop(self) -> None:
        """Ask the replica to drain and end; asked again, end it at once. May be called from a signal handler."""
        with contextlib.suppress(OSError):
            os.write(self._wake_write, b"s")

    def reload(self) -> None:
        """Ask the replica to take changed files over; it answers with an event. May be called from any thread."""
        with contextlib.suppress(OSError):
            os.write(self._wake_write, b"r")

    def events(self) -> Iterator[Event]:
        """What the replica reports, until it has ended for good. Raises LoadError or SurroundingsError if it failed."""
        while (event := self._queue.get()) is not None:
            yield event
        if self.failure is not None:
            raise self.failure

    def wait_ready(self) -> Event:
        """Wait until the replica takes requests. Raises LoadError or SurroundingsError where it never will."""
        for event in self.events():
            if event.kind == "ready":
                return event
        raise SurroundingsError("the replica was stopped before it was ready")

    def _watch(self) -> None:
        try:
            backoff_s = _FIRST_BACKOFF_S
            while self._one_life():
                self._pause(min(backoff_s * 4 ** (len(self._deaths) - 1), self._patience.longest_backoff_s))
                if self._stops:
                    break
        except Exception as error:  # raised again where the events are read
            self.failure = error
        finally:
            # Else callers would wait for an answer that cannot come.
            listener.turn_away(self._socket, b"" if self._launch.app.server.tls_cert else _CLOSED)
            self._queue.put(None)

    def _one_life(self) -> bool:
        """Start a replica and follow it to its end. Whether another should be started."""
        self._ready, self._listens, self._failed = False, False, None
        self._pulse = Pulse()
        process = ReplicaProcess(self._launch, self._socket.fileno(), self._lifeline, self._output)
        try:
            status = self._follow(process)
        finally:
            process.close()
        if self._stops:
            return False
        return self._judge(status, process)

    def _follow(self, process: ReplicaProcess) -> int:
        while True:
            events, status = process.wait(self._wake_read, self._wait_s())
            for event in events:
                self._take(event)
            self._tell(self._pulse.look(time.monotonic()))
            if status is not None:
                return status
            self._heed_stop(process)
            if self._reloads and self._listens:
                self._reloads = 0
                process.signal(signal.SIGHUP)

    def _wait_s(self) -> float | None:
        """How long nothing needs to be looked at unless there is news."""
        now_s = time.monotonic()
        kill_s = None if self._kill_at_s is None else max(0.0, self._kill_at_s - now_s)
        return min((found for found in (kill_s, self._pulse.wait_s(now_s)) if found is not None), default=None)

    def _tell(self, words: str) -> None:
        if words:
            self._note(words)

    def _heed_stop(self, process: ReplicaProcess) -> None:
        asked = self._read_wakes()
        if asked and not self._stops:
            self._kill_at_s = time.monotonic() + self.drain_s + _STOP_MARGIN_S
            process.signal(self._stop_signal)
        self._stops += asked
        if self._stops > 1:
            self.cut_short = True
            process.signal(signal.SIGKILL)
        elif self._kill_at_s is not None and time.monotonic() >= self._kill_at_s:
            self._kill_at_s = None
            self.failure = SurroundingsError("the replica did not end when its time to drain was over, and was killed")
            process.signal(signal.SIGKILL)

    def _read_wakes(self) -> int:
        """How often a stop was asked for; a reload is kept in mind."""
        try:
            asked = os.read(self._wake_read, 64)
        except BlockingIOError:
            return 0
        self._reloads += asked.count(b"r")
        return asked.count(b"s")

    def _take(self, event: Event) -> None:
        self._listens = True
        if event.kind == "beat":
            self._tell(self._pulse.beat(time.monotonic()))
            return
        if event.kind == "ready":
            self._ready, self._failed = True, None
            if self._release and event.release != self._release:
                self._note(f"the app's files have changed: it now serves release {event.release}")
            self._release = event.release
        elif event.kind == "reloaded":
            self._release = event.release
        elif event.kind == "failed":  # the last one ends it; a model that may fail alone came before
            self._failed = event
            if self._ready and not event.required:
                self._note(f"{event.reason}; the app serves without it")
        self._queue.put(event)

    def _judge(self, status: int, process: ReplicaProcess) -> bool:
        """What to do about a death that nobody asked for."""
        words = how_it_ended(status)
        if self._ready and self._failed is not None and self._failed.required:
            words = f"{self._failed.reason} ({words})"
        if not self._ready:
            self.failure = self._start_failure(words, process)
            return False
        now = time.monotonic()
        self._deaths.append(now)
        while self._deaths and now - self._deaths[0] > self._patience.within_s:
            self._deaths.popleft()
        if len(self._deaths) >= self._patience.deaths:
            message = f"the replica died {len(self._deaths)} times in {self._patience.within_s:g} s, last: {words}"
            self.failure = SurroundingsError(message + _last_words(process))
            return False
        self._note(f"replica died: {words}; starting another")
        return True

    def _start_failure(self, words: str, process: ReplicaProcess) -> SurroundingsError:
        failed = self._failed
        if failed is not None and failed.place:
            return HandlerError(failed.reason, place=failed.place, help=failed.help)
        if failed is not None:
            return LoadError(failed.reason or "a model did not load", model=failed.model, help=failed.help)
        return SurroundingsError(f"replica died before it was ready: {words}" + _last_words(process))

    def _pause(self, seconds: float) -> None:
        """Wait before a replacement; a stop ends the wait."""
        until = time.monotonic() + seconds
        while not self._stops and time.monotonic() < until:
            time.sleep(0.02)
            self._stops += self._read_wakes()


def _last_words(process: ReplicaProcess) -> str:
    if not process.last_lines:
        return ""
    return "\nthe last lines it wrote:\n" + "\n".join(f"  {line}" for line in process.last_lines)

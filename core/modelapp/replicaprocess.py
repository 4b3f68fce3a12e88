"""One replica's process as its parent holds it: its pipes, its last words, and how it ended."""

import contextlib
import os
import selectors
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable

from modelapp.launch import Launch
from modelapp.lifeline import Lifeline
from modelapp.replicaevents import Event, parse

_POLL_S = 0.1  # where the kernel cannot announce a process's end
_LAST_LINES = 12


class ReplicaProcess:
    """A started replica. All methods but `signal` belong to the one thread that watches it.

    The kernel ends a child when the thread that started it ends, so that thread must stay until the child is gone.
    """

    def __init__(self, launch: Launch, listen_fd: int, lifeline: Lifeline, output: Callable[[bytes], None]) -> None:
        self.last_lines: deque[str] = deque(maxlen=_LAST_LINES)
        self._output = output
        self._pending = b""
        self._events, events_fd = os.pipe()
        self._words, words_fd = os.pipe()
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", **launch.environment, **lifeline.environment()}
        try:
            self._process = subprocess.Popen(  # noqa: S603 - this Python, with words of our own
                launch.command(listen_fd, events_fd),
                stdin=subprocess.DEVNULL,
                stdout=words_fd,  # what handlers print must not mix with the results on our standard output
                stderr=words_fd,
                env=environment,
                cwd=launch.app.root,
                pass_fds=(listen_fd, events_fd, lifeline.fd),
                process_group=0,  # Ctrl-C goes to the parent alone, which asks the replica to drain
            )
        finally:
            os.close(events_fd)
            os.close(words_fd)
        for fd in (self._events, self._words):
            os.set_blocking(fd, False)
        self._pidfd = os.pidfd_open(self._process.pid) if sys.platform == "linux" else -1

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; without effect once it has ended."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    def wait(self, wake_fd: int, timeout_s: float | None) -> tuple[list[Event], int | None]:
        """Wait for news: events, the exit status once it has ended, or a byte on `wake_fd`, which is left unread."""
        with selectors.DefaultSelector() as selector:
            for fd in (self._events, self._words, wake_fd, self._pidfd):
                if fd >= 0:
                    selector.register(fd, selectors.EVENT_READ)
            if self._pidfd < 0:
                timeout_s = min(_POLL_S, timeout_s if timeout_s is not None else _POLL_S)
            selector.select(timeout_s)
        self._end_its_children()
        status = self._process.poll()
        self._forward()
        return self._read_events(), status

    def _end_its_children(self) -> None:
        """Once it is dead, end what its code has started: they are in its process group, unless they left that.

        Before its status is taken: until then its number, which is the group's, belongs to nobody else.
        """
        with contextlib.suppress(OSError):
            if os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                os.killpg(self._process.pid, signal.SIGKILL)

    def _forward(self) -> None:
        content = self._take("_words")
        if content:
            self._output(content)
            self.last_lines.extend(content.decode("utf-8", errors="replace").splitlines())

    def _read_events(self) -> list[Event]:
        *lines, self._pending = (self._pending + self._take("_events")).split(b"\n")
        return [event for event in map(parse, lines) if event is not None]

    def _take(self, name: str) -> bytes:
        """All that is there to read; closes the pipe at its end."""
        content = b""
        while (fd := getattr(self, name)) >= 0:
            try:
                chunk = os.read(fd, 65536)
            except BlockingIOError:
                break
            if not chunk:
                os.close(fd)
                setattr(self, name, -1)
            content += chunk
        return content

    def close(self) -> None:
        """Release what the parent holds of a process that has ended."""
        for fd in (self._events, self._words, self._pidfd):
            if fd >= 0:
                os.close(fd)
        self._events = self._words = self._pidfd = -1


def how_it_ended(status: int) -> str:
    """An exit status in words: "SIGSEGV (-11)" or "exit status 3"."""
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"{signal.Signals(-status).name} ({status})"
    except ValueError:
        return f"signal {-status}"

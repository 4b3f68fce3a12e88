"""`modelapp run`: serve the app in the foreground."""

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from modelapp import listener, running
from modelapp.cli.console import Console
from modelapp.cli.failure import INTERRUPTED
from modelapp.cli.locked import verify
from modelapp.cli.opening import Opened, open_app, tell_warnings
from modelapp.cli.screen import Screen
from modelapp.foreground import Foreground
from modelapp.launch import prepare

if TYPE_CHECKING:
    from modelapp.cli.watch import Watch


def run(options: argparse.Namespace, console: Console) -> int:
    """Serve until a signal comes. The first lets the requests in progress end, a second does not."""
    opened = open_app(options, console)
    console.log_json = opened.app.server.log_format == "json"
    verify(opened, options, console)
    app = opened.app
    tell_warnings(opened.reading, console)
    launch = prepare(app, opened.plugins.runtimes, opened.overrides, profile=opened.profile)
    if not (app.server.tokens_env or listener.is_loopback(app.server.host)):
        console.note(f"warning: whoever reaches {app.server.host} may call this app: [server] tokens_env is not set")
    watch: Watch | None = None
    with Foreground(launch, note=console.note) as foreground, _stopped_by_signals(foreground):
        console.result(f"app {app.name}   {app.path}")
        for one in opened.reading.loosened:
            console.result(f"loosened: {one}")
        screen = Screen(opened, foreground, console)
        watch = _watch(opened, foreground, options, console)
        try:
            for event in foreground.events():
                screen.show(event)
                if watch is None:
                    screen.show_reload(event)
                elif (anew := watch.heed(event)) is not None:
                    screen.adopt(anew)
        finally:
            running.clear(app.root)
            if watch is not None:
                watch.close()
    if watch is not None and watch.restart:
        start_again()
    return INTERRUPTED if foreground.cut_short else 0


def _watch(opened: Opened, foreground: Foreground, options: argparse.Namespace, console: Console) -> "Watch | None":
    if not options.watch:
        return None
    from modelapp.cli.watch import Watch

    return Watch(opened, foreground, options, console)


def start_again() -> None:
    """Become this very command once more."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - this very command


@contextlib.contextmanager
def _stopped_by_signals(foreground: Foreground) -> Iterator[None]:
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup has it ignored
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, lambda *_: foreground.stop()) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

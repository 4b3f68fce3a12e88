"""A replica that answers, for the verbs that call one: the running app, or one of their own."""

import contextlib
import signal
from collections.abc import Iterator

import attrs

from modelapp import running, tls
from modelapp.cli.console import Console
from modelapp.cli.opening import Opened
from modelapp.client import Client, ConnectionLost
from modelapp.errors import AppFileError, UsageError
from modelapp.foreground import Foreground
from modelapp.launch import prepare
from modelapp.loader import load_app
from modelapp.release import release_id
from modelapp.testchecks import UNPROVEN


@attrs.frozen
class Replica:
    """A replica that answers. `shown_url` is where `modelapp run` serves, for commands that people repeat later."""

    url: str
    token: str
    release: str
    shown_url: str


@contextlib.contextmanager
def replica(opened: Opened, console: Console, *, same_release: bool) -> Iterator[Replica]:
    """The running app of this folder, else a replica of its own for as long as the context lasts.

    With `same_release` a running app that serves another release than these files are is left alone.
    """
    found = _running(opened, console, same_release=same_release)
    if found is not None:
        yield Replica(found.url, found.token, found.release, found.url)
        return
    server = opened.app.server
    scheme = "https" if server.tls_cert else "http"
    launch = prepare(opened.app, opened.plugins.runtimes, opened.overrides, profile=opened.profile)
    with Foreground(launch, address=("127.0.0.1", 0), note=console.note, stop_signal=signal.SIGINT) as foreground:
        ready = _wait_ready(foreground, console)
        yield Replica(foreground.url, foreground.token, ready, f"{scheme}://{server.host}:{server.port}")
        if foreground.failure is not None:
            console.error(str(foreground.failure))


def _running(opened: Opened, console: Console, *, same_release: bool) -> running.Running | None:
    found = running.find(opened.app.root)
    if found is None:
        return None
    # A caller that asks for the running app asks with that app's options; a test's verdict is about these files.
    release = release_id(opened.app) if same_release else _release(opened, found)
    same = found.release == release
    if same_release and not same:
        console.detail(f"the running app (pid {found.pid}) serves release {found.release}, these files are {release}")
        return None
    try:
        with Client(found.url, certificate=tls.certificate(opened.app)) as client:
            client.request("GET", "/livez", timeout_s=1)
    except ConnectionLost:
        return None
    console.note(f"using the running app (pid {found.pid})")
    if not same:
        console.note(f"note: it serves release {found.release}, but the files have changed: restart it to see that")
    return found


def _release(opened: Opened, found: running.Running) -> str:
    """The release these files are with the running app's options; "" where they have become invalid with them."""
    if (found.profile, found.overrides) == (opened.profile, opened.overrides):
        return release_id(opened.app)
    try:
        app = load_app(
            opened.app.path, opened.plugins, profile=found.profile, overrides=found.overrides, spare=UNPROVEN
        )
    except (AppFileError, UsageError):
        return ""
    return release_id(app)


def _wait_ready(foreground: Foreground, console: Console) -> str:
    for event in foreground.events():
        if event.kind == "ready":
            return event.release
        if event.kind == "loaded":
            console.detail(f"model {event.model} loaded in {event.seconds:.2f} s")
        for note in event.notes:
            console.note(f"note: {event.model}: {note}")
    raise KeyboardInterrupt  # it was stopped before it was ready, which only a signal does

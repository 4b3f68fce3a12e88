"""What `modelapp run` shows of the replica's life."""

import os

import attrs

from modelapp import running
from modelapp.app import App, AppTest
from modelapp.cli.console import Console
from modelapp.cli.opening import Opened
from modelapp.foreground import Foreground
from modelapp.masking import masked
from modelapp.payload import curl
from modelapp.replicaevents import Event


class Screen:
    """Shows what the replica reports. The result is the app as it became ready first; what follows are notes."""

    def __init__(self, opened: Opened, foreground: Foreground, console: Console) -> None:
        self._app = opened.app
        self._loosened = opened.reading.loosened
        self._overrides, self._profile = opened.overrides, opened.profile
        self._foreground = foreground
        self._console = console
        self._loaded: list[Event] = []
        self._failed: list[Event] = []
        self._was_ready = False

    def show(self, event: Event) -> None:
        """Show one event."""
        if event.kind == "loading":
            self._console.detail(f"model {event.model}   loading")
        elif event.kind == "loaded":
            self._show_loaded(event)
        elif event.kind == "failed":
            self._failed.append(event)  # the replica says so itself, and ends where it cannot do without
        elif event.kind == "ready":
            self._show_ready(event)
        elif event.kind == "reloaded":
            self._record(event)
        elif event.kind == "unloaded":
            self._console.note(f"model {event.model}   unloaded")
        elif event.kind == "draining":
            self._console.note(f"draining: requests in progress have up to {self._app.server.drain_s:g} s")
        elif event.kind == "stopped":
            self._console.note("stopped")

    def show_reload(self, event: Event) -> None:
        """Show what came of a SIGHUP that somebody sent the replica, where nobody watches the files."""
        if event.kind == "reloaded":
            self._console.note(f"reloaded: release {event.release}; {'; '.join(event.notes)}")
        elif event.kind == "unchanged":
            self._console.note("reloaded: nothing has changed that an answer could tell")
        elif event.kind == "restart":
            self._console.note(f"not reloaded: start the command again for {event.reason}")
        elif event.kind == "kept":
            self._console.error(f"not reloaded, the running app stays\n{event.reason}")

    def adopt(self, opened: Opened) -> None:
        """The app has been read anew."""
        self._app, self._loosened = opened.app, opened.reading.loosened

    def _record(self, event: Event) -> None:
        """Keep where the app answers, and which release, for other commands."""
        foreground = self._foreground
        record = running.record(foreground.url, event.release, foreground.token, self._overrides, self._profile)
        if note := running.write(self._app.root, record):
            self._console.note(f"note: {note}")

    def _show_loaded(self, event: Event) -> None:
        self._loaded = [loaded for loaded in self._loaded if loaded.model != event.model] + [event]
        line = f"model {event.model}   {self._runtime(event)} {self._device(event)}   loaded {event.seconds:.2f} s"
        (self._console.note if self._was_ready else self._console.result)(line)
        for note in event.notes:
            self._console.note(f"  note: {note}")

    def _runtime(self, event: Event) -> str:
        model = self._app.models.get(event.model)
        return event.runtime or (model.runtime if model else "?")

    def _device(self, event: Event) -> str:
        model = self._app.models.get(event.model)
        return event.device or (model.device if model else "?")

    def _show_ready(self, event: Event) -> None:
        foreground = self._foreground
        self._record(event)
        if self._was_ready:
            self._console.note("ready again")
            return
        self._was_ready = True
        if self._console.json:
            self._console.document(self._document(event))
        self._console.result(f"serving {foreground.url}   every route: {foreground.url}/openapi.json")
        for address in event.servers:
            self._console.result(f"serving {address}")
        for endpoint in self._app.endpoints.values():
            self._console.result(f"POST {foreground.url}{endpoint.route}")
        if command := example(self._app, foreground.url):
            self._console.result(f"try: {command}")
        self._console.result(f"ready   release {event.release}")

    def _document(self, event: Event) -> dict[str, object]:
        url = self._foreground.url
        models = [
            {
                "name": loaded.model,
                "runtime": self._runtime(loaded),
                "device": self._device(loaded),
                "seconds": loaded.seconds,
                "notes": list(loaded.notes),
                "error": loaded.reason,
            }
            for loaded in (*self._loaded, *self._failed)
        ]
        endpoints = [
            {"name": endpoint.name, "method": "POST", "url": url + endpoint.route}
            for endpoint in self._app.endpoints.values()
        ]
        return {
            "app": self._app.name,
            "release": event.release,
            "url": url,
            "servers": list(event.servers),
            "pid": os.getpid(),
            "models": models,
            "endpoints": endpoints,
            "loosened": [attrs.asdict(one) for one in self._loosened],
            "try": example(self._app, url),
        }


def example(app: App, url: str) -> str:
    """A call that works: the input of the first test that expects an answer, as a curl command; "" without one."""
    test: AppTest | None = next((test for test in app.tests if test.input and test.expect_error is None), None)
    if test is None:
        return ""
    endpoint = app.endpoint_of(test)
    return curl(url, endpoint, masked(endpoint.input, test.input), app.root, app.server)

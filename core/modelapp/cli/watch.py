"""`modelapp run --watch`: changed files are taken over while the app serves, and its tests tell what they did to it."""

import argparse
import threading
import time
from collections.abc import Iterable, Mapping, Sequence

import attrs

from modelapp import listener, tls
from modelapp.app import App, AppTest
from modelapp.cli.console import Console
from modelapp.cli.opening import Opened, open_app
from modelapp.cli.outcomes import Reporter
from modelapp.client import Client
from modelapp.errors import ModelAppError
from modelapp.foreground import Foreground
from modelapp.launch import TOKEN_VARIABLE, prepare
from modelapp.naming import named
from modelapp.replicaevents import Event
from modelapp.testrun import run_tests
from modelapp.verdicts import Outcome, summary
from modelapp.watching import changes


class Watch:
    """Watches the app's folder. Events of the replica are handed to `heed`, on the thread that shows them."""

    def __init__(self, opened: Opened, foreground: Foreground, options: argparse.Namespace, console: Console) -> None:
        self.restart = False
        """Whether the command is to begin again once the app has stopped."""
        self._opened = opened
        self._foreground = foreground
        self._options = options
        self._console = console
        self._variables = variables(opened)
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._changed: set[str] = set()
        self._was_ready = False
        self._broken = False
        """Whether the files are not what is served, because they cannot be."""
        self._thread = threading.Thread(target=self._look, name="watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Look no more."""
        self._stop.set()
        self._thread.join()

    def heed(self, event: Event) -> Opened | None:
        """Say what an event means, and run the tests it calls for. The app where it has been read anew, else None."""
        if event.kind == "ready" and not self._was_ready:
            self._was_ready = True
            self._console.note("watching the folder of app.toml")
            self._prove(self._opened.app.tests)
        elif event.kind == "kept":
            self._stay(event, event.reason)
        elif event.kind == "restart":
            self._begin_again(event)
        elif event.kind in ("reloaded", "unchanged"):
            return self._take_over(event)
        return None

    def _look(self) -> None:
        try:
            for names in changes(self._opened.app.root, self._stop):
                if mine := {name for name in names if belongs(name, self._opened.app)}:
                    with self._lock:
                        self._changed |= mine
                    self._foreground.reload()
        except OSError as error:
            self._console.error(f"error: the folder cannot be watched: {error}; changes are not taken over")

    def _taken(self) -> set[str]:
        """What has changed since it was last asked."""
        with self._lock:
            names, self._changed = self._changed, set()
        return names

    def _say(self, what: str, event: Event, names: Iterable[str] | None = None) -> None:
        files = ", ".join(sorted(self._taken() if names is None else names)) or "the files"
        took = f"   {event.seconds:.2f} s" if event.seconds else ""
        self._console.note(f"{time.strftime('%H:%M:%S')} {files} changed: {what}{took}")

    def _stay(self, event: Event, reason: str, names: Iterable[str] | None = None) -> None:
        """Say why the files are not what is served."""
        self._broken = True
        self._say("the running app stays", event, names)
        self._console.error(reason)

    def _take_over(self, event: Event) -> Opened | None:
        names, mended = self._taken(), self._broken
        before = self._opened.app.tests
        try:
            self._opened = open_app(self._options, self._console)
        except ModelAppError as error:  # a test that checks nothing, say, which a replica does not mind
            self._stay(event, str(error), names)
            return None
        self._broken = False
        if lacks := self._lacks():
            self._begin_again(attrs.evolve(event, reason=lacks), names)
            return None
        tests = self._opened.app.tests
        if event.kind == "reloaded":
            self._say("; ".join(event.notes) or "routes swapped, models kept", event, names)
            self._foreground.drain_s = self._opened.app.server.drain_s
            self._tell_variables()
        else:
            tests = tuple(test for test in tests if has_changed(test, before, names))
            if tests:
                self._say("tests run again, models kept", event, names)
            elif mended:
                self._say("the files are again what is served", event, names)
        self._prove(tests)
        return self._opened

    def _tell_variables(self) -> None:
        """What native libraries have read for good, such as their threads, and would read otherwise now."""
        for name, value in variables(self._opened).items():
            if (before := self._variables.get(name, "")) != value:
                self._console.note(f"note: {name} is {value or 'unset'} after a restart, and {before or 'unset'} now")

    def _prove(self, tests: Sequence[AppTest]) -> None:
        """Run tests against the app as it serves; those that fail are shown, and change nothing."""
        if not tests:
            return
        opened, foreground = self._opened, self._foreground
        reporter = Reporter(opened, foreground.url, self._console, max(len(test.name) for test in tests))
        outcomes: list[Outcome] = []
        with Client(
            foreground.url, foreground.token, root=opened.app.root, certificate=tls.certificate(opened.app)
        ) as client:
            try:
                for outcome in run_tests(opened.app, client, tests):
                    outcomes.append(outcome)
                    if outcome.verdict != "pass":
                        reporter.show(outcome)
            except ModelAppError as error:
                self._console.error(f"error: {error}")
        self._console.note(f"tests: {summary(outcomes)}")

    def _begin_again(self, event: Event, names: Iterable[str] | None = None) -> None:
        """What only a new process can obey: make sure that it can start, then let this one end."""
        self._say(f"a new process is needed: {event.reason}", event, names)
        try:
            opened = open_app(self._options, self._console)
            self._build_environment()
            before, now = self._opened.app.server, opened.app.server
            if (before.host, before.port) != (now.host, now.port):
                # A port that stays is held by this very app, on its old host perhaps.
                listener.listen(now.host, 0 if now.port == before.port else now.port).close()
        except ModelAppError as error:
            self._broken = True
            self._console.error(f"error: {error}\nthe running app stays")
            return
        self.restart = True
        self._foreground.stop()

    def _lacks(self) -> str:
        """Why this is not the environment of the app any more; "" where it is."""
        file = self._opened.app.app.requirements
        if not file:
            return ""
        from modelapp import environments
        from modelapp.cli.environment import requested

        request = requested(self._options)
        return "" if request is None or environments.is_inside(request) else f"{file} asks for another environment"

    def _build_environment(self) -> None:
        from modelapp.cli.environment import requested

        request = requested(self._options)
        if request is None:
            return
        from modelapp import environmentbuild, environments

        environment = environments.of(request)
        if not environment.is_built:
            environmentbuild.build(environment, self._console.note)


def variables(opened: Opened) -> Mapping[str, str]:
    """What a replica of the app would be started with in its environment, but for the token."""
    launch = prepare(opened.app, opened.plugins.runtimes, opened.overrides, profile=opened.profile)
    return {name: value for name, value in launch.environment.items() if name != TOKEN_VARIABLE}


def belongs(name: str, app: App) -> bool:
    """Whether a file is one of the app's: app.toml, its code, or what app.toml names. Logs and outputs are not."""
    if name == app.path.name or name.endswith(".py"):
        return True
    named_files = {one.source for one in named(app)} | {test.expect_file for test in app.tests}
    return any(name == file or name.startswith(f"{file}/") for file in named_files if file)


def has_changed(test: AppTest, before: Sequence[AppTest], names: Iterable[str]) -> bool:
    """Whether a test, or a file it reads, is not as it was. Where it stands in app.toml does not matter."""
    files = {test.cases, test.expect_file, *(value for value in test.input.values() if isinstance(value, str))}
    was = next((attrs.evolve(one, line=test.line) for one in before if one.name == test.name), None)
    return was != test or not files.isdisjoint(names)

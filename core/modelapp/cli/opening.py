"""What most verbs begin with: the plugins and app.toml."""

import argparse
import shlex

import attrs

from modelapp.app import App
from modelapp.cli.console import Console
from modelapp.cli.parser import FILE as FILE
from modelapp.loader import Reading, Spare, read_app
from modelapp.plugins import Plugins


@attrs.frozen
class Opened:
    """The app a command is about. `prefix` is how the user would begin another command about it."""

    reading: Reading
    plugins: Plugins
    overrides: tuple[str, ...]
    prefix: str

    @property
    def app(self) -> App:
        """The app as it was read."""
        return self.reading.app

    @property
    def profile(self) -> str:
        """The profile that is laid over app.toml, "" for none."""
        return self.reading.profile


def open_app(options: argparse.Namespace, console: Console, *, spare: Spare = ()) -> Opened:
    """Read the app of `-C`; problems whose code is in `spare` are let pass. Raises AppFileError and PluginError."""
    plugins = Plugins.load(warn=console.verbosity >= 0)
    reading = read_app(
        options.directory / FILE, plugins, profile=options.profile, overrides=options.overrides, spare=spare
    )
    return Opened(reading, plugins, tuple(options.overrides), prefix(options))


def tell_warnings(reading: Reading, console: Console) -> None:
    """Name in one line each what app.toml says to no effect, so that nobody relies on it."""
    for notice in reading.notices:
        if notice.severity == "warning":
            console.note(notice.brief())


def prefix(options: argparse.Namespace) -> str:
    """ "modelapp", with the options that a repeated command needs."""
    words = ["modelapp"]
    if str(options.directory) != ".":
        words += ["-C", str(options.directory)]
    if options.profile:
        words += ["--profile", options.profile]
    for override in options.overrides:
        words += ["--set", override]
    return shlex.join(words)

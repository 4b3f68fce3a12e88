"""`modelapp alerts`: Prometheus alert rules for what [guarantees] promises."""

import argparse

import attrs

from modelapp.alerts import FILE, alerts, rules
from modelapp.cli.console import Console
from modelapp.cli.opening import open_app
from modelapp.errors import SurroundingsError
from modelapp.problems import shown
from modelapp.writeback import replace_file


def run(options: argparse.Namespace, console: Console) -> int:
    """Print the rules, or put them beside app.toml."""
    app, path = open_app(options, console).app, options.directory / FILE
    text, found = rules(app), [attrs.asdict(alert) for alert in alerts(app)]
    if not found:
        console.note("note: app.toml has no [guarantees.latency], and only that can be watched from outside")
    if not options.write:
        if console.json:
            console.document({"rules": text, "alerts": found})
        console.result(text.rstrip("\n"))
        return 0
    content = text.encode()
    try:
        written = not path.is_file() or path.read_bytes() != content
        if written:
            replace_file(path, content)
    except OSError as error:
        raise SurroundingsError(f"{shown(path)} cannot be written: {error.strerror}") from None
    if console.json:
        console.document({"file": shown(path), "written": written, "alerts": found})
    console.result(f"{shown(path)}: {'written' if written else 'unchanged'}")
    return 0

"""`modelapp schema`: the JSON Schema of app.toml, which editors complete and check by."""

import argparse

from modelapp.appschema import DIRECTIVE, FILE, app_schema, schema_document
from modelapp.cli.console import Console
from modelapp.cli.opening import FILE as APP_FILE
from modelapp.errors import SurroundingsError
from modelapp.loader import read_data
from modelapp.mentions import mentioned
from modelapp.plugins import Plugins
from modelapp.problems import shown
from modelapp.writeback import replace_file


def run(options: argparse.Namespace, console: Console) -> int:
    """Print the schema, or put it beside app.toml."""
    plugins = Plugins.load(warn=console.verbosity >= 0)
    app_file, path = options.directory / APP_FILE, options.directory / FILE
    # What app.toml chooses counts; without one this is the schema of whatever may be written here.
    document, data = read_data(app_file) if options.write or app_file.is_file() else (None, {})
    if not options.write:
        if console.json:
            console.document({"schema": app_schema(plugins, mentioned(data))})
        console.result(schema_document(plugins, mentioned(data)).rstrip("\n"))
        return 0
    content = schema_document(plugins, mentioned(data)).encode()
    try:
        written = not path.is_file() or path.read_bytes() != content
        if written:
            replace_file(path, content)
    except OSError as error:
        raise SurroundingsError(f"{shown(path)} cannot be written: {error.strerror}") from None
    if console.json:
        console.document({"file": shown(path), "written": written})
    console.result(f"{shown(path)}: {'written' if written else 'unchanged'}")
    if document is not None and "#:schema" not in document.text:
        console.note(f"note: editors find it by a line at the top of app.toml: {DIRECTIVE}")
    return 0

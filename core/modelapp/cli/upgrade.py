"""`modelapp upgrade`: app.toml in the newest format."""

import argparse

import attrs

from modelapp import upgrade
from modelapp.app import SCHEMA_VERSION
from modelapp.cli.console import Console
from modelapp.cli.opening import FILE, prefix
from modelapp.document import Document, Sources
from modelapp.errors import AppFileError
from modelapp.loader import check_data, format_of, read_data
from modelapp.plugins import Plugins
from modelapp.problems import shown
from modelapp.writeback import Draft

WOULD_CHANGE = 1
"""The exit status where something would change and nobody said to change it."""


def run(options: argparse.Namespace, console: Console) -> int:
    """Show what has to change as a diff, or change it. The result must be valid, else nothing is changed."""
    plugins = Plugins.load(warn=console.verbosity >= 0)
    base, data = read_data(options.directory / FILE, any_format=True)
    version = format_of(data)
    if type(version) is not int or version < 1:
        check_data(base, data, plugins)  # which says what is wrong with it
    if version > SCHEMA_VERSION:
        raise AppFileError([upgrade.problem(Sources(base), version, SCHEMA_VERSION)])
    name, draft = shown(base.file), upgrade.raised(base, version, SCHEMA_VERSION)
    diff, writes = draft.diff(), options.write and version < SCHEMA_VERSION
    if diff:
        _prove(draft, plugins, console)
    if writes:
        draft.write()
    if console.json:
        told = {"from": version, "to": SCHEMA_VERSION, "diff": diff, "written": writes}
        console.document({"file": name, **told})
    if not diff:
        console.result(f"{name} has the newest format, {SCHEMA_VERSION}")
        return 0
    console.result(diff)
    console.note(f"{name}: format {version} -> {SCHEMA_VERSION}" if writes else f"{prefix(options)} upgrade --write")
    return 0 if writes else WOULD_CHANGE


def _prove(draft: Draft, plugins: Plugins, console: Console) -> None:
    """Raise AppFileError where the result would not be valid."""
    text: Document = draft.document
    text = attrs.evolve(text, file=text.file.with_name(f"{FILE}, upgraded"))
    try:
        check_data(text, dict(draft.data), plugins)
    except AppFileError:
        console.error(f"{shown(draft.document.file)} is left as it is, for it would not be valid in the newest format:")
        raise

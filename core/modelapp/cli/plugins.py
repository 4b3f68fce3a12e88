"""`modelapp plugins`: what is installed and what is missing to use it."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from modelapp.cli.console import Console
from modelapp.cli.environment import described
from modelapp.inventory import Part, PluginRecord
from modelapp.plugins import Plugins


def run(options: argparse.Namespace, console: Console) -> int:
    """Print a table of the plugins, each of their parts probed now; in an app's folder, those of the app."""
    records = Plugins.load(warn=False).inventory()
    own = described(options)
    if console.json:
        console.document({"plugins": [attrs.asdict(record) for record in records], "environment": own})
    if own:
        console.result(_environment(own))
    for line in _table(records):
        console.result(line)
    return 0


def _environment(own: Mapping[str, Any]) -> str:
    if not own["built"]:
        return (
            f"environment for {own['requirements']}: not built yet (modelapp test builds it); these plugins are not its"
        )
    return f"environment for {own['requirements']}: {own['folder']}   Python {own['python']}, by {own['built_by']}"


def _table(records: Sequence[PluginRecord]) -> Iterator[str]:
    rows = [("PLUGIN", "DISTRIBUTION", "VERSION", "STATE", "HOOKS")]
    rows += [
        (record.name, record.distribution, record.version, record.state, ", ".join(record.hooks)) for record in records
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    yield lines[0]
    for line, record in zip(lines[1:], records, strict=True):
        yield line
        if record.problem:
            yield f"  problem: {record.problem}"
        for part in record.parts:
            yield from _part(part)


def _part(part: Part) -> Iterator[str]:
    able = ", ".join(part.capabilities) or "nothing"
    where = f" on {', '.join(part.devices)}" if part.devices else ""
    can = "" if part.kind == "feature" else f"   can: {able}"
    yield f"  {part.kind} {part.name}   {'works' if part.ok else 'cannot work'}{where}{can}"
    if part.missing:
        yield f"    missing: {part.missing}"
    if part.fix:
        yield f"    fix: {part.fix}"

"""`modelapp plugins`: what is installed and what is missing to use it."""

import argparse
from collections.abc import Iterator, Sequence

import attrs

from modelapp.cli.console import Console
from modelapp.inventory import Part, PluginRecord
from modelapp.plugins import Plugins


def run(_: argparse.Namespace, console: Console) -> int:
    """Print a table of the plugins, each runtime and scheduler probed now."""
    records = Plugins.load(warn=False).inventory()
    if console.json:
        console.document({"plugins": [attrs.asdict(record) for record in records]})
    for line in _table(records):
        console.result(line)
    return 0


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
    yield f"  {part.kind} {part.name}   {'works' if part.ok else 'cannot work'}{where}   can: {able}"
    if part.missing:
        yield f"    missing: {part.missing}"
    if part.fix:
        yield f"    fix: {part.fix}"

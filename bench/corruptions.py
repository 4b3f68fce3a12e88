"""Breaks valid app files at random, one key at a time, and counts how often `check` says so at the right place.

python bench/corruptions.py [--number 1000] [--seed 0] [APP_FOLDER ...]

Prints a line a kind of corruption, and each one that was missed. The exit status is 1 where any was.
"""

import argparse
import random
import re
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, get_origin

import attrs

from modelapp.app import Field
from modelapp.document import Document
from modelapp.errors import AppFileError
from modelapp.loader import check_data, parse
from modelapp.plugins import Plugins
from modelapp.spans import KeyPath, Span, index
from modelapp.strict import without_none
from modelapp.tables import columns, plugin_column
from victims import Site, Victim

ROOT = Path(__file__).parents[1]
FOLDERS = (ROOT / "apps", ROOT / "tests" / "core" / "data")
FAR = ("zebra", "qqxx", "jelly-bean", "Ω")
#: type -> values in TOML that are not of it
WRONG: Mapping[Any, tuple[str, ...]] = {
    str: ("7", "1.5", "true", "[1]", "{ a = 1 }", "1979-05-27"),
    int: ('"seven"', "1.5", "true", "[1]", "07:32:00"),
    float: ('"seven"', "false", "[1.5]", "{ }", "1979-05-27"),
    bool: ('"yes"', "1", "0.0", "[true]"),
    "word": ("7", '"zebra"', "true", "[]"),
    "list": ("7", "true", '"zebra"', "1.5"),
    "table": ("7", "true", "[1]", "1.5"),
}


@attrs.frozen
class Corruption:
    """A broken text, and where an error must stand: a line, and one of some columns (none: any)."""

    kind: str
    key: str
    text: str
    line: int
    columns: tuple[int, ...] = ()


def missed(victim: Victim, corruption: Corruption) -> str:
    """What `check` says instead of an error at the right place; "" where there is one."""
    try:
        data = parse(victim.file, corruption.text)
        check_data(Document(victim.file, corruption.text, index(corruption.text)), data, victim.plugins)
    except AppFileError as error:
        told = [(one.line, one.column, one.code) for one in error.problems if one.file == victim.file]
        there = [column for line, column, _ in told if line == corruption.line]
        right = not corruption.columns or any(column in corruption.columns for column in there)
        return "" if there and right else f"errors at {told}"
    return "no error"


def _taken(victim: Victim, cls: type, table: Mapping[str, Any]) -> set[str]:
    """Words that are no mistake in a table."""
    plugin = plugin_column(cls)
    names = (*victim.plugins.runtimes, *victim.plugins.schedulers, "nomad") if plugin else ()
    return {*columns(cls), *table, *names}


def _at(victim: Victim, path: KeyPath) -> Any:
    found: Any = victim.data
    for part in path:
        found = found[part]
    return found


def renamed_near(victim: Victim, site: Site, chance: random.Random) -> Corruption | None:
    """One letter left out, doubled or swapped with its neighbour."""
    name = str(site.path[-1])
    at = chance.randrange(len(name))
    swapped = name[:at] + name[at + 1 : at + 2] + name[at] + name[at + 2 :]
    word = chance.choice([name[:at] + name[at + 1 :], name[: at + 1] + name[at:], swapped])
    return _renamed(victim, site, word, "renamed to a near word")


def renamed_far(victim: Victim, site: Site, chance: random.Random) -> Corruption | None:
    """Another word altogether."""
    return _renamed(victim, site, chance.choice(FAR), "renamed to a far word")


def _renamed(victim: Victim, site: Site, word: str, kind: str) -> Corruption | None:
    span = victim.spans.keys.get(site.path)
    if span is None or not word or word in _taken(victim, site.cls, _at(victim, site.path[:-1])):
        return None
    written = word if re.fullmatch(r"[A-Za-z0-9_-]+", word) else f'"{word}"'
    line, column = victim.place(span.start)
    return Corruption(kind, _name(site), victim.replaced(span, written), line, (column,))


def other_type(victim: Victim, site: Site, chance: random.Random) -> Corruption | None:
    """A value of another type."""
    span, kind = victim.spans.values.get(site.path), _kind(site)
    if span is None or kind is None:
        return None
    line, column = victim.place(span.start)
    text = victim.replaced(span, chance.choice(WRONG[kind]))
    return Corruption("value of another type", _name(site), text, line, (column,))


def _kind(site: Site) -> Any:
    if site.one is None:
        return "table"
    wanted = without_none(site.one.type)
    origin = get_origin(wanted)
    if wanted is Any:
        return None
    if origin is Literal or getattr(wanted, "__name__", "") == "FieldType":
        return "word"
    if origin is tuple:
        return "list"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return "table"
    if isinstance(wanted, type) and attrs.has(wanted):
        return None if wanted is Field else "table"
    return wanted if wanted in WRONG else None


def out_of_bounds(victim: Victim, site: Site, chance: random.Random) -> Corruption | None:
    """A number below its least or above its largest."""
    span = victim.spans.values.get(site.path)
    bounds = site.one.metadata if site.one is not None else {}
    steps = [bounds[end] + step for end, step in (("min", -1), ("max", 1)) if end in bounds]
    if span is None or not steps:
        return None
    line, column = victim.place(span.start)
    return Corruption("out of bounds", _name(site), victim.replaced(span, str(chance.choice(steps))), line, (column,))


def deleted(victim: Victim, site: Site, _: random.Random) -> Corruption | None:
    """A key that must be there is not. The place is that of its table."""
    pair, home = victim.spans.pairs.get(site.path), site.path[:-1]
    around = victim.spans.headers.get(home) or victim.spans.values.get(home)
    required = site.one is not None and site.one.default is attrs.NOTHING
    if pair is None or around is None or not required or not site.complete:
        return None
    text = victim.text
    comma = re.match(r"[ \t]*,[ \t]*", text[pair.end :]) if home not in victim.spans.headers else None
    before = re.search(r",[ \t]*$", text[: pair.start]) if comma is None and home not in victim.spans.headers else None
    span = Span(before.start() if before else pair.start, pair.end + (comma.end() if comma else 0))
    line, column = victim.place(around.start)
    return Corruption("required key deleted", _name(site), victim.replaced(span, ""), line, (column,))


def _own_line(victim: Victim, site: Site) -> Span | None:
    """The line of a key that has one for itself below a header."""
    pair = victim.spans.pairs.get(site.path)
    if pair is None or site.path[:-1] not in victim.spans.headers:
        return None
    start, end = victim.text.rfind("\n", 0, pair.start) + 1, victim.text.find("\n", pair.end)
    return Span(start, end + 1) if end >= 0 and start == pair.start else None


def moved(victim: Victim, site: Site, chance: random.Random) -> Corruption | None:
    """The line of a key stands below a header of another table, which has no such key."""
    line, name = _own_line(victim, site), str(site.path[-1])
    homes = [
        path
        for path, cls in victim.headers.items()
        if path != site.path[:-1] and name not in _taken(victim, cls, _at(victim, path))
    ]
    if line is None or not homes:
        return None
    header = victim.spans.headers[chance.choice(homes)]
    below = victim.text.find("\n", header.end) + 1
    if below <= 0:
        return None
    cut = victim.text[line.start : line.end]
    at = below if below <= line.start else below - len(cut)
    rest = victim.replaced(line, "")
    return Corruption(
        "moved below another header", _name(site), rest[:at] + cut + rest[at:], rest.count("\n", 0, at) + 1
    )


def duplicated(victim: Victim, site: Site, _: random.Random) -> Corruption | None:
    """The line of a key stands there twice."""
    line = _own_line(victim, site)
    if line is None:
        return None
    text = victim.text[: line.end] + victim.text[line.start :]
    return Corruption("key duplicated", _name(site), text, text.count("\n", 0, line.end) + 1, (1,))


def strange_table(victim: Victim, site: Site, chance: random.Random) -> Corruption | None:
    """A header below a table that has no such table."""
    homes = [(), *victim.headers]
    home = chance.choice(homes)
    names = [re.sub(r"^(?![\w-]+$).*", lambda found: f'"{found[0]}"', part) for part in home if isinstance(part, str)]
    written = f"[{'.'.join((*names, chance.choice(FAR[:3])))}]"
    # Below a list of tables it speaks of the latest one.
    text = f"{victim.text.rstrip()}\n\n{written}\nx = 1\n"
    return Corruption("unknown table", written, text, text.count("\n") - 1)


KINDS: tuple[Callable[[Victim, Site, random.Random], Corruption | None], ...] = (
    renamed_near,
    renamed_far,
    other_type,
    out_of_bounds,
    deleted,
    moved,
    duplicated,
    strange_table,
)


def _name(site: Site) -> str:
    return ".".join(map(str, site.path))


def corruption(victim: Victim, chance: random.Random) -> Corruption:
    """One at random, each kind as likely as any other."""
    while True:
        kind = chance.choice(KINDS)
        sites = [site for site in victim.sites if kind is not deleted or site.complete]
        for _ in range(50):
            found = kind(victim, chance.choice(sites), chance)
            if found is not None and found.text != victim.text:
                return found


def app_files(folders: tuple[Path, ...] = FOLDERS) -> list[Path]:
    """The app files of the example apps and of the tests."""
    return sorted(file for folder in folders for file in folder.glob("*/app.toml"))


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--number", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("folders", nargs="*", type=Path)
    options = parser.parse_args()
    plugins = Plugins.load()
    files = [folder.resolve() / "app.toml" for folder in options.folders] or app_files()
    victims = [Victim(file, plugins) for file in files]
    chance = random.Random(options.seed)
    tried: Counter[str] = Counter()
    right: Counter[str] = Counter()
    for number in range(options.number):
        victim = victims[number % len(victims)]
        made = corruption(victim, chance)
        said = missed(victim, made)
        tried[made.kind] += 1
        right[made.kind] += not said
        if said:
            where = f"{victim.file.parent.name}/app.toml:{made.line}:{made.columns}"
            print(f"missed: {made.kind} {made.key} {where} {made.text.splitlines()[made.line - 1]!r}: {said}")
    for kind in sorted(tried):
        print(f"{kind:28} {right[kind]:5} of {tried[kind]:5}")
    print(f"{'all':28} {right.total():5} of {tried.total():5}, in {len(victims)} app files")
    return int(right.total() < tried.total())


if __name__ == "__main__":
    sys.exit(main())

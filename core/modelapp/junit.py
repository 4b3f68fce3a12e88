"""Outcomes as JUnit XML: one case a test, measured values as properties."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

from modelapp.verdicts import Outcome, count

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_junit(path: Path, app: str, properties: Mapping[str, str], file: str, outcomes: Sequence[Outcome]) -> None:
    """Write the report; `file` is app.toml as the reader of the report should see it. Raises OSError.

    `properties` are what holds for all of it, as the release.
    """
    counts = count(outcomes)
    numbers = {
        "tests": str(len(outcomes)),
        "failures": str(counts["fail"]),
        "errors": str(counts["inconclusive"]),
        "time": f"{sum(outcome.seconds for outcome in outcomes):.3f}",
    }
    top = ElementTree.Element("testsuites", {"name": app, **numbers})
    suite = ElementTree.SubElement(top, "testsuite", {"name": app, **numbers, "skipped": "0"})
    _properties(suite, properties)
    for outcome in outcomes:
        _case(suite, app, file, outcome)
    path.parent.mkdir(parents=True, exist_ok=True)
    ElementTree.ElementTree(top).write(path, encoding="utf-8", xml_declaration=True)


def _case(suite: ElementTree.Element, app: str, file: str, outcome: Outcome) -> None:
    case = ElementTree.SubElement(
        suite,
        "testcase",
        {
            "classname": _text(f"{app}.{outcome.endpoint}"),
            "name": _text(outcome.test.name),
            "time": f"{outcome.seconds:.3f}",
            "file": file,
            "line": str(outcome.line),
        },
    )
    _properties(case, {name: f"{value:.6g}" for name, value in outcome.measured.items()})
    if outcome.verdict == "pass":
        return
    # JUnit knows no third verdict; an inconclusive test must not look passed or skipped, so it is an error.
    kind = "failure" if outcome.verdict == "fail" else "error"
    lines = [*map(str, outcome.mismatches)] or [outcome.reason]
    found = ElementTree.SubElement(case, kind, {"type": outcome.verdict, "message": _text(lines[0])})
    found.text = _text("\n".join(lines))


def _properties(parent: ElementTree.Element, values: Mapping[str, str]) -> None:
    if not values:
        return
    properties = ElementTree.SubElement(parent, "properties")
    for name, value in values.items():
        ElementTree.SubElement(properties, "property", {"name": _text(name), "value": _text(value)})


def _text(text: str) -> str:
    """Without the characters that XML cannot hold."""
    return _NOT_XML.sub("\ufffd", text)

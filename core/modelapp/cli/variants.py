"""What an app's tests say of a less precise model: each is run with the model as it is, and with the other."""

from collections.abc import Sequence
from typing import Any

import attrs

from modelapp import tls
from modelapp.cli.answering import replica
from modelapp.cli.console import Console
from modelapp.cli.opening import FILE, Opened
from modelapp.client import Client
from modelapp.loader import read_app
from modelapp.rehearsal import tests_of
from modelapp.suggestions import toml, toml_key
from modelapp.testchecks import UNPROVEN
from modelapp.testrun import run_tests
from modelapp.verdicts import Outcome

_NO_SCORES = ("ms", "cases")


@attrs.frozen
class Losses:
    """The outcomes of the same tests, before and after."""

    precision: str
    before: Sequence[Outcome]
    after: Sequence[Outcome]

    @property
    def lost(self) -> list[str]:
        """The tests that passed, and do not any more."""
        pairs = zip(self.before, self.after, strict=True)
        return [old.test.name for old, new in pairs if old.verdict == "pass" and new.verdict != "pass"]

    def document(self) -> list[dict[str, Any]]:
        """As JSON values."""
        return [
            {
                "name": old.test.name,
                "original": {"verdict": old.verdict, "measured": _scores(old)},
                self.precision: {"verdict": new.verdict, "measured": _scores(new)},
                "change": _change(old, new),
                "mismatches": [attrs.asdict(one) for one in new.mismatches],
            }
            for old, new in zip(self.before, self.after, strict=True)
        ]

    def lines(self) -> list[str]:
        """As a table, with what a test that is lost expected."""
        rows = [("test", "original", self.precision, "change")]
        for old, new in zip(self.before, self.after, strict=True):
            change = ", ".join(f"{name} {delta:+.4g}" for name, delta in _change(old, new).items())
            rows.append((old.test.name, _told(old), _told(new), change or "-"))
        widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        for old, new in zip(self.before, self.after, strict=True):
            if old.verdict == "pass" and new.verdict != "pass":
                lines += [f"{new.test.name}: {one}" for one in map(str, new.mismatches[:3])] or [
                    f"{new.test.name}: {new.reason}"
                ]
        return lines


def _scores(outcome: Outcome) -> dict[str, float]:
    return {name: value for name, value in outcome.measured.items() if name not in _NO_SCORES}


def _change(old: Outcome, new: Outcome) -> dict[str, float]:
    after = _scores(new)
    return {name: after[name] - value for name, value in _scores(old).items() if name in after}


def _told(outcome: Outcome) -> str:
    scores = ", ".join(f"{name} {value:.4g}" for name, value in _scores(outcome).items())
    return f"{outcome.verdict.upper()} {scores}".rstrip()


def compare_tests(opened: Opened, model: str, source: str, runtime: str, precision: str, console: Console) -> Losses:
    """Run the tests that reach a model with it, and with the file at `source` in its place; each in its own replica."""
    table = f"models.{toml_key(model)}"
    overrides = [*opened.overrides, f"{table}.source={toml(source)}", f"{table}.runtime={toml(runtime)}"]
    path = opened.app.path.parent / FILE
    reading = read_app(path, opened.plugins, profile=opened.profile, overrides=overrides, spare=UNPROVEN)
    other = Opened(reading, opened.plugins, tuple(overrides), opened.prefix)
    losses = Losses(precision, _outcomes(opened, model, console), _outcomes(other, model, console))
    for line in losses.lines():
        console.result(line)
    return losses


def _outcomes(opened: Opened, model: str, console: Console) -> list[Outcome]:
    with (
        replica(opened, console, same_release=True) as found,
        Client(found.url, found.token, root=opened.app.root, certificate=tls.certificate(opened.app)) as client,
    ):
        return list(run_tests(opened.app, client, tests_of(opened.app, model)))

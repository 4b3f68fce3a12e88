"""docs/app-toml.md says what the classes of app.toml say: every key, its type, its default and its meaning."""

import re
from collections.abc import Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import attrs
import pytest

from modelapp import app, deployment, guarantees, jobs
from modelapp.fieldtype import WORDS, FieldType
from modelapp.suggestions import toml
from modelapp.tables import columns

PAGE = (Path(__file__).parents[2] / "docs" / "app-toml.md").read_text()
SOURCES = Path(app.__file__).parent

#: heading of the page -> the class whose keys stand below it
SECTIONS: Mapping[str, type] = {
    "[app]": app.AppInfo,
    "[models.NAME]": app.Model,
    "[models.NAME.pad]": app.Pad,
    "[models.NAME.generation]": app.Generation,
    "[endpoints.NAME]": app.Endpoint,
    "steps": app.Step,
    "split": app.Split,
    "[endpoints.NAME.input] and [endpoints.NAME.output]": app.Field,
    "[[tests]]": app.AppTest,
    "expect_error": app.ExpectError,
    "[server]": app.Server,
    "[server.tokens.NAME]": app.Token,
    "[guarantees.latency]": guarantees.Latency,
    "[guarantees.batching]": guarantees.Batching,
    "[guarantees.rollout]": guarantees.RolloutGuarantee,
    "[guarantees.robustness]": guarantees.Robustness,
    "[guarantees.drift]": guarantees.Drift,
    "[jobs.NAME]": jobs.Job,
    "[deploy]": deployment.Deploy,
    "[deploy.rollout]": deployment.Rollout,
    "[deploy.autoscale]": deployment.Autoscale,
    "[deploy.spot]": deployment.Spot,
}
PLAIN: Mapping[Any, str] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    Any: "anything",
    FieldType: "type word",
    app.Pad: "pad",
    app.Generation: "generation",
    app.Field: "field",
    app.Step: "step",
    app.Split: "split",
    app.Token: "token",
    app.ExpectError: "expect_error",
    deployment.Rollout: "rollout",
    deployment.Autoscale: "autoscale",
    deployment.Spot: "spot",
}


def type_text(wanted: Any) -> str:
    """A type as the page writes it."""
    if wanted in PLAIN:
        return PLAIN[wanted]
    origin = get_origin(wanted)
    parts = [part for part in get_args(wanted) if part not in (NoneType, Ellipsis)]
    if origin is Literal:
        return " or ".join(f"`{toml(part)}`" for part in parts)
    if origin in (Union, UnionType):
        return " or ".join(map(type_text, parts))
    return (
        f"table of {type_text(parts[1])}"
        if isinstance(origin, type) and issubclass(origin, Mapping)
        else f"list of {type_text(parts[0])}"
    )


def bounds_text(metadata: Mapping[str, Any]) -> str:
    """The bounds of a number."""
    low, high = metadata.get("min"), metadata.get("max")
    if low is not None and low == high:
        return f", always {toml(low)}"
    if low is not None and high is not None:
        return f", {toml(low)} to {toml(high)}"
    return "" if low is None else f", at least {toml(low)}"


def default_text(default: Any) -> str:
    """What holds where the key is left out."""
    if default is attrs.NOTHING:
        return "required"
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type] # attrs exports it as a function to type checkers
        made = default.factory()
        return "none" if made is attrs.NOTHING else "its defaults" if attrs.has(type(made)) else "empty"
    if default in (None, "", ()):
        return {None: "none"}.get(default, "empty")
    return f"`{toml(default)}`"


def rows(cls: type) -> list[str]:
    """The lines that the page must hold for a class."""
    return [
        f"| `{name}` | {type_text(one.type)}{bounds_text(one.metadata)} | {default_text(one.default)} | {doc} |"
        for name, one in columns(cls).items()
        for doc in [one.metadata["doc"]]
    ]


def section(heading: str) -> str:
    """The text below a heading, to the next one."""
    match = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#+ |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert match, f'docs/app-toml.md has no heading "{heading}"'
    return match[1]


@pytest.mark.parametrize("heading", SECTIONS)
def test_each_section_lists_exactly_the_keys_of_its_table(heading: str) -> None:
    """Nothing undocumented, nothing documented that is gone, no wrong default."""
    found = [line for line in section(heading).splitlines() if line.startswith("| `")]
    assert found == rows(SECTIONS[heading])


def test_every_class_has_a_section() -> None:
    """A new table cannot be left out of the page."""
    modules = (app, deployment, guarantees, jobs)
    tables = {
        one
        for module in modules
        for one in vars(module).values()
        if isinstance(one, type) and attrs.has(one) and one.__module__ == module.__name__
    }
    assert tables == {*SECTIONS.values(), app.App, guarantees.Guarantees}


def test_the_page_lists_every_type_word() -> None:
    """One row a word, in the table of types."""
    listed = re.findall(r"^\| `(\w+)` \|", section("Types"), re.MULTILINE)
    assert listed == list(WORDS)


def test_the_page_lists_every_error_code() -> None:
    """Codes in the sources and codes on the page are the same."""
    used = {code for file in SOURCES.glob("*.py") for code in re.findall(r'"(MA\d{3})"', file.read_text())}
    assert sorted(re.findall(r"^\| (MA\d{3}) \|", PAGE, re.MULTILINE)) == sorted(used)


def test_a_field_need_not_have_a_default() -> None:
    """`required` is what the request must carry: no default, and no null."""
    assert app.Field(name="a", type=FieldType("str")).required
    assert not app.Field(name="a", type=FieldType("str", nullable=True)).required
    assert not app.Field(name="a", type=FieldType("str"), default="").required

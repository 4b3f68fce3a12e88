"""The JSON Schema of app.toml: it knows every key, takes what `check` takes, and editors' own tools agree."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

import attrs
import jsonschema
import pytest
import tomli
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelapp import fieldtype
from modelapp.app import App
from modelapp.appschema import app_schema, schema_document
from modelapp.errors import AppFileError
from modelapp.keys import key
from modelapp.loader import check_app, read_app
from modelapp.plugins import Plugins
from modelapp.runtime import RuntimeSpec
from modelapp.strict import without_none
from modelapp.tables import columns

TOOLS = Path(sys.executable).parent
CATALOGUE = Path(__file__).parents[2] / "apps" / "catalogue"
PROFILES = """
[guarantees.latency]
p95_ms = 250

[profiles.prod]
extends = "big"
models.story.jax = { anything = [1] }
models.story.runtime = "jax"
endpoints.continue.input.count.max = 7
guarantees.latency = { p99_ms = 9 }
[profiles.big]
guarantees.rollout.max_unavailable = 1
"""


def problems(schema, text: str) -> list[str]:
    """What the schema refuses in an app.toml, in words."""
    found = jsonschema.Draft7Validator(schema).iter_errors(tomli.loads(text))
    return [f"{'.'.join(map(str, error.absolute_path))}: {error.message}" for error in found]


@pytest.fixture
def schema(plugins):
    """The schema with two runtimes, and a third one that the file chooses."""
    return app_schema(plugins, {"runtime": {"jax"}})


def test_it_is_a_schema_of_draft_7_with_the_same_bytes_every_time() -> None:
    """What is installed decides, not the order in which it is found."""
    text = schema_document(Plugins.load())
    jsonschema.Draft7Validator.check_schema(json.loads(text))
    assert text == schema_document(Plugins.load())
    assert text.endswith("}\n")


def test_the_example_apps_fit() -> None:
    """Every app that comes with the product."""
    schema = app_schema(Plugins.load())
    files = sorted(CATALOGUE.parent.glob("*/app.toml"))
    assert files
    assert {file.parent.name: problems(schema, file.read_text()) for file in files} == {
        file.parent.name: [] for file in files
    }


def test_an_app_with_a_bit_of_everything_fits(dungeon, schema) -> None:
    """Partial profiles, one guarantee or several with names, options of a plugin that is not installed."""
    assert problems(schema, dungeon.text + PROFILES) == []
    named = PROFILES.replace("[guarantees.latency]", "[guarantees.latency.all]").replace(
        "guarantees.latency = { p99_ms", "guarantees.latency.all = { p99_ms"
    )
    assert problems(schema, dungeon.text + named) == []


MISTAKES = [
    ("max_batch_size = 8", "max_bach_size = 8", "models.story: Additional properties are not allowed"),
    ("max_batch_size = 8", "max_batch_size = 0", "models.story.max_batch_size: 0 is less than the minimum"),
    ("max_wait_ms = 15", 'max_wait_ms = "15"', "models.story.max_wait_ms: '15' is not of type"),
    ("[models.story.onnx]", "[models.story.onxx]", "models.story: Additional properties are not allowed ('onxx'"),
    ("threads = 2", "thread = 2", "models.story.onnx: Additional properties are not allowed"),
    ('source = "models/story.onnx"', "", "models.story: 'source' is a required property"),
    ('photo = "image?"', 'photo = "picture?"', "endpoints.continue.input.photo: 'picture?' is not valid under any"),
    ("min_chars = 1,", "min_char = 1,", "endpoints.continue.input.prompt: "),
    ("repeat = 10", "repeats = 10", "tests.2: Additional properties are not allowed"),
    ("p95_ms = 250", "p95 = 250", "guarantees.latency: "),
    ("max_unavailable = 1", "max_unavailable = -1", "max_unavailable: -1 is less than the minimum"),
    ("count.max = 7", "count.maximum = 7", "profiles.prod.endpoints.continue.input.count: "),
    ('extends = "big"', "tests = []", "profiles.prod: Additional properties are not allowed ('tests'"),
    ("[server]", "[sever]", ": Additional properties are not allowed ('sever'"),
]


@pytest.mark.parametrize(("right", "wrong", "told"), MISTAKES)
def test_typical_mistakes_are_refused(dungeon, schema, right, wrong, told) -> None:
    """At their place, and alone."""
    text = dungeon.text + PROFILES
    assert right in text
    found = problems(schema, text.replace(right, wrong, 1))
    assert len(found) == 1
    assert told in found[0]


def test_every_key_of_every_table_is_in_it() -> None:
    """With its documentation, bounds, default and choices, found by walking the classes beside the schema."""
    schema = app_schema(Plugins.load())
    seen = set()
    _walk(App, schema, schema, seen)
    assert {cls.__name__ for cls in seen} >= {"Model", "Field", "Step", "AppTest", "ExpectError", "Latency", "Spot"}


def _walk(cls: type, at, whole, seen: set[type]) -> None:
    if cls in seen:
        return
    seen.add(cls)
    for name, one in columns(cls).items():
        found = at["properties"][name]
        assert found.get("description", "").startswith(one.metadata.get("doc", "")), (cls, name)
        assert found.get("minimum") == one.metadata.get("min"), (cls, name)
        assert found.get("maximum") == one.metadata.get("max"), (cls, name)
        assert (name in at.get("required", ())) == (one.default is attrs.NOTHING), (cls, name)
        if isinstance(one.default, int | float | str) and one.default != "":
            assert found["default"] == one.default, (cls, name)
        for inner in _classes(one.type):
            _walk(inner, _table(found, whole), whole, seen)


def _classes(wanted) -> list[type]:
    wanted = without_none(wanted)
    if isinstance(wanted, type) and attrs.has(wanted):
        return [] if wanted is fieldtype.FieldType else [wanted]
    return [found for part in get_args(wanted) for found in _classes(part)]


def _table(at, whole):
    """The schema of a table, from that of the key that holds one or several of it."""
    while "properties" not in at:
        if "$ref" in at:
            at = whole["definitions"][at["$ref"].rpartition("/")[2]]
        elif "oneOf" in at:
            at = next(one for one in at["oneOf"] if "$ref" in one)
        else:
            at = at.get("items") or at["additionalProperties"]
    return at


def test_every_object_says_whether_it_takes_more() -> None:
    """Strict editors warn about one that leaves it open by saying nothing."""

    def objects(at):
        if isinstance(at, Mapping):
            if at.get("type") == "object":
                yield at
            for inner in at.values():
                yield from objects(inner)

    found = list(objects(app_schema(Plugins.load())))
    assert len(found) > 30
    assert [one for one in found if "additionalProperties" not in one] == []


@given(
    text=st.recursive(
        st.sampled_from(fieldtype.WORDS).map(str),
        lambda inner: st.tuples(st.sampled_from(["list[{}]", "list[ {} ]", "{}?", " {} ?"]), inner).map(
            lambda pair: pair[0].format(pair[1])
        ),
        max_leaves=4,
    )
    | st.text(alphabet="list[]? strnump", max_size=12)
)
def test_every_type_word_that_is_read_fits_its_pattern(text: str) -> None:
    """The pattern may let more pass, brackets that do not match, and refuses nothing that is right."""
    schema = app_schema(Plugins.load(disabled={"onnx", "python", "oip"}))["definitions"]["Field"]["properties"]["type"]
    try:
        fieldtype.parse(text)
    except ValueError:
        return
    jsonschema.validate(text, schema)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_what_check_accepts_it_accepts(dungeon, plugins, data) -> None:
    """Values drawn for keys of the app: where the file is valid for `check`, it is for the schema."""
    leaf = st.integers(-2, 300) | st.floats(0, 9) | st.booleans() | st.sampled_from(["str", "rows", "a", "image?", ""])
    name = data.draw(st.sampled_from(["max_wait_ms", "buckets", "cost", "max_batch_size", "labels", "pad", "device"]))
    value = data.draw(leaf | st.lists(leaf | st.lists(leaf, max_size=2), max_size=2))
    text = dungeon.text + f"[profiles.p]\nmodels.story.{name} = {json.dumps(value)}\n"
    (dungeon.root / "app.toml").write_text(text)
    try:
        read_app(dungeon.root / "app.toml", plugins, profile="p")
    except AppFileError:
        return
    assert problems(app_schema(plugins), text) == []


@attrs.frozen
class Nested:
    """A table of a plugin's options."""

    depth: int = key("how deep", default=1, min=1)
    again: "Nested | None" = key("one more", default=None)


@attrs.frozen
class Options:
    """A stranger's options, with types of its own."""

    must: str = key("has no default")
    nested: Nested = key("a table", factory=Nested)
    sizes: tuple[int, int] = key("two numbers", default=(1, 2))
    names: frozenset[str] = key("in any order", default=frozenset())
    other: complex = key("a type that no schema has", default=1j)
    nan: float = key("a default that JSON has not", default=float("nan"))


def test_options_of_a_stranger_are_in_it(plugins) -> None:
    """Tables in tables, and types that JSON has no word for, which take anything."""
    plugins.runtimes["strange"] = RuntimeSpec(name="strange", open=lambda: None, options=Options)
    schema = app_schema(plugins)
    jsonschema.Draft7Validator.check_schema(schema)
    table = schema["definitions"]["runtime-strange"]
    assert table["required"] == ["must"]
    assert table["properties"]["other"] == {"description": "a type that no schema has"}
    assert table["properties"]["nan"] == {"description": "a default that JSON has not", "type": "number"}
    assert table["properties"]["sizes"]["default"] == [1, 2]
    assert schema["definitions"]["profile-runtime-strange"].get("required") is None
    app = '[app]\nname="x"\n[models.m]\nsource="a"\nruntime="strange"\n'
    assert problems(schema, app + 'strange = { must = "", nested = { again = { depth = 2 } } }') == []
    assert len(problems(schema, app + 'strange = { must = "", nested = { again = { depth = 0 } } }')) == 1


def stale(folder: Path, plugins) -> list[str]:
    """What `check` says of the schema beside the app."""
    notices = check_app(folder / "app.toml", plugins).notices
    return [f"{one.line}: {one.message} ({one.command})" for one in notices if one.code == "MA016"]


def test_check_tells_of_a_schema_that_is_missing_or_old(dungeon, plugins) -> None:
    """Only where the first comments name it; plugins that the file chooses count."""
    path, line = dungeon.root / "app.toml", "#:schema ./app.schema.json"
    path.write_text(f"\ufeff# mine\r\n\r\n{line}\r\n{dungeon.text}")
    assert stale(dungeon.root, plugins) == ["3: there is no app.schema.json (modelapp schema --write)"]
    (dungeon.root / "app.schema.json").write_text(schema_document(plugins))
    assert stale(dungeon.root, plugins) == []
    (dungeon.root / "app.schema.json").write_bytes(schema_document(plugins).replace("\n", "\r\n").encode())
    assert stale(dungeon.root, plugins) == [], "as git may check it out"
    (dungeon.root / "app.schema.json").write_text("{")
    assert stale(dungeon.root, plugins) == ["3: app.schema.json is not what it would be now (modelapp schema --write)"]
    (dungeon.root / "app.schema.json").write_text("{}")
    assert stale(dungeon.root, plugins) == ["3: app.schema.json is not what it would be now (modelapp schema --write)"]
    for text in (
        dungeon.text,
        f"{dungeon.text}{line}",
        f"#:schema ./mine.json\n{dungeon.text}",
        f"# {line}\n{dungeon.text}",
    ):
        path.write_text(text)
        assert stale(dungeon.root, plugins) == []


def test_the_command_writes_it_once(dungeon, modelapp) -> None:
    """It says whether anything was written; `check` is content then, and plain `schema` prints the same."""
    root = dungeon.root
    app = '[app]\nname = "small"\n'
    (root / "app.toml").write_text(app)
    first = modelapp("schema", "--write", cwd=root)
    assert (first.returncode, first.stdout) == (0, "app.schema.json: written\n")
    assert "#:schema ./app.schema.json" in first.stderr
    (root / "app.toml").write_text(f"#:schema ./app.schema.json\n{app}")
    again = modelapp("schema", "--write", "--json", cwd=root)
    assert json.loads(again.stdout) == {"schema_version": 1, "file": "app.schema.json", "written": False}
    assert again.stderr == ""
    assert (
        modelapp("schema", cwd=root).stdout == (root / "app.schema.json").read_text() == schema_document(Plugins.load())
    )
    assert modelapp("check", cwd=root).stderr == ""
    (root / "app.schema.json").write_text("")
    told = modelapp("check", cwd=root)
    assert (told.returncode, "run:  modelapp schema --write" in told.stderr) == (0, True)


def test_without_an_app_it_is_printed_and_not_written(tmp_path, modelapp) -> None:
    """There is nothing that it could stand beside."""
    assert json.loads(modelapp("schema", "--json", cwd=tmp_path).stdout)["schema"]["title"] == "app.toml"
    refused = modelapp("schema", "--write", cwd=tmp_path)
    assert (refused.returncode, list(tmp_path.iterdir())) == (3, [])


LINTERS = {"taplo": ["taplo", "check", "--no-auto-config"], "tombi": ["tombi", "lint", "--offline"]}


@pytest.mark.parametrize("tool", LINTERS)
def test_the_tools_of_editors_read_it(tool, dungeon, plugins) -> None:
    """taplo and tombi follow the directive, accept a whole app and complain about a misspelt key."""
    root = dungeon.root
    (root / "app.schema.json").write_text(schema_document(plugins, {"runtime": {"jax"}}))

    def lint(text: str) -> subprocess.CompletedProcess[str]:
        (root / "app.toml").write_text(f"#:schema ./app.schema.json\n{text}")
        command, *words = LINTERS[tool]
        environ = {"HOME": str(root), "PATH": "", "NO_COLOR": "1"}
        return subprocess.run(
            [TOOLS / command, *words, "app.toml"], cwd=root, env=environ, capture_output=True, text=True, check=False
        )

    accepted = lint(dungeon.text + PROFILES)
    assert accepted.returncode == 0, accepted.stderr
    refused = lint(dungeon.text.replace("max_batch_size", "max_bach_size") + PROFILES)
    assert refused.returncode == 1
    assert "max_bach_size" in refused.stderr

"""The name of a release: what changes it and what does not."""

import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelapp import release
from modelapp.app import App, AppInfo, AppTest, Endpoint, Field, Model, Server, Step
from modelapp.fieldtype import parse
from modelapp.release import canonical, code_files, environment, release_id

HANDLERS = "class Model:\n    pass\n"


@attrs.frozen
class Options:
    """Options of a runtime."""

    threads: int = 1
    cache: Path | None = None


def make(root: Path, **changes: Any) -> App:
    """An app in `root`, with its files."""
    root.mkdir(exist_ok=True)
    (root / "app.toml").write_text("# what is in memory counts\n")
    (root / "handlers.py").write_text(HANDLERS)
    (root / "model.onnx").write_bytes(b"weights")
    (root / "labels.txt").write_text("a\nb\n")
    app = App(
        app=AppInfo(name="named"),
        models={
            "m": Model(name="m", source="model.onnx", runtime="onnx", files={"labels": "labels.txt"}, options=Options())
        },
        endpoints={
            "e": Endpoint(
                name="e",
                steps=(Step(name="a", run="m", needs=("x",)), Step(name="b", run="m", needs=("a",))),
                input={"x": Field(name="x", type=parse("float")), "y": Field(name="y", type=parse("int"), default=1)},
            )
        },
        tests=(AppTest(name="t", input={"x": 1}, expect={"y": 2}),),
        root=root,
        path=root / "app.toml",
    )
    return attrs.evolve(app, **changes)


def test_it_is_sixteen_hexadecimal_digits_and_stays(tmp_path: Path) -> None:
    """The same app is the same release however often it is asked."""
    first = release_id(make(tmp_path / "app"))
    assert len(first) == 16
    assert set(first) <= set("0123456789abcdef")
    assert release_id(make(tmp_path / "app")) == first


def test_it_is_the_same_in_two_places_and_processes(tmp_path: Path) -> None:
    """Neither the folder nor the hashing seed of a process matters."""
    here = release_id(make(tmp_path / "here"))
    (tmp_path / "there").mkdir()
    assert release_id(make(tmp_path / "there" / "copy")) == here
    script = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from pathlib import Path\nfrom test_release import make\nfrom modelapp.release import release_id\n"
        f"print(release_id(make(Path({str(tmp_path / 'third')!r}))))"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == here


def test_the_order_of_tables_does_not_matter_and_that_of_steps_does(tmp_path: Path) -> None:
    """Tables are named; steps are a list."""
    app = make(tmp_path / "app")
    endpoint = app.endpoints["e"]
    turned = attrs.evolve(endpoint, input=dict(reversed(endpoint.input.items())))
    other = attrs.evolve(endpoint, steps=endpoint.steps[::-1])
    assert release_id(attrs.evolve(app, endpoints={"e": turned})) == release_id(app)
    assert release_id(attrs.evolve(app, endpoints={"e": other})) != release_id(app)


@pytest.mark.parametrize("tests", [(), (AppTest(name="other", expect={"z": 1}, line=7),)])
def test_tests_are_no_part_of_it(tmp_path: Path, tests: tuple[AppTest, ...]) -> None:
    """What is asked of an app does not change what it answers."""
    app = make(tmp_path / "app")
    assert release_id(attrs.evolve(app, tests=tests)) == release_id(app)


def replace(path: str, text: str) -> Callable[[Path], None]:
    """A change of one file."""

    def change(root: Path) -> None:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)

    return change


@pytest.mark.parametrize(
    "change",
    [
        replace("handlers.py", HANDLERS + "\n"),
        replace("helper.py", ""),
        replace("package/deep.py", "x = 1"),
        replace("model.onnx", "other weights"),
        replace("labels.txt", "a\nc\n"),
        lambda root: (root / "model.onnx").unlink(),
        lambda root: (root / "handlers.py").rename(root / "hand.py"),
    ],
    ids=["code", "new module", "new package", "weights", "a further file", "weights gone", "module renamed"],
)
def test_a_file_that_decides_the_answer_changes_it(tmp_path: Path, change: Callable[[Path], object]) -> None:
    """Code beside app.toml and the files that models name are part of a release."""
    app = make(tmp_path / "app")
    before = release_id(app)
    change(app.root)
    assert release_id(app) != before


@pytest.mark.parametrize(
    "change",
    [
        replace("app.toml", "# another comment"),
        replace("notes.md", "x"),
        replace("data/case.jsonl", "{}"),
        replace(".git/hook.py", "x"),
        replace(".modelapp/running.json", "{}"),
        replace("__pycache__/handlers.cpython-311.pyc", "x"),
    ],
    ids=["comments", "documentation", "cases", "hidden code", "records", "compiled code"],
)
def test_a_file_that_decides_nothing_does_not_change_it(tmp_path: Path, change: Callable[[Path], None]) -> None:
    """Comments, test data and hidden folders are not."""
    app = make(tmp_path / "app")
    before = release_id(app)
    change(app.root)
    assert release_id(app) == before


def test_touching_files_does_not_change_it(tmp_path: Path) -> None:
    """Contents count, times do not."""
    app = make(tmp_path / "app")
    before = release_id(app)
    for path in app.root.iterdir():
        path.touch()
    assert release_id(app) == before


@pytest.mark.parametrize(
    "changed",
    [
        {"dist numpy": "0.0.1"},
        {"dist new-package": "1"},
        {"python": "CPython 9.9.9"},
        {"dist modelapp": "99"},
    ],
)
def test_a_changed_environment_changes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, str]
) -> None:
    """Another version of any distribution is another release."""
    app = make(tmp_path / "app")
    before = release_id(app)
    here = environment()
    monkeypatch.setattr(release, "environment", lambda: here | changed)
    assert release_id(app) != before


def test_the_environment_names_python_and_every_distribution() -> None:
    """modelapp itself among them, by their normal names."""
    found = environment()
    assert found["python"].startswith("CPython 3.")
    assert found["dist modelapp"]
    assert "dist pytest-xdist" in found


def test_the_environment_is_what_importlib_reads() -> None:
    """The quick reading of names and versions agrees with the thorough one."""
    thorough = {found.metadata["Name"].lower(): found.version for found in metadata.distributions()}
    found = environment()
    for name in ("numpy", "pytest", "modelapp", "attrs"):
        assert found[f"dist {name}"] == thorough[name]
    assert len(found) == 1 + len({name.replace("_", "-").replace(".", "-") for name in thorough})


keys = {
    "models": st.sampled_from(
        [
            ("device", "cuda"),
            ("max_batch_size", 7),
            ("max_wait_ms", 2.5),
            ("threads", 3),
            ("finite", True),
            ("required", False),
            ("preprocess", "handlers.py:f"),
            ("options", Options(threads=2)),
        ]
    ),
    "endpoints": st.sampled_from([("path", "/other"), ("timeout_s", 1.5), ("postprocess", "handlers.py:f")]),
    "server": st.sampled_from([("max_body_mb", 1.0), ("drain_s", 1.0)]),
    "app": st.sampled_from([("description", "other"), ("seed", 3), ("name", "other")]),
}


@given(st.data())
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_key_of_the_app_file_is_part_of_it(tmp_path: Path, data: st.DataObject) -> None:
    """A changed value is another release, whichever key it is, the address apart."""
    app = make(tmp_path / "app")
    table = data.draw(st.sampled_from(sorted(keys)))
    key, value = data.draw(keys[table])
    part = getattr(app, table)
    changed = (
        {name: attrs.evolve(item, **{key: value}) for name, item in part.items()}
        if isinstance(part, dict)
        else attrs.evolve(part, **{key: value})
    )
    other = attrs.evolve(app, **{table: changed})
    assert release_id(other) != release_id(app)
    assert release_id(attrs.evolve(other, **{table: part})) == release_id(app)


def test_a_default_spelt_out_is_the_default(tmp_path: Path) -> None:
    """Writing down what holds anyway changes nothing."""
    assert release_id(make(tmp_path / "app", server=Server(drain_s=35))) == release_id(make(tmp_path / "app"))


def test_where_the_app_listens_does_not_matter(tmp_path: Path) -> None:
    """The same app on another host or port is the same release."""
    elsewhere = make(tmp_path / "app", server=Server(host="0.0.0.0", port=8001))
    assert release_id(elsewhere) == release_id(make(tmp_path / "app"))


def test_a_field_without_default_differs_from_one_whose_default_is_null(tmp_path: Path) -> None:
    """Absent is not null."""
    app = make(tmp_path / "app")
    field = Field(name="x", type=parse("float"), default=None)
    endpoint = attrs.evolve(app.endpoints["e"], input={**app.endpoints["e"].input, "x": field})
    assert release_id(attrs.evolve(app, endpoints={"e": endpoint})) != release_id(app)


def test_paths_are_relative(tmp_path: Path) -> None:
    """No part of the canonical form names a place on this machine."""
    options = Options(cache=tmp_path / "app" / "cache")
    app = make(tmp_path / "app")
    app = attrs.evolve(app, models={"m": attrs.evolve(app.models["m"], options=options)})
    assert str(tmp_path) not in repr(canonical(app))


def test_virtual_environments_are_no_code_of_the_app(tmp_path: Path) -> None:
    """Their packages count by version, as part of the environment."""
    app = make(tmp_path / "app")
    (app.root / "venv" / "lib").mkdir(parents=True)
    (app.root / "venv" / "pyvenv.cfg").write_text("")
    (app.root / "venv" / "lib" / "x.py").write_text("")
    assert [path.name for path in code_files(app.root)] == ["handlers.py"]


def test_a_linked_folder_of_code_counts_and_a_circle_ends(tmp_path: Path) -> None:
    """Code that handlers can import through a link is part of the release."""
    app = make(tmp_path / "app")
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "common.py").write_text("")
    (app.root / "shared").symlink_to(tmp_path / "shared")
    (app.root / "self").symlink_to(app.root)
    assert [path.name for path in code_files(app.root)] == ["handlers.py", "common.py"]

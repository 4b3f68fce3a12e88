"""app.toml as a whole: the file itself, overrides, plugins' tables, and everything wrong told at once."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelapp.app import Field, Pad, Step
from modelapp.errors import AppFileError, UsageError
from modelapp.fieldtype import parse
from modelapp.loader import load_app
from modelapp.runtime import RawOptions

SMALL = """\
[app]
name = "small"
[models.story]
source = "story.onnx"
runtime = "onnx"
[endpoints.tell]
model = "story"
"""


def test_a_valid_file_becomes_an_app(dungeon: Any) -> None:
    """Every kind of table, with defaults filled in and names taken from headers."""
    app = dungeon.load()
    assert (app.name, app.root, app.path) == ("dungeon", dungeon.root, Path("app.toml"))
    assert app.models["story"].max_wait_ms == 15.0
    assert isinstance(app.models["story"].max_wait_ms, float)
    assert app.endpoints["continue"].steps[1] == Step(name="words", run="story", needs=("ids",))
    assert app.endpoints["continue"].input["photo"] == Field(name="photo", type=parse("image?"))
    assert app.endpoints["continue"].input["count"].default == 60
    assert not app.endpoints["continue"].input["count"].required
    assert app.endpoints["both"].split.arms == {"story": 90.0, "poem": 10.0}
    assert app.server.host == "127.0.0.1"


def test_each_test_knows_its_line(dungeon: Any) -> None:
    """The line of its [[tests]] header, from 1."""
    lines = dungeon.text.splitlines()
    assert [lines[test.line - 1] for test in dungeon.load().tests] == ["[[tests]]"] * 4


def test_nested_tables_and_inline_tables_are_the_same(dungeon: Any) -> None:
    """Dotted keys, inline tables and headers all read into the same classes."""
    inline = SMALL + 'input = { who = { type = "record", fields = { age = "int", pets = "list[str]" } } }\n'
    headers = (
        SMALL + '[endpoints.tell.input.who]\ntype = "record"\nfields.age = "int"\n'
        '[endpoints.tell.input.who.fields.pets]\ntype = "list[str]"\n'
    )
    expected = dungeon.load(inline).endpoints["tell"].input
    assert dungeon.load(headers).endpoints["tell"].input == expected
    assert expected["who"].fields["age"] == Field(name="age", type=parse("int"))
    padded = SMALL.replace("[endpoints.tell]", '[models.story.pad.ids]\nside = "left"\n[endpoints.tell]')
    assert dungeon.load(padded).models["story"].pad == {"ids": Pad(side="left")}


def test_a_test_need_not_name_the_only_endpoint(dungeon: Any) -> None:
    """It calls that one; with several, it names one."""
    app = dungeon.load(SMALL + '[[tests]]\nname = "a"\nexpect = { x = 1 }\n')
    assert app.endpoint_of(app.tests[0]).name == "tell"
    app = dungeon.load()
    assert [app.endpoint_of(test).name for test in app.tests] == ["continue", "continue", "continue", "both"]


def test_line_ends_and_a_byte_order_mark_do_not_matter(dungeon: Any) -> None:
    """The same app comes out, and problems stand on the same line and column."""
    assert dungeon.load(("\ufeff" + SMALL).replace("\n", "\r\n")) == dungeon.load(SMALL)
    broken = "\ufeff" + SMALL.replace("[app]", "[ap]").replace("\n", "\r\n")
    problem = dungeon.problems(broken)[0]
    assert (problem.line, problem.column, problem.source) == (1, 2, "[ap]")
    assert dungeon.load(problem.edit.apply(broken)) == dungeon.load(SMALL)


class TestOptions:
    """[models.N.<runtime>]."""

    def test_they_are_an_instance_of_the_runtime_s_class(self, dungeon: Any) -> None:
        """Read as strictly as our own tables, with defaults where the table or a key is missing."""
        app = dungeon.load()
        assert app.models["story"].options.threads == 2
        assert app.models["story"].options.level == "all"
        assert dungeon.load(SMALL).models["story"].options.threads == 1

    def test_a_runtime_may_take_its_table_whole(self, dungeon: Any) -> None:
        """RawOptions holds what is written, unchecked."""
        text = SMALL.replace('"onnx"', '"python"') + "[models.story.python]\nanything = [1, { deep = true }]\n"
        assert dungeon.load(text).models["story"].options == RawOptions(values={"anything": [1, {"deep": True}]})

    def test_the_table_of_another_installed_runtime_is_kept_unread(self, dungeon: Any) -> None:
        """A model may carry tables for several runtimes; only the one in use is checked."""
        dungeon.load(SMALL.replace('"onnx"', '"python"') + "[models.story.onnx]\nno_such_option = 1\n")

    def test_the_table_of_a_runtime_that_is_not_there_is_told_once(self, dungeon: Any) -> None:
        """The unknown runtime is the problem, its table is not another one."""
        text = SMALL.replace('"onnx"', '"mine"') + "[models.story.mine]\nx = 1\n"
        assert dungeon.only(text).message == 'no runtime is called "mine"'

    def test_their_bounds_are_checked(self, dungeon: Any) -> None:
        """`min` in an attribute's metadata holds for plugins too."""
        problem = dungeon.only(SMALL + "[models.story.onnx]\nthreads = 0\n")
        assert (problem.line, problem.column, problem.message) == (9, 11, '"threads" must be at least 1')


class TestTheFileItself:
    """What can be wrong before a word is read."""

    def test_a_missing_file_names_the_way_to_the_app(self, dungeon: Any) -> None:
        """Exit code 3, no traceback, and -C DIR."""
        with pytest.raises(AppFileError) as caught:
            load_app(Path("app.toml"), _NoPlugins())
        assert f"there is no app.toml in {dungeon.root}" in str(caught.value)
        assert "modelapp -C DIR" in str(caught.value)
        assert caught.value.exit_code == 3

    def test_a_folder_is_no_app_file(self, dungeon: Any) -> None:
        """Naming the app's folder where its file is wanted says what to type."""
        with pytest.raises(AppFileError, match="this is a folder, not an app file"):
            load_app(dungeon.root, _NoPlugins())

    def test_bytes_that_are_not_utf_8_are_placed(self, dungeon: Any) -> None:
        """Line and column of the first of them."""
        problem = dungeon.only(b'[app]\nname = "caf\xe9"\n')
        assert (problem.code, problem.line, problem.column) == ("MA003", 2, 12)
        assert problem.help == "save it as UTF-8"

    @pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
    def test_utf_16_is_recognised(self, dungeon: Any, encoding: str) -> None:
        """Windows editors write it; the message says what to do."""
        problem = dungeon.only(("\ufeff" + SMALL).encode(encoding))
        assert "UTF-16" in problem.message

    def test_an_empty_file_says_how_to_begin(self, dungeon: Any) -> None:
        """[app] is missing, and the edit brings it."""
        problem = dungeon.only("")
        assert problem.message == "[app] is missing"
        dungeon.load(problem.edit.apply(""))

    def test_a_syntax_error_is_told_alone(self, dungeon: Any) -> None:
        """What follows it cannot be judged."""
        assert dungeon.only(SMALL.replace('"onnx"', "onnx").replace("name", "nam")).code == "MA001"


class TestOverrides:
    """KEY=VALUE from the command line."""

    def test_they_are_laid_over_the_file(self, dungeon: Any) -> None:
        """Values are TOML; tables merge, also where the file has none; a later one wins."""
        app = dungeon.load(
            SMALL, "server.port=8001", "models.story.max_batch_size = 4", 'server={host="0.0.0.0"}', "server.port=9"
        )
        assert (app.server.port, app.server.host) == (9, "0.0.0.0")
        assert app.models["story"].max_batch_size == 4

    def test_lists_are_replaced(self, dungeon: Any) -> None:
        """Not appended to."""
        steps = 'endpoints.continue.steps=[{name="only", run="story", needs=["prompt"]}]'
        text = dungeon.text.replace('probe = "words"\n', "")
        assert len(dungeon.load(text, steps).endpoints["continue"].steps) == 1

    def test_a_wrong_value_is_placed_in_the_override(self, dungeon: Any) -> None:
        """The override's own text is shown, and no edit is offered for a file that is right."""
        problem = dungeon.only(SMALL, 'server.port="x"')
        assert (problem.place, problem.source) == ("--set:1:13", 'server.port="x"')
        assert problem.message == '"port" must be a whole number'
        assert problem.edit is None

    def test_an_unknown_key_is_placed_in_the_override(self, dungeon: Any) -> None:
        """With the close match."""
        problem = dungeon.only(SMALL, "server.prt=1")
        assert (problem.place, problem.help) == ("--set:1:8", 'did you mean "port"?')

    def test_a_reference_in_an_override_is_checked(self, dungeon: Any) -> None:
        """An override goes through every check."""
        assert dungeon.only(SMALL, 'models.story.runtime="onx"').place == "--set:1:22"

    @pytest.mark.parametrize(
        ("override", "message"),
        [
            ("models.story.device=cuda", "--set models.story.device=cuda cannot be read: Invalid value"),
            ("server.port", "--set server.port sets nothing"),
            ("", "--set  sets nothing"),
            ("# a=1", "--set # a=1 sets nothing"),
            ("[server]\nport=1", "--set [server]\nport=1 sets nothing"),
            ("tests=[]", "--set tests=[]: tests cannot be overridden"),
            ("a=" + "[" * 5000, "cannot be read"),
        ],
    )
    def test_what_is_no_override_is_a_bad_command_line(self, dungeon: Any, override: str, message: str) -> None:
        """Exit code 2, and the override is quoted."""
        with pytest.raises(UsageError) as caught:
            dungeon.load(SMALL, override)
        assert message in caught.value.message

    def test_a_text_without_quotes_is_shown_with_them(self, dungeon: Any) -> None:
        """The help can be pasted."""
        with pytest.raises(UsageError) as caught:
            dungeon.load(SMALL, "models.story.device=cuda")
        assert "--set 'models.story.device=\"cuda\"'" in caught.value.help


def test_everything_wrong_is_told_in_one_go_in_the_order_of_the_file(dungeon: Any) -> None:
    """Mistakes of every kind, none hides another, and none is told twice."""
    text = (
        dungeon.text.replace("max_batch_size = 8", "max_bach_size = 8")
        .replace('run = "story"', 'run = "storry"')
        .replace('tokens = "int"', 'tokens = "integer"')
        .replace('metric = "accuracy"', 'metric = "acuracy"')
        .replace("port = 8000", "port = true")
    )
    problems = dungeon.problems(text)
    assert [problem.code for problem in problems] == ["MA010", "MA041", "MA023", "MA054", "MA020"]
    assert [problem.line for problem in problems] == sorted(problem.line for problem in problems)


def test_mending_one_problem_after_another_ends_in_a_valid_file(dungeon: Any) -> None:
    """Each edit takes its problem away and brings no other."""
    text = (
        dungeon.text.replace("max_batch_size = 8", "max_bach_size = 8")
        .replace("timeout_s = 20", "timeout_ms = 20000")
        .replace('run = "story"', 'run = "storry"')
        .replace('tokens = "int"', 'tokens = "integer"')
        .replace('name = "mel"', 'name = "cave"')
    )
    for left in (5, 4, 3, 2, 1):
        problems = dungeon.problems(text)
        assert len(problems) == left
        text = problems[0].edit.apply(text)
    dungeon.load(text)


def test_a_broken_table_is_not_unknown_to_those_that_name_it(dungeon: Any) -> None:
    """A model without its source is one problem; that an endpoint calls it is none."""
    assert dungeon.only(SMALL.replace('source = "story.onnx"\n', "")).code == "MA014"


def test_a_misspelt_required_key_is_not_missing_too(dungeon: Any) -> None:
    """`sorce` is one mistake."""
    problem = dungeon.only(SMALL.replace("source", "sorce"))
    assert (problem.code, problem.help) == ("MA010", 'did you mean "source"?')


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_text_with_any_part_changed_loads_or_has_problems_that_can_be_shown(
    dungeon: Any, data: st.DataObject
) -> None:
    """Nothing but AppFileError comes out, each problem lies in the file, and each edit gives another text."""
    text = dungeon.text
    for _ in range(data.draw(st.integers(1, 3))):
        words = st.sampled_from(WORDS)
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(
            st.sampled_from(
                [start, start + 1, text.find("\n", start) + 1 or start, text.find('"', start + 1) + 1 or start]
            )
        )
        text = text[:start] + data.draw(words) + text[max(start, end) :]
    try:
        dungeon.load(text)
    except AppFileError as error:
        lines = text.split("\n")
        for problem in error.problems:
            assert problem.render()
            assert problem.code.startswith("MA")
            assert 0 <= problem.line <= len(lines)
            assert problem.source in ("", lines[problem.line - 1])
            assert problem.edit is None or problem.edit.apply(text) != text


WORDS = [
    "",
    "\n",
    '"',
    "[",
    "]",
    "{ ",
    "x",
    " = ",
    "1",
    '= "a"',
    "\n[models]\n",
    "\n[tests]\n",
    "\n[[app]]\n",
    ".",
    "true",
    "[[",
    "-5",
    "'",
    "name",
    "\n[endpoints.x.input]\n",
    "= { a = [1, 2] }\n",
    '= ["a"]\n',
    "= 1979-05-27\n",
]


def test_loading_imports_nothing_heavy() -> None:
    """Reading an app needs no array library, no JSON codec and no server."""
    heavy = ("numpy", "msgspec", "granian", "PIL", "rich")
    code = f"import sys, modelapp.loader; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


class _NoPlugins:
    """No runtime is installed."""

    runtimes: dict[str, Any] = {}  # noqa: RUF012 (read only)

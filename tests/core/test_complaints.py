"""Messages as they are printed, whole: one for each way to go wrong that people take most."""

from typing import Any

import pytest

from modelapp.errors import AppFileError

SMALL = """\
[app]
name = "dungeon"
[models.story]
source = "models/story.onnx"
runtime = "onnx"

[endpoints.continue]
model = "story"
[endpoints.continue.input]
prompt = "str"

[[tests]]
name = "a"
input = { prompt = "x" }
expect = { y = 1 }
"""

#: what is replaced, by what, and all that is printed
MESSAGES: list[tuple[str, str, str]] = [
    (
        "[models.story]",
        "[models.story",
        """\
error[MA001]: table header is not closed
  --> app.toml:3:14
 3 | [models.story
   |              ^ expected ']' here
   = help: write [models.story]""",
    ),
    (
        'runtime = "onnx"',
        'runtime = "onnx"\nmax_wait_ms = 15ms',
        """\
error[MA001]: a number has a unit glued to it
  --> app.toml:6:15
 6 | max_wait_ms = 15ms
   |               ^^^^ numbers carry no unit in TOML
   = help: the unit is in the key: write max_wait_ms = 15""",
    ),
    (
        'model = "story"',
        'model = "story"\ntimeout_s = "1500ms"',
        """\
error[MA020]: "timeout_s" must be a number
  --> app.toml:9:13
 9 | timeout_s = "1500ms"
   |             ^^^^^^^^ this is a string
   = help: write timeout_s = 1.5""",
    ),
    (
        'runtime = "onnx"',
        'runtime = "onnx"\nmax_wait_s = 0.015',
        """\
error[MA011]: [models.story] has no key "max_wait_s"
  --> app.toml:6:1
 6 | max_wait_s = 0.015
   | ^^^^^^^^^^ this setting is called max_wait_ms
   = help: write max_wait_ms = 15""",
    ),
    (
        'runtime = "onnx"',
        'runtime = "onnx"\nmax_bach_size = 8',
        """\
error[MA010]: [models.story] has no key "max_bach_size"
  --> app.toml:6:1
 6 | max_bach_size = 8
   | ^^^^^^^^^^^^^ unknown key
   = help: did you mean "max_batch_size"?""",
    ),
    (
        'runtime = "onnx"',
        'runtime = "onx"',
        """\
error[MA030]: no runtime is called "onx"
  --> app.toml:5:11
 5 | runtime = "onx"
   |           ^^^^^ unknown runtime
   = help: did you mean "onnx"?
   = note: installed runtimes: onnx, python""",
    ),
    (
        'runtime = "onnx"\n',
        'runtime = "onnx"\n[models.story.onnx]\nthraeds = 2\n',
        """\
error[MA010]: [models.story.onnx] has no key "thraeds"
  --> app.toml:7:1
 7 | thraeds = 2
   | ^^^^^^^ unknown key
   = help: did you mean "threads"?
   = note: these options belong to the onnx runtime""",
    ),
    (
        'model = "story"',
        'model = "storry"',
        """\
error[MA041]: no model is called "storry"
  --> app.toml:8:9
 3 | [models.story]
   | ^^^^^^^^^^^^^^ defined here
 8 | model = "storry"
   |         ^^^^^^^^ not defined
   = help: did you mean "story"?""",
    ),
    (
        'prompt = "str"',
        'prompt = "str"\ntimeout_s = 20',
        """\
error[MA012]: "timeout_s" is in the wrong table
  --> app.toml:11:1
 7 | [endpoints.continue]
   | ^^^^^^^^^^^^^^^^^^^^ it belongs here
11 | timeout_s = 20
   | ^^^^^^^^^ here it declares a request field called "timeout_s"
   = help: move this line up, directly under [endpoints.continue]
   = note: in TOML a key belongs to the last [header] above it""",
    ),
    (
        "[[tests]]",
        "[tests]",
        """\
error[MA013]: "tests" must be a list of tables
  --> app.toml:12:1
12 | [tests]
   | ^^^^^^^ one pair of brackets makes a single table
   = help: write [[tests]]""",
    ),
    (
        "expect = { y = 1 }\n",
        "",
        """\
error[MA051]: test "a" checks nothing
  --> app.toml:12:1
12 | [[tests]]
   | ^^^^^^^^^ no expect..., no metric_min
   = help: add what must come out, e.g. expect = { ... }, or record what comes out now
   = run:  modelapp test a --record""",
    ),
    (
        'model = "story"',
        'steps = [\n  { name = "entry", run = "story", needs = ["photo", "prompt"] },\n'
        '  { name = "photo", run = "story", needs = ["prompt"] },\n]',
        """\
error[MA042]: step "entry" needs "photo" before it exists
  --> app.toml:9:45
 9 |   { name = "entry", run = "story", needs = ["photo", "prompt"] },
   |                                             ^^^^^^^ a later step (or this one) makes it
   = help: move the step that makes photo up
   = note: known at this point: prompt""",
    ),
    (
        "expect = { y = 1 }",
        'expect = { y = 1 }\n[[tests]]\nname = "a"\ninput = { prompt = "z" }\nexpect = { y = 2 }',
        """\
error[MA050]: two tests are called "a"
  --> app.toml:17:8
13 | name = "a"
   |        ^^^ the first
17 | name = "a"
   |        ^^^ again here
   = help: write name = "a-2\"""",
    ),
    (
        'prompt = "x"',
        'promt = "x"',
        """\
error[MA053]: endpoint "continue" has no input "promt"
  --> app.toml:14:11
14 | input = { promt = "x" }
   |           ^^^^^ not declared
   = help: did you mean "prompt"?
   = note: its inputs: prompt""",
    ),
    (
        'runtime = "onnx"',
        'runtime = "onnx"\nmax_batch_size = 0',
        """\
error[MA021]: "max_batch_size" must be at least 1
  --> app.toml:6:18
 6 | max_batch_size = 0
   |                  ^ too small
   = help: write max_batch_size = 1""",
    ),
    (
        "[endpoints.continue]",
        '[models.story]\nsource = "x"\n[endpoints.continue]',
        """\
error[MA002]: table [models.story] is defined twice
  --> app.toml:7:1
 3 | [models.story]
   | ^^^^^^^^^^^^^^ first defined here
 7 | [models.story]
   | ^^^^^^^^^^^^^^ again here
   = help: put its keys below the first of the two headers, or write [models.story-2]""",
    ),
    (
        "[models.story]",
        "[models]",
        """\
error[MA013]: [models] holds tables with names
  --> app.toml:3:1
 3 | [models]
   | ^^^^^^^^ a name is missing
   = help: write [models.main], or another name
error[MA041]: no model is called "story"
  --> app.toml:8:9
 8 | model = "story"
   |         ^^^^^^^ not defined
   = note: models: none""",
    ),
    (
        'model = "story"\n',
        "",
        """\
error[MA040]: [endpoints.continue] needs exactly one of model, steps and split
  --> app.toml:7:1
 7 | [endpoints.continue]
   | ^^^^^^^^^^^^^^^^^^^^ nothing answers here
   = help: add model = "story\"""",
    ),
    (
        'model = "story"',
        'model = "story"\nsplit = { arms = { story = 100 } }',
        """\
error[MA040]: [endpoints.continue] needs exactly one of model, steps and split
  --> app.toml:9:1
 8 | model = "story"
   | ^^^^^ one
 9 | split = { arms = { story = 100 } }
   | ^^^^^ another
   = help: remove split, or model""",
    ),
    (
        'model = "story"',
        'steps = [{ name = "s", run = "story", needs = ["prompt", 5] }]',
        """\
error[MA020]: "needs[1]" must be a string
  --> app.toml:8:58
 8 | steps = [{ name = "s", run = "story", needs = ["prompt", 5] }]
   |                                                          ^ this is a whole number
   = help: write "5\"""",
    ),
    (
        "expect = { y = 1 }",
        'cases = "data/words.json"\nmetric = "handlers.py:keyword"\nmetric_min = 1',
        """\
error[MA054]: test "a" has both input and cases
  --> app.toml:15:1
14 | input = { prompt = "x" }
   | ^^^^^ one
15 | cases = "data/words.json"
   | ^^^^^ another
   = help: cases hold their own inputs: remove input
error[MA045]: keyword cannot be called with 2 arguments
  --> app.toml:16:10
16 | metric = "handlers.py:keyword"
   |          ^^^^^^^^^^^^^^^^^^^^^ it takes a, b=...
   = help: give keyword one parameter for each of: the expected values, the answered values
   = note: keyword is defined in handlers.py:6""",
    ),
    (
        'name = "dungeon"\n',
        'name = "dungeon"\nport = 8000\n',
        """\
error[MA012]: "port" is in the wrong table
  --> app.toml:3:1
 3 | port = 8000
   | ^^^^ it is a key of [server]
   = help: begin [server] with it""",
    ),
    (
        'source = "models/story.onnx"',
        'source = "handlers.py:ids"',
        """\
error[MA044]: ids is a function
  --> app.toml:4:10
 4 | source = "handlers.py:ids"
   |          ^^^^^^^^^^^^^^^^^ a model is a class
   = help: name a class of handlers.py""",
    ),
    (
        'runtime = "onnx"',
        'runtime = "onnx"\npreprocess = "broken.py:f"',
        """\
error[MA043]: SyntaxError: '(' was never closed
  --> app.toml:6:14
 6 | preprocess = "broken.py:f"
   |              ^^^^^^^^^^^^^ see broken.py:1
   = note: at broken.py:1""",
    ),
]


@pytest.mark.parametrize(("old", "new", "printed"), MESSAGES)
def test_a_message_is_printed_exactly_so(dungeon: Any, old: str, new: str, printed: str) -> None:
    """Nothing is added and nothing is left out."""
    (dungeon.root / "broken.py").write_text("x = (\n")
    with pytest.raises(AppFileError) as caught:
        dungeon.load(SMALL.replace(old, new, 1))
    assert str(caught.value) == printed


def test_a_key_is_moved_up_with_its_comment_whatever_the_line_ends(dungeon: Any) -> None:
    """The edit of a misplaced key takes the whole line along, and nothing else changes."""
    text = SMALL.replace('prompt = "str"', 'prompt = "str"\ntimeout_s = 20 # slow').replace("\n", "\r\n")
    mended = dungeon.only(text).edit.apply(text)
    assert mended.splitlines() == [
        *SMALL.splitlines()[:7],
        "timeout_s = 20 # slow",
        *SMALL.splitlines()[7:],
    ]
    assert mended.count("\r\n") == mended.count("\n")
    assert dungeon.load(mended).endpoints["continue"].timeout_s == 20


def test_a_key_is_moved_down_where_its_table_comes_later(dungeon: Any) -> None:
    """The header of the table it belongs to may stand below."""
    text = SMALL.replace('[endpoints.continue]\nmodel = "story"\n', "") + '[endpoints.continue]\nmodel = "story"\n'
    text = text.replace('prompt = "str"', 'prompt = "str"\ntimeout_s = 20')
    assert dungeon.load(dungeon.only(text).edit.apply(text)).endpoints["continue"].timeout_s == 20


def test_a_key_that_means_nothing_is_taken_out_of_an_inline_table_with_its_comma(dungeon: Any) -> None:
    """First, last or alone."""
    for fields in ('min = 1, type = "str"', 'type = "str", min = 1', 'type = "str", min = 1, doc = "d"'):
        text = SMALL.replace('prompt = "str"', f"prompt = {{ {fields} }}")
        assert (
            str(dungeon.load(dungeon.only(text).edit.apply(text)).endpoints["continue"].input["prompt"].type) == "str"
        )


def test_a_value_that_is_no_table_is_told_for_each_kind(dungeon: Any) -> None:
    """A number for a table, a table for a list, a list of tables for a table."""
    assert dungeon.only("server = 5\n" + SMALL).message == '"server" must be a table'
    named = dungeon.only(SMALL.replace('[[tests]]\nname = "a"', "[tests.a]"))
    assert (named.message, named.help) == ('"tests" must be a list of tables', "write [[tests]], and the name below it")
    assert dungeon.only(SMALL.replace("[app]", "[[app]]")).help == "write [app]"


def test_an_options_class_may_refuse_what_its_types_allow(dungeon: Any) -> None:
    """A validator's own words, at the key it names."""
    problem = dungeon.only(
        SMALL.replace("[endpoints.continue]", '[models.story.onnx]\nlevel = "none"\n[endpoints.continue]')
    )
    assert (problem.code, problem.line, problem.column) == ("MA032", 8, 9)

"""The mistakes that people make most: what is printed of each, to the letter, and whether its edit mends the file."""

from pathlib import Path
from typing import Any

import pytest

from modelapp.errors import AppFileError
from modelapp.loader import check_app
from modelapp.plugins import Plugins
from modelapp.problems import Problem

TALE = """\
[app]
name = "dungeon"

[models.story]
source = "models/story.onnx"
runtime = "onnx"

[models.story.onnx]
threads = 2

[endpoints.continue]
model = "story"

[endpoints.continue.input]
prompt = { type = "str", min_chars = 1 }
photo = "image?"

[[tests]]
name = "a"
input = { prompt = "x" }
expect = { text = "y" }
"""

#: what was done, what is changed into what, and all that is printed
GOLDEN = [
    (
        "a header that is not closed",
        "[models.story]\n",
        "[models.story\n",
        """\
error[MA001]: table header is not closed
  --> app.toml:4:14
 4 | [models.story
   |              ^ expected ']' here
   = help: write [models.story]
""",
    ),
    (
        "a number with a unit",
        'runtime = "onnx"\n',
        'runtime = "onnx"\nmax_wait_ms = 15ms\n',
        """\
error[MA001]: a number has a unit glued to it
  --> app.toml:7:15
 7 | max_wait_ms = 15ms
   |               ^^^^ numbers carry no unit in TOML
   = help: the unit is in the key: write max_wait_ms = 15
""",
    ),
    (
        "a text for a number",
        'model = "story"\n',
        'model = "story"\ntimeout_s = "1500ms"\n',
        """\
error[MA020]: "timeout_s" must be a number
  --> app.toml:13:13
13 | timeout_s = "1500ms"
   |             ^^^^^^^^ this is a string
   = help: write timeout_s = 1.5
""",
    ),
    (
        "a setting in another unit",
        'runtime = "onnx"\n',
        'runtime = "onnx"\nmax_wait_s = 0.015\n',
        """\
error[MA011]: [models.story] has no key "max_wait_s"
  --> app.toml:7:1
 7 | max_wait_s = 0.015
   | ^^^^^^^^^^ this setting is called max_wait_ms
   = help: write max_wait_ms = 15
""",
    ),
    (
        "a misspelt key",
        'runtime = "onnx"\n',
        'runtime = "onnx"\nmax_bach_size = 8\n',
        """\
error[MA010]: [models.story] has no key "max_bach_size"
  --> app.toml:7:1
 7 | max_bach_size = 8
   | ^^^^^^^^^^^^^ unknown key
   = help: did you mean "max_batch_size"?
""",
    ),
    (
        "a misspelt runtime",
        'runtime = "onnx"\n',
        'runtime = "onxn"\n',
        """\
error[MA030]: no runtime is called "onxn"
  --> app.toml:6:11
 6 | runtime = "onxn"
   |           ^^^^^^ unknown runtime
   = help: did you mean "onnx"?
   = note: installed runtimes: onnx, python
""",
    ),
    (
        "a misspelt option of a runtime",
        "threads = 2\n",
        "thread = 2\n",
        """\
error[MA010]: [models.story.onnx] has no key "thread"
  --> app.toml:9:1
 9 | thread = 2
   | ^^^^^^ unknown key
   = help: did you mean "threads"?
   = note: these options belong to the onnx runtime
""",
    ),
    (
        "a misspelt model",
        'model = "story"\n',
        'model = "storry"\n',
        """\
error[MA041]: no model is called "storry"
  --> app.toml:12:9
 4 | [models.story]
   | ^^^^^^^^^^^^^^ defined here
12 | model = "storry"
   |         ^^^^^^^^ not defined
   = help: did you mean "story"?
""",
    ),
    (
        "a key below the wrong header",
        'photo = "image?"\n',
        'photo = "image?"\ntimeout_s = 20\n',
        """\
error[MA012]: "timeout_s" is in the wrong table
  --> app.toml:17:1
11 | [endpoints.continue]
   | ^^^^^^^^^^^^^^^^^^^^ it belongs here
17 | timeout_s = 20
   | ^^^^^^^^^ here it declares a request field called "timeout_s"
   = help: move this line up, directly under [endpoints.continue]
   = note: in TOML a key belongs to the last [header] above it
""",
    ),
    (
        "one table for a list of tables",
        "[[tests]]\n",
        "[tests]\n",
        """\
error[MA013]: "tests" must be a list of tables
  --> app.toml:18:1
18 | [tests]
   | ^^^^^^^ one pair of brackets makes a single table
   = help: write [[tests]]
""",
    ),
    (
        "a test that checks nothing",
        'expect = { text = "y" }\n',
        "",
        """\
error[MA051]: test "a" checks nothing
  --> app.toml:18:1
18 | [[tests]]
   | ^^^^^^^^^ no expect..., no metric_min
   = help: add what must come out, e.g. expect = { ... }, or record what comes out now
   = run:  modelapp test a --record
""",
    ),
    (
        "steps in the wrong order",
        'model = "story"\n',
        'steps = [\n  { name = "entry", run = "handlers.py:merge", needs = ["seen", "prompt"] },\n'
        '  { name = "seen", run = "story", needs = ["photo"] }, # the picture\n]\n',
        """\
error[MA042]: step "entry" needs "seen" before it exists
  --> app.toml:13:57
13 |   { name = "entry", run = "handlers.py:merge", needs = ["seen", "prompt"] },
   |                                                         ^^^^^^ a later step (or this one) makes it
   = help: move the step that makes seen up
   = note: known at this point: prompt, photo
""",
    ),
    (
        "a run that can never be conclusive",
        'expect = { text = "y" }\n',
        'expect = { text = "y" }\n\n[guarantees.latency]\np95_ms = 250\nrate_per_s = 5\nduration_s = 10\n',
        """\
error[MA061]: this run can never be conclusive
  --> app.toml:26:14
26 | duration_s = 10
   |              ^^ 5/s x 10 s = 50 calls, min_samples is 200
   = help: duration_s = 40 would do
""",
    ),
    (
        "a profile written in two ways",
        'expect = { text = "y" }\n',
        'expect = { text = "y" }\n\n[profiles.prod]\ndeploy.replicas = 4\n[profiles.prod.deploy]\ncpu_mhz = 900\n',
        """\
error[MA002]: a profile is written in two ways
  --> app.toml:25:1
24 | deploy.replicas = 4
   | ^^^^^^ made here
25 | [profiles.prod.deploy]
   | ^^^^^^^^^^^^^^^^^^^^^^ this header reopens a table that dotted keys already made
   = help: keep it all in [profiles.prod], one dotted key a line, e.g. deploy.cpu_mhz = ...
""",
    ),
    (
        "two tests with one name",
        'expect = { text = "y" }\n',
        'expect = { text = "y" }\n\n[[tests]]\nname = "a"\ninput = { prompt = "z" }\nexpect = { text = "w" }\n',
        """\
error[MA050]: two tests are called "a"
  --> app.toml:24:8
19 | name = "a"
   |        ^^^ the first
24 | name = "a"
   |        ^^^ again here
   = help: write name = "a-2"
""",
    ),
    (
        "an undeclared input of a test",
        'input = { prompt = "x" }',
        'input = { promt = "x" }',
        """\
error[MA053]: endpoint "continue" has no input "promt"
  --> app.toml:20:11
20 | input = { promt = "x" }
   |           ^^^^^ not declared
   = help: did you mean "prompt"?
   = note: its inputs: prompt, photo
""",
    ),
    (
        "a limit for more answers below one for fewer",
        'expect = { text = "y" }\n',
        'expect = { text = "y" }\n\n[guarantees.latency]\np50_ms = 100\np95_ms = 50\n',
        """\
error[MA064]: "p95_ms" is below "p50_ms"
  --> app.toml:25:10
24 | p50_ms = 100
   |          ^^^ p50_ms is 100
25 | p95_ms = 50
   |          ^^ more answers cannot be faster than fewer
   = help: write p95_ms = 100
""",
    ),
    (
        "a profile about a model that is not there",
        'expect = { text = "y" }\n',
        'expect = { text = "y" }\n\n[profiles.prod]\nmodels.storry.max_queue = 9\n',
        """\
error[MA073]: profile prod changes model "storry", which is not there
  --> app.toml:24:8
 4 | [models.story]
   | ^^^^^^^^^^^^^^ defined here
24 | models.storry.max_queue = 9
   |        ^^^^^^ not defined
   = help: did you mean "story"?
   = note: models: story
""",
    ),
    (
        "a boolean for a whole number",
        "threads = 2\n",
        "threads = true\n",
        """\
error[MA020]: "threads" must be a whole number
  --> app.toml:9:11
 9 | threads = true
   |           ^^^^ this is true
   = help: write threads = 1, the default
""",
    ),
    (
        "a batch of nothing",
        'runtime = "onnx"\n',
        'runtime = "onnx"\nmax_batch_size = 0\n',
        """\
error[MA021]: "max_batch_size" must be at least 1
  --> app.toml:7:18
 7 | max_batch_size = 0
   |                  ^ too small
   = help: write max_batch_size = 1
""",
    ),
    (
        "a table that is defined twice",
        'expect = { text = "y" }\n',
        'expect = { text = "y" }\n\n[models.story]\nmax_queue = 9\n',
        """\
error[MA002]: table [models.story] is defined twice
  --> app.toml:23:1
 4 | [models.story]
   | ^^^^^^^^^^^^^^ first defined here
23 | [models.story]
   | ^^^^^^^^^^^^^^ again here
   = help: put its keys below the first of the two headers
""",
    ),
    (
        "a key that is set twice",
        'model = "story"\n',
        'model = "story"\ntimeout_s = 9\ntimeout_s = 9\n',
        """\
error[MA002]: "timeout_s" is set twice
  --> app.toml:14:1
13 | timeout_s = 9
   | ^^^^^^^^^ first set here
14 | timeout_s = 9
   | ^^^^^^^^^ again here
   = help: keep one of the two lines
""",
    ),
]

COMMANDS = {"a test that checks nothing": "modelapp test a --record"}
"""The mistakes that no edit of app.toml mends, since only the app knows what is missing."""


class Tale:
    """The app in a folder of its own, checked under every profile."""

    def __init__(self, root: Path, plugins: Any) -> None:
        self.root, self.plugins = root, plugins
        (root / "handlers.py").write_text("def merge(seen, prompt): ...\n", encoding="utf-8")

    def check(self, text: str) -> None:
        """Raises AppFileError."""
        Path("app.toml").write_bytes(text.encode())
        check_app(Path("app.toml"), self.plugins)

    def problem(self, text: str) -> Problem:
        """The one thing that is wrong."""
        with pytest.raises(AppFileError) as caught:
            self.check(text)
        (problem,) = caught.value.problems
        return problem


@pytest.fixture
def tale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plugins: Any) -> Tale:
    """The valid app."""
    monkeypatch.chdir(tmp_path)
    return Tale(tmp_path, plugins)


each = pytest.mark.parametrize(("what", "old", "new", "printed"), GOLDEN, ids=[one[0] for one in GOLDEN])


def test_the_file_that_is_broken_below_is_valid(tale: Tale) -> None:
    """So that each problem is its mistake's."""
    tale.check(TALE)


@each
def test_this_is_printed(tale: Tale, what: str, old: str, new: str, printed: str) -> None:
    """Place, source line, carets and help, and nothing else is said."""
    assert TALE.count(old) == 1
    assert tale.problem(TALE.replace(old, new)).render() == printed.rstrip("\n")


@each
def test_the_edit_makes_the_file_valid(tale: Tale, what: str, old: str, new: str, printed: str) -> None:
    """Or a command is given that does."""
    text = TALE.replace(old, new)
    problem = tale.problem(text)
    assert problem.command == COMMANDS.get(what, "")
    if not problem.command:
        assert problem.edit is not None
        tale.check(problem.edit.apply(text))


@each
def test_a_byte_order_mark_and_other_line_ends_change_nothing(
    tale: Tale, what: str, old: str, new: str, printed: str
) -> None:
    """The same is printed, and the edit mends the file in its own line ends."""
    text = "\ufeff" + TALE.replace(old, new).replace("\n", "\r\n")
    problem = tale.problem(text)
    assert problem.render() == printed.rstrip("\n")
    if problem.edit is not None:
        mended = problem.edit.apply(text)
        tale.check(mended)
        assert mended.count("\n") == mended.count("\r\n")


def test_a_runtime_whose_plugin_is_disabled(tale: Tale) -> None:
    """The variable that disables it is named, and the command that brings it back."""
    tale.plugins = Plugins.load(disabled=["onnx"], warn=False)
    problem = tale.problem(TALE)
    assert (
        problem.render()
        == """\
error[MA031]: the runtime "onnx" cannot be used: plugin "onnx" (modelapp 0.1.0) is disabled
  --> app.toml:6:11
 6 | runtime = "onnx"
   |           ^^^^^^ its plugin cannot be used
   = help: take it out of MODELAPP_DISABLE_PLUGINS
   = run:  unset MODELAPP_DISABLE_PLUGINS"""
    )

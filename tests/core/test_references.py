"""What app.toml refers to and is not there: runtimes, models, functions, files, fields."""

import attrs
import pytest

from modelapp.loader import check_app
from modelapp.runtime import Availability

# Name, what is changed into what, code, line, column, marked characters, message, help, and, where no edit mends it,
# the command that does, "" for none.
MISTAKES = [
    (
        "runtime typo",
        'runtime = "onnx"',
        'runtime = "onx"',
        "MA030",
        7,
        11,
        '"onx"',
        'no runtime is called "onx"',
        'did you mean "onnx"?',
    ),
    (
        "runtime broken",
        'runtime = "onnx"',
        'runtime = "jax"',
        "MA031",
        7,
        11,
        '"jax"',
        '"jax" cannot be used',
        "mend acme",
        "",
    ),
    (
        "unknown model",
        'run = "story"',
        'run = "storry"',
        "MA041",
        22,
        27,
        '"storry"',
        'no model is called "storry"',
        'did you mean "story"?',
    ),
    (
        "unknown arm model",
        "poem = 10",
        "peom = 10",
        "MA041",
        36,
        32,
        "peom",
        'no model is called "peom"',
        'did you mean "poem"?',
    ),
    (
        "shares",
        "poem = 10",
        "poem = 20",
        "MA046",
        36,
        18,
        "{ story = 90, poem = 20 }",
        "the shares sum to 110, not 100",
        "write poem = 10",
    ),
    (
        "negative share",
        "story = 90, poem = 10",
        "story = 110, poem = -10",
        "MA046",
        36,
        40,
        "-10",
        'the share of "poem" is negative',
        "shares are 0 to 100, and sum to 100",
        "",
    ),
    (
        "field key for another type",
        "default = 60, min = 1",
        "default = 60, min_chars = 1",
        "MA026",
        27,
        39,
        "min_chars",
        '"min_chars" means nothing for a field of type int',
        "remove it, or change the type",
    ),
    (
        "min above max",
        "default = 60, min = 1, max = 200",
        "default = 60, min = 60, max = 20",
        "MA027",
        27,
        55,
        "20",
        '"max" is below "min"',
        "write max = 60",
    ),
    (
        "default beyond",
        "default = 60",
        "default = 600",
        "MA026",
        27,
        35,
        "600",
        "the default must be at most 200, got 600",
        "write default = 200",
    ),
    (
        "default type",
        "default = 60",
        'default = "60"',
        "MA026",
        27,
        35,
        '"60"',
        "the default must be a whole number",
        "write default = 60",
    ),
    (
        "default choice",
        'default = "grim"',
        'default = "grym"',
        "MA026",
        28,
        34,
        '"grym"',
        'the default must be one of "grim", "gay", got "grym" (str)',
        'write default = "grim"',
    ),
    (
        "pattern",
        'text = "str"',
        'text = { type = "str", pattern = "(x" }',
        "MA024",
        31,
        34,
        '"(x"',
        "the regular expression cannot be read",
        'to match it as it stands, write "\\\\(x"',
    ),
    (
        "needs early",
        'needs = ["prompt"]',
        'needs = ["words"]',
        "MA042",
        21,
        53,
        '"words"',
        'step "ids" needs "words" before it exists',
        "move the step that makes words up",
        "",
    ),
    (
        "needs typo",
        'needs = ["prompt"]',
        'needs = ["promt"]',
        "MA042",
        21,
        53,
        '"promt"',
        'step "ids" needs "promt", which nothing makes',
        'did you mean "prompt"?',
    ),
    (
        "step twice",
        'name = "text"',
        'name = "ids"',
        "MA046",
        23,
        12,
        '"ids"',
        '"ids" names two things',
        'write name = "ids-2"',
    ),
    (
        "step like input",
        'name = "text"',
        'name = "count"',
        "MA046",
        23,
        12,
        '"count"',
        '"count" names two things',
        'write name = "count-2"',
    ),
    (
        "handler file",
        "handlers.py:ids",
        "handler.py:ids",
        "MA043",
        21,
        25,
        '"handler.py:ids"',
        "there is no handler.py beside app.toml",
        'did you mean "handlers.py"?',
        "",
    ),
    (
        "handler name",
        "handlers.py:ids",
        "handlers.py:idds",
        "MA044",
        21,
        25,
        '"handlers.py:idds"',
        "handlers.py defines no idds",
        'did you mean "handlers.py:ids"?',
    ),
    (
        "handler arity",
        'needs = ["words", "count"]',
        'needs = ["words"]',
        "MA045",
        23,
        26,
        '"handlers.py:join"',
        "join cannot be called with 1 argument",
        "give join one parameter for each of: words",
        "",
    ),
    (
        "handler keyword",
        "handlers.py:ids",
        "handlers.py:keyword",
        "MA045",
        21,
        25,
        '"handlers.py:keyword"',
        "keyword cannot be called with 1 argument",
        "give keyword one parameter for each of: prompt",
        "",
    ),
    (
        "handler form",
        "handlers.py:ids",
        "handlers:ids",
        "MA043",
        21,
        25,
        '"handlers:ids"',
        '"handlers:ids" names no function',
        'write "handlers.py:ids"',
    ),
    (
        "preprocess arity",
        'preprocess = "handlers.py:clean"',
        'preprocess = "handlers.py:join"',
        "MA045",
        16,
        14,
        '"handlers.py:join"',
        "join cannot be called with 1 argument",
        "give join one parameter for each of: the inputs",
        "",
    ),
    (
        "class",
        "handlers.py:Poem",
        "handlers.py:Peom",
        "MA044",
        14,
        10,
        '"handlers.py:Peom"',
        "handlers.py defines no Peom",
        'did you mean "handlers.py:Poem"?',
    ),
    (
        "same path",
        "split = {",
        'path = "/continue"\nsplit = {',
        "MA047",
        36,
        8,
        '"/continue"',
        'two endpoints answer on "/continue"',
        'write path = "/both"',
    ),
    (
        "reserved path",
        "split = {",
        'path = "/v2/models"\nsplit = {',
        "MA047",
        36,
        8,
        '"/v2/models"',
        "/v2 is taken",
        "choose another path, e.g. /api/v2/models",
    ),
    (
        "odd path",
        "split = {",
        'path = "go home"\nsplit = {',
        "MA047",
        36,
        8,
        '"go home"',
        '"go home" cannot be a path',
        'write path = "/go-home"',
    ),
    (
        "stats",
        "[models.poem]",
        '[models.stats]\nsource = "handlers.py:Poem"\nruntime = "python"\n[models.poem]',
        "MA048",
        13,
        9,
        "stats",
        'no model can be called "stats"',
        "call it stats-model",
    ),
    (
        "odd name",
        "[models.poem]",
        '[models."a b"]\nsource = "x"\nruntime = "python"\n[models.poem]',
        "MA025",
        13,
        9,
        '"a b"',
        '"a b" cannot be a name here',
        "call it a-b",
    ),
    (
        "app name",
        'name = "dungeon"',
        'name = "My Dungeon"',
        "MA025",
        2,
        8,
        '"My Dungeon"',
        '"My Dungeon" cannot be the name of an app',
        'write name = "my-dungeon"',
    ),
    (
        "requires",
        'requires = ">=0.1"',
        'requires = ">=99"',
        "MA029",
        3,
        12,
        '">=99"',
        "the app is for another modelapp",
        "",
        "pip install 'modelapp>=99'",
    ),
    (
        "requires form",
        'requires = ">=0.1"',
        'requires = "latest"',
        "MA029",
        3,
        12,
        '"latest"',
        '"latest" is no version requirement',
        'write requires = ">=0.1.0"',
    ),
    (
        "absolute",
        "models/story.onnx",
        "/models/story.onnx",
        "MA028",
        6,
        10,
        '"/models/story.onnx"',
        '"source" is an absolute path',
        "use a path beside app.toml",
        "",
    ),
    (
        "backslash",
        '"models/story.onnx"',
        "'models\\story.onnx'",
        "MA028",
        6,
        10,
        "'models\\story.onnx'",
        '"source" has backslashes',
        'write source = "models/story.onnx"',
    ),
    (
        "escape",
        "models/story.onnx",
        "../story.onnx",
        "MA028",
        6,
        10,
        '"../story.onnx"',
        '"source" leaves the app\'s folder',
        "move the file",
        "",
    ),
    (
        "match pattern",
        "text = '(?i)you'",
        "text = '(?i'",
        "MA024",
        43,
        25,
        "'(?i'",
        "the regular expression cannot be read",
        'to match it as it stands, write "\\\\(\\\\?i"',
    ),
]


def test_each_mistake_is_told_where_it_stands(dungeon, mistake):
    """Code, line, column, marked characters, message and help are exactly these, and nothing else is said."""
    dungeon.expect_told(mistake)


def test_each_mistake_can_be_mended(dungeon, mistake):
    """The file loads with the edit of its problem; where no edit can help, a command is told, or only the help."""
    dungeon.expect_mended(mistake)


STEPS = 'steps = [\n  { name = "c", run = "handlers.py:ids", needs = [%s] }, # last\n  %s,\n  %s,\n]\n'


def test_a_step_that_comes_too_late_is_moved(dungeon):
    """To right before the one that needs it; comments stay where they are."""
    first = '{ name = "a", run = "handlers.py:ids", needs = ["x"] }'
    second = '{ name = "b", run = "handlers.py:ids", needs = ["x"] }'
    text = f'[app]\nname = "order"\n[endpoints.e]\n{STEPS % (chr(34) + "b" + chr(34), first, second)}'
    text += '[endpoints.e.input]\nx = "str"\n'
    problem = dungeon.only(text)
    mended = problem.edit.apply(text)
    assert [step.name for step in dungeon.load(mended).endpoints["e"].steps] == ["b", "c", "a"]
    assert mended.count("# last\n") == 1


def test_steps_in_a_circle_cannot_be_put_in_order(dungeon):
    """Nor a step that needs itself: no edit is offered that would not help."""
    first = '{ name = "a", run = "handlers.py:ids", needs = ["c"] }'
    second = '{ name = "b", run = "handlers.py:ids", needs = ["x"] }'
    for need in ("a", "c"):
        text = f'[app]\nname = "order"\n[endpoints.e]\n{STEPS % (chr(34) + need + chr(34), first, second)}'
        problem = dungeon.only(text + '[endpoints.e.input]\nx = "str"\n')
        assert (problem.code, problem.edit) == ("MA042", None)


@pytest.mark.parametrize(
    ("fix", "help", "command"),
    [("pip install 'acme[x]'", "", "pip install 'acme[x]'"), ("ask the administrator", "ask the administrator", "")],
)
def test_a_runtime_without_its_library_is_a_warning(dungeon, plugins, fix, help, command):
    """The file is valid, and cannot run here; what brings the library is told."""
    lacking = Availability(ok=False, missing="the package x", fix=fix)
    plugins.runtimes["onnx"] = attrs.evolve(plugins.runtimes["onnx"], probe=lambda: lacking)
    dungeon.load()
    notices = check_app(dungeon.root / "app.toml", plugins).notices
    (told,) = [notice for notice in notices if notice.code == "MA036"]
    assert (told.severity, told.source, told.label) == ("warning", 'runtime = "onnx"', "it lacks the package x")
    assert (told.help, told.command) == (help, command)


def test_a_probe_that_fails_is_no_problem_of_the_file(dungeon, plugins):
    """`modelapp plugins` tells of it."""

    def probe():
        raise RuntimeError("broken")

    plugins.runtimes["onnx"] = attrs.evolve(plugins.runtimes["onnx"], probe=probe)
    dungeon.load()
    assert [one for one in check_app(dungeon.root / "app.toml", plugins).notices if one.code == "MA036"] == []


@pytest.mark.parametrize(
    ("old", "new", "marked"),
    [
        ('"models/story.onnx"', '"models/stroy.onnx"', '"models/stroy.onnx"'),
        (
            'source = "models/story.onnx"',
            'source = "models/story.onnx"\nfiles = { words = "models/stroy.onnx" }',
            '"models/stroy.onnx"',
        ),
    ],
)
def test_a_model_file_that_is_not_there_is_a_warning_at_its_place(dungeon, old, new, marked):
    """The file is valid, as the model may come later; the near name is told, and its edit leaves nothing to say."""
    text = dungeon.text.replace(old, new, 1)
    (told,) = [one for one in dungeon.notices(text) if one.code == "MA057"]
    assert (told.severity, told.source[told.column - 1 :][: told.length]) == ("warning", marked)
    assert told.help == 'did you mean "models/story.onnx"?'
    assert [one for one in dungeon.notices(told.edit.apply(text)) if one.code == "MA057"] == []


def test_a_folder_may_be_a_model(dungeon):
    """A source need not be a single file."""
    text = dungeon.text.replace('"models/story.onnx"', '"models"', 1)
    assert [one for one in dungeon.notices(text) if one.code == "MA057"] == []

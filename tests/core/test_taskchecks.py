"""Tasks, how models generate, and endpoints that stream: what does not fit is told in its place."""

import pytest

from modelapp.app import Model
from modelapp.runtime import RuntimeSpec
from modelapp.taskchecks import _TYPES, generates
from modelapp.tasks import TASKS

BOTH = 'split = { arms = { story = 90, poem = 10 }, by = "user" }\n'
GENERATES = 'task = "text-generation"\n'
NOT_GENERATING = "does not generate token by token"
NO_STREAM = ('endpoint "third" cannot stream', "leave stream out")

# As in test_batchchecks.
MISTAKES = [
    (
        "task misspelt",
        "max_wait_ms = 15\n",
        'task = "text-genration"\n',
        "MA074",
        9,
        8,
        '"text-genration"',
        'no task is called "text-genration"',
        'did you mean "text-generation"?',
    ),
    (
        "task of another runtime",
        "max_wait_ms = 15\n",
        'task = "object-detection"\n',
        "MA075",
        9,
        8,
        '"object-detection"',
        'runtime "onnx" does not adapt models to "object-detection"',
        "leave task out",
    ),
    (
        "steps shorter than the company",
        "max_wait_ms = 15\n",
        f"{GENERATES}generation = {{ step_tokens = 4 }}\n",
        "MA076",
        10,
        30,
        "4",
        "a step cannot give every sequence a token",
        "write step_tokens = 8 in [models.story.generation]",
    ),
    (
        "more sequences than a step has tokens",
        "max_batch_size = 8\nmax_wait_ms = 15\n",
        f"max_batch_size = 300\n{GENERATES}",
        "MA076",
        8,
        18,
        "300",
        "a step cannot give every sequence a token",
        "write step_tokens = 300 in [models.story.generation]",
    ),
    (
        "no room for a prompt",
        "max_wait_ms = 15\n",
        f"{GENERATES}generation.context_tokens = 100\n",
        "MA076",
        10,
        29,
        "100",
        "an answer leaves no room for its prompt",
        "write max_tokens = 50 in [models.story.generation]",
    ),
    (
        "answers as long as the context",
        "max_wait_ms = 15\n[models.story.onnx]",
        f"{GENERATES}[models.story.generation]\ncontext_tokens = 64\nmax_tokens = 64\n[models.story.onnx]",
        "MA076",
        12,
        14,
        "64",
        "an answer leaves no room for its prompt",
        "write max_tokens = 32 in [models.story.generation]",
    ),
    (
        "generation without a task",
        "max_wait_ms = 15\n",
        "generation = { max_tokens = 9 }\n",
        "MA077",
        9,
        1,
        "generation",
        f'model "story" {NOT_GENERATING}',
        'add task = "text-generation" to [models.story], or remove this',
    ),
    (
        "generation of a task that does not",
        "max_wait_ms = 15\n",
        'task = "embeddings"\ngeneration = { max_tokens = 9 }\n',
        "MA077",
        10,
        1,
        "generation",
        f'model "story" {NOT_GENERATING}',
        "remove it",
    ),
    (
        "generation of a class",
        'preprocess = "handlers.py:clean"\n',
        f"{GENERATES}generation = {{ max_tokens = 9 }}\n",
        "MA077",
        17,
        1,
        "generation",
        f'model "poem" {NOT_GENERATING}',
        "remove it: the python runtime leaves how it generates to the model",
    ),
    (
        "a split that streams",
        BOTH,
        f"{BOTH}[endpoints.third]\n{BOTH}stream = true\n",
        "MA078",
        39,
        10,
        "true",
        *NO_STREAM,
    ),
    (
        "a function at the end",
        BOTH,
        f'{BOTH}[endpoints.third]\nsteps = [{{ name = "a", run = "handlers.py:ready" }}]\nstream = true\n',
        "MA078",
        39,
        10,
        "true",
        *NO_STREAM,
    ),
    (
        "a model that answers at once",
        BOTH,
        f'{BOTH}[endpoints.third]\nmodel = "story"\nstream = true\n',
        "MA078",
        39,
        10,
        "true",
        *NO_STREAM,
    ),
    (
        "work behind the model",
        BOTH,
        f'{BOTH}[endpoints.third]\nmodel = "poem"\npostprocess = "handlers.py:clean"\nstream = true\n',
        "MA078",
        40,
        10,
        "true",
        *NO_STREAM,
    ),
    (
        "work of the model's own behind it",
        'preprocess = "handlers.py:clean"\n',
        'postprocess = "handlers.py:clean"\n[endpoints.third]\nmodel = "poem"\nstream = true\n',
        "MA078",
        19,
        10,
        "true",
        *NO_STREAM,
    ),
]


def test_the_mistake_is_told_in_its_place(dungeon, mistake):
    """Code, line, column, marked characters, words and advice."""
    dungeon.expect_told(mistake)


def test_the_edit_makes_the_file_valid(dungeon, mistake):
    """What is offered mends it."""
    dungeon.expect_mended(mistake)


def test_keys_of_batches_have_no_effect_on_sequences(dungeon):
    """Each is named, and the file is valid."""
    keys = ("max_wait_ms", "concurrency", "pad", "cost", "max_batch_cost")
    written = f'{GENERATES}max_wait_ms = 15\nconcurrency = 2\npad = {{ ids = {{}} }}\ncost = "tokens"\n'
    text = dungeon.text.replace("max_wait_ms = 15\n", f"{written}max_batch_cost = 9\n")

    told = [one for one in dungeon.notices(text) if one.code == "MA077"]

    assert sorted(one.message for one in told) == sorted(
        f'"{key}" has no effect on a model that generates' for key in keys
    )
    assert {one.severity for one in told} == {"warning"}


@pytest.mark.parametrize("model", ["story", "poem"])
def test_what_streams_may_stream(dungeon, model):
    """A model that generates, and a class of the app's own."""
    text = dungeon.text.replace("max_wait_ms = 15\n", GENERATES)
    app = dungeon.load(text.replace(BOTH, f'{BOTH}[endpoints.third]\nmodel = "{model}"\nstream = true\n', 1))

    assert app.endpoints["third"].stream


@pytest.mark.parametrize("task", TASKS)
def test_a_runtime_decides_whether_a_task_generates(task):
    """The word alone does not: a class with that task answers as it likes."""
    model = Model(name="m", source="m", runtime="r", task=task)

    able = RuntimeSpec(name="r", open=lambda: None, capabilities=frozenset({"generate"}))
    assert generates(model, able) == TASKS[task].generates
    assert not generates(model, RuntimeSpec(name="r", open=lambda: None))


@pytest.fixture
def third(dungeon):
    """third(task, fields, model=): the app with a third endpoint, over a model with that task."""

    def text(task: str, fields: str, model: str = "story") -> str:
        old = {"story": "max_wait_ms = 15\n", "poem": 'preprocess = "handlers.py:clean"\n'}[model]
        written = dungeon.text.replace(old, f'task = "{task}"\n', 1)
        return written.replace(BOTH, f'{BOTH}[endpoints.third]\nmodel = "{model}"\n{fields}\n', 1)

    return text


@pytest.mark.parametrize(
    ("task", "fields", "marked", "message", "advice"),
    [
        (
            "text-generation",
            'input = { promt = "str" }',
            "promt",
            '"promt" is nothing that task = "text-generation" takes',
            'did you mean "prompt"?',
        ),
        (
            "embeddings",
            'input = { sentence = "str" }',
            "sentence",
            '"sentence" is nothing that task = "embeddings" takes',
            'did you mean "text"?',
        ),
        (
            "embeddings",
            'input = { text = "str", colour = "str" }',
            "colour",
            '"colour" is nothing that task = "embeddings" takes',
            "remove it",
        ),
        (
            "embeddings",
            'input = { text = "str" }\noutput = { embeding = "list[float]" }',
            "embeding",
            '"embeding" is nothing that task = "embeddings" gives',
            'did you mean "embedding"?',
        ),
        (
            "text-generation",
            'input = { max_tokens = "int" }',
            "input",
            'task = "text-generation" needs "prompt", which endpoint "third" does not declare',
            'add prompt = "str" to [endpoints.third.input]',
        ),
        (
            "text-generation",
            '[endpoints.third.input]\nmax_tokens = "int"',
            "[endpoints.third.input]",
            'task = "text-generation" needs "prompt", which endpoint "third" does not declare',
            'add prompt = "str" to [endpoints.third.input]',
        ),
        (
            "text-generation",
            'input = { prompt = "int" }',
            '"int"',
            '"prompt" cannot be int; task = "text-generation" takes str, or list of token ids',
            'write "str"',
        ),
        (
            "text-generation",
            'input = { prompt = "str" }\noutput = { text = "str", completion_tokens = "str?" }',
            '"str?"',
            '"completion_tokens" cannot be str?; task = "text-generation" gives int: of all answers',
            'write "int"',
        ),
        (
            "embeddings",
            'output = { embedding = "str" }',
            '"str"',
            '"embedding" cannot be str; task = "embeddings" gives float32 array',
            'write "list[float]"',
        ),
    ],
)
def test_fields_that_a_task_does_not_have_are_told(dungeon, third, task, fields, marked, message, advice):
    """In their place, with an edit that makes the file valid."""
    text = third(task, fields)
    problem = dungeon.only(text)
    start = problem.column - 1

    assert (problem.code, problem.message, problem.help) == ("MA079", message, advice)
    assert problem.source[start : start + problem.length] == marked
    assert problem.edit is not None
    dungeon.load(problem.edit.apply(text))


def test_a_type_with_bounds_is_told_without_an_edit(dungeon, third):
    """The bounds would not suit the other type."""
    problem = dungeon.only(third("text-generation", 'input = { prompt = { type = "int", max = 9 } }'))
    assert (problem.help, problem.edit) == ('write "str"', None)


@pytest.mark.parametrize("task", TASKS)
def test_every_key_of_a_task_may_be_declared_as_it_is_offered(dungeon, third, task):
    """Each has a type, and the first of them is valid as it is."""
    sides = {"input": TASKS[task].takes, "output": TASKS[task].gives}
    assert set().union(*sides.values()) <= set(_TYPES), "say what can hold it"
    fields = "\n".join(f"{side} = {{ {', '.join(map(offered, keys))} }}" for side, keys in sides.items())

    assert "third" in dungeon.load(third(task, fields, "poem")).endpoints


def offered(key: str) -> str:
    """A key with the first of its types."""
    return f'{key} = "{_TYPES[key][0]}"'


@pytest.mark.parametrize(
    ("task", "fields", "model"),
    [
        ("embeddings", 'preprocess = "handlers.py:clean"\ninput = { words = "str" }', "story"),
        ("embeddings", 'postprocess = "handlers.py:clean"\noutput = { near = "str" }', "story"),
        ('embeddings"\npreprocess = "handlers.py:clean', 'input = { words = "str" }', "story"),
        ('embeddings"\npostprocess = "handlers.py:clean', 'output = { near = "str" }', "story"),
        ("embeddings", 'input = { rows = "list[json]" }\noutput = { tokens = "float?" }', "story"),
        ("text-generation", 'input = { messages = "list[json]", n = "int?" }', "story"),
        ("text-generation", 'input = { about = "str" }\noutput = { texts = "str", rhymes = "int" }', "poem"),
        ("embeddings", 'input = { text = "str", colour = "str" }\noutput = { words = "int" }', "poem"),
        ("embeddings", "", "story"),
    ],
)
def test_what_may_be_declared_beside_a_task(dungeon, third, task, fields, model):
    """Where a function is between, where an input is the whole record, and what a class has besides."""
    assert "third" in dungeon.load(third(task, fields, model)).endpoints


def test_a_class_may_not_misspell_its_task_or_lack_what_it_needs(dungeon, third):
    """One that answers at once is held to its task."""
    renamed = dungeon.only(third("embeddings", 'input = { txt = "str" }', "poem"))
    assert renamed.help == 'did you mean "text"?'
    needed = dungeon.only(third("embeddings", 'input = { colour = "str" }', "poem"))
    assert needed.message == 'task = "embeddings" needs "text", which endpoint "third" does not declare'


@pytest.mark.parametrize(("task", "code"), [("text-genration", "MA074"), ("object-detection", "MA075")])
def test_a_wrong_task_is_told_alone(dungeon, third, task, code):
    """Nothing that follows from it: neither that the endpoint cannot stream, nor what it declares."""
    text = third(task, 'stream = true\ninput = { promt = "str" }')
    assert dungeon.only(text).code == code


def test_of_several_strangers_the_nearest_is_meant(dungeon, third):
    """Whichever stands first; the others are to go."""
    problems = dungeon.problems(third("embeddings", 'input = { words = "str", txt = "str" }'))
    assert [problem.help for problem in problems] == ["remove it", 'did you mean "text"?']

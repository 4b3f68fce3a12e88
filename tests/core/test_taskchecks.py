"""Tasks, how models generate, and endpoints that stream: what does not fit is told in its place."""

import pytest

from modelapp.app import Model
from modelapp.runtime import RuntimeSpec
from modelapp.taskchecks import generates
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

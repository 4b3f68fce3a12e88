"""Models as they ran here, against what app.toml says of their rows and fields."""

import pytest

from modelapp import signaturecache
from modelapp.signature import Signature, TensorSpec
from modelapp.signaturecache import Measured

APP = """\
[app]
name = "tale"

[models.story]
source = "story.onnx"
runtime = "onnx"
max_batch_size = 4

[endpoints.tell]
model = "story"

[endpoints.tell.input]
ids = { type = "tensor", dtype = "int64", shape = [-1] }
mask = { type = "tensor", dtype = "float32", shape = [3] }
"""
IDS = TensorSpec("ids", "int64", ("batch", None))
MASK = TensorSpec("mask", "float32", ("batch", 3))


@pytest.fixture
def ran(dungeon):
    """ran(signature, text): what is wrong after the model ran with that signature."""
    (dungeon.root / "story.onnx").write_bytes(b"weights")

    def check(signature, text=APP):
        model = dungeon.load(APP).models["story"]
        signaturecache.write(dungeon.root, model, Measured(signature))
        return dungeon.everything(text)

    return check


@pytest.mark.parametrize(
    ("inputs", "line", "marked", "message", "mended"),
    [
        ((IDS,), 14, "mask", 'model "story" has no input "mask"', None),
        (
            (IDS, TensorSpec("masks", "float32", ("batch", 3))),
            14,
            "mask",
            'model "story" has no input "mask"',
            "masks = {",
        ),
        (
            (IDS, MASK, TensorSpec("kind", "bool", ("batch",))),
            12,
            "[endpoints.tell.input]",
            'model "story" needs "kind"',
            'kind = { type = "tensor", dtype = "bool" }',
        ),
        (
            (TensorSpec("ids", "int32", ("batch", None)), MASK),
            13,
            '"int64"',
            '"ids" is int64, and model "story" takes int32',
            'dtype = "int32"',
        ),
        (
            (IDS, TensorSpec("mask", "float32", ("batch", 5))),
            14,
            "[3]",
            '"mask" has another shape than model "story" takes',
            "shape = [-1, 5]",
        ),
        (
            (TensorSpec("ids", "int64", ("batch", None, 3)), MASK),
            13,
            "[-1]",
            '"ids" has another shape than model "story" takes',
            "shape = [-1, -1, 3]",
        ),
    ],
)
def test_fields_that_the_model_cannot_take_are_told(ran, dungeon, inputs, line, marked, message, mended):
    """Where they are declared, with the model's own names, dtypes and shapes."""
    (problem,) = ran(Signature(inputs))
    assert (problem.code, problem.line, problem.message) == ("MA049", line, message)
    assert problem.source[problem.column - 1 :][: problem.length] == marked
    assert (problem.edit is None) == (mended is None)
    if problem.edit is not None:
        text = problem.edit.apply(APP)
        assert mended in text
        assert not dungeon.everything(text)


@pytest.mark.parametrize(
    "inputs",
    [
        (IDS, MASK),
        (IDS, MASK, TensorSpec("kind", "bool", ("batch",), optional=True)),
        (TensorSpec("ids", "int64", (1, 7)), TensorSpec("mask", "float32", (3,))),
    ],
)
def test_fields_that_fit_are_not_told(ran, inputs):
    """With the row axis or without, any size where either says so, optional inputs left out."""
    assert not ran(Signature(inputs))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('model = "story"', 'steps = [{ name = "s", run = "story", needs = ["ids"] }]'),
        ('model = "story"', 'model = "story"\npreprocess = "handlers.py:clean"'),
        ("max_batch_size = 4", 'preprocess = "handlers.py:clean"'),
        ('mask = { type = "tensor", dtype = "float32", shape = [3] }', 'mask = "json"'),
    ],
)
def test_where_something_may_stand_between_nothing_is_told(ran, old, new):
    """A step, a function, or a field that may hold several inputs."""
    assert not ran(Signature((IDS,)), APP.replace(old, new))


@pytest.mark.parametrize(("dtype", "codes"), [("int64", []), ("bool", ["MA049"])])
def test_the_only_input_may_have_another_name(ran, dtype, codes):
    """As it may in a request; what it holds is compared all the same."""
    one = APP.replace("[-1] }\nmask", "[-1] }\n# mask")
    problems = ran(Signature((TensorSpec("input_ids", dtype, ("batch", None)),)), one)
    assert [problem.code for problem in problems] == codes


def test_records_have_no_inputs_to_compare(ran):
    """A class takes what its own code takes."""
    assert not ran(Signature(kind="records"))


@pytest.mark.parametrize(
    ("signature", "label"),
    [
        (Signature((TensorSpec("ids", "int64", (2, None)), MASK)), "its batch axis is fixed to 2"),
        (Signature((TensorSpec("ids", "int64", (1, None)), MASK), batched=False), "its batch axis is fixed to 1"),
        (Signature((IDS, MASK), batched=False), "it runs one request at a time"),
    ],
)
def test_more_rows_than_a_run_can_hold_are_a_warning(ran, dungeon, signature, label):
    """The app runs, with smaller batches than it says."""
    assert not ran(signature)
    (told,) = [one for one in dungeon.notices(APP) if one.code == "MA049"]
    assert (told.severity, told.source, told.label) == ("warning", "max_batch_size = 4", label)
    assert not [one for one in dungeon.notices(told.edit.apply(APP)) if one.code == "MA049"]


def test_padding_of_no_input_is_told(ran):
    """With the one it may be a misspelling of."""
    text = APP.replace("max_batch_size = 4\n", "max_batch_size = 4\npad = { idss = {} }\n")
    (told,) = ran(Signature(inputs=(IDS, MASK)), text)
    assert (told.code, told.message, told.help) == ("MA049", 'model "story" has no input "idss"', 'did you mean "ids"?')
    assert told.edit.apply(text) == text.replace("idss", "ids")


def test_buckets_that_no_input_can_take_are_told(ran):
    """As loading would tell it, at its place."""
    text = APP.replace("max_batch_size = 4\n", "pad = { ids = {}, mask = {} }\nbuckets = [[16, 2]]\n")
    (told,) = ran(Signature(inputs=(IDS, MASK)), text)
    assert (told.code, told.line) == ("MA049", 8)
    assert told.message == '[16, 2] has 2 sizes, a row of "ids" has 1'
    assert told.help == "a shape has the sizes of every axis but the rows"

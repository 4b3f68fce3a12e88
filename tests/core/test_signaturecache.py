"""What is known of a model from when it ran: kept by its files' digest, and forgotten with them."""

import asyncio

import attrs
import pytest

from modelapp import signaturecache
from modelapp.app import Model
from modelapp.digests import SIGNATURES, Digests, cache_dir
from modelapp.nulloptions import RuntimeOptions
from modelapp.nullruntime import NullRuntime
from modelapp.runtime import Placement
from modelapp.served import ServedModel
from modelapp.signature import Signature, TensorSpec
from modelapp.signaturecache import Measured

SIGNATURE = Signature(
    (TensorSpec("ids", "int64", ("batch", None, 3)), TensorSpec("mask", "float32", (1,), optional=True)),
    (TensorSpec("scores", "float32", ("batch", 2)),),
    batched=False,
)
MODEL = Model(name="story", source="story.onnx", runtime="onnx", files={"words": "words.txt"})


@pytest.fixture
def root(tmp_path):
    """A folder with the model's files."""
    (tmp_path / "story.onnx").write_bytes(b"weights")
    (tmp_path / "words.txt").write_text("a b")
    return tmp_path


@pytest.mark.parametrize("run_ms", [None, 3.25])
def test_what_is_written_is_read(root, run_ms):
    """Every part of a signature, dimensions of each kind included."""
    signaturecache.write(root, MODEL, Measured(SIGNATURE, run_ms))
    assert signaturecache.read(root, MODEL) == Measured(SIGNATURE, run_ms)


def test_records_have_a_signature_too(root):
    """Without inputs."""
    signaturecache.write(root, MODEL, Measured(Signature(kind="records")))
    assert signaturecache.read(root, MODEL) == Measured(Signature(kind="records"))


@pytest.mark.parametrize(
    "change",
    [{"runtime": "jax"}, {"device": "cuda"}, {"options": {"threads": 2}}, {"files": {}}, {"source": "other.onnx"}],
)
def test_another_model_is_not_taken_for_it(root, change):
    """The runtime, its options, the device and every file make it what it is; its name does not."""
    (root / "other.onnx").write_bytes(b"other weights")
    signaturecache.write(root, MODEL, Measured(SIGNATURE, 1.0))
    assert signaturecache.read(root, attrs.evolve(MODEL, **change)) is None
    assert signaturecache.read(root, attrs.evolve(MODEL, name="poem", max_queue=3)) is not None


def test_changed_weights_are_another_model(root):
    """Whatever was measured of the old ones."""
    signaturecache.write(root, MODEL, Measured(SIGNATURE, 1.0))
    (root / "story.onnx").write_bytes(b"weightz")
    assert signaturecache.read(root, MODEL) is None


def test_what_old_weights_showed_is_never_said_of_new_ones(root):
    """A model that a reload replaced is closed when its files are others already."""
    model = Model(name="story", source="story.onnx", runtime="null", options=RuntimeOptions())

    async def live():
        served = ServedModel(root, model, Placement())
        await served.load(NullRuntime())
        await served.remember()
        assert signaturecache.read(root, model) is not None
        (root / "story.onnx").write_bytes(b"weightz")
        await served.close()

    asyncio.run(live())
    assert signaturecache.read(root, model) is None


def test_a_time_is_kept_where_there_is_no_new_one(root):
    """A start without requests does not forget what a day of them has shown."""
    signaturecache.write(root, MODEL, Measured(SIGNATURE, 5.0))
    signaturecache.write(root, MODEL, Measured(SIGNATURE))
    assert signaturecache.read(root, MODEL) == Measured(SIGNATURE, 5.0)
    signaturecache.write(root, MODEL, Measured(SIGNATURE, 6.0))
    assert signaturecache.read(root, MODEL) == Measured(SIGNATURE, 6.0)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 0}', '{"format": 1}', '{"format": 1, "signature": 5}'])
def test_a_broken_memory_is_none(root, content):
    """It costs a check, never an error."""
    signaturecache.write(root, MODEL, Measured(SIGNATURE))
    (file,) = (cache_dir() / SIGNATURES).iterdir()
    file.write_text(content)
    assert signaturecache.read(root, MODEL) is None
    signaturecache.write(root, MODEL, Measured(SIGNATURE, 2.0))
    assert signaturecache.read(root, MODEL) == Measured(SIGNATURE, 2.0)


def test_a_model_that_is_not_there_has_none(root):
    """And nothing is written of it."""
    gone = attrs.evolve(MODEL, source="gone.onnx")
    signaturecache.write(root, gone, Measured(SIGNATURE))
    assert signaturecache.read(root, gone) is None
    assert not (cache_dir() / SIGNATURES).exists()


def test_a_cache_that_cannot_be_written_stops_nobody(root):
    """A file stands where its folder should be."""
    cache_dir().parent.mkdir(parents=True, exist_ok=True)
    cache_dir().write_text("")
    signaturecache.write(root, MODEL, Measured(SIGNATURE))
    assert signaturecache.read(root, MODEL) is None


def test_a_large_file_is_not_read_to_look_it_up(root, monkeypatch):
    """`check` must not spend a minute on weights; a remembered digest counts."""
    signaturecache.write(root, MODEL, Measured(SIGNATURE, 1.0))
    monkeypatch.setattr(signaturecache, "_QUICKLY_READ_BYTES", 3)
    assert signaturecache.read(root, MODEL) is None
    monkeypatch.setattr("modelapp.digests._SETTLED_NS", 0)
    digests = Digests()
    for name in ("story.onnx", "words.txt"):
        digests.file(root / name)
    digests.save()
    assert signaturecache.read(root, MODEL) == Measured(SIGNATURE, 1.0)


RUNS = """\
[app]
name = "slow"

[models.slow]
source = "weights.bin"
runtime = "null"
[models.slow.null]
inputs = { x = "float32[batch, 2]" }
delay_ms = 30

[endpoints.answer]
model = "slow"
[endpoints.answer.input]
x = { type = "tensor", shape = [2] }

[[tests]]
name = "thrice"
input = { x = [1.0, 2.0] }
expect = { x = [1.0, 2.0] }
repeat = 3

[guarantees.latency]
p95_ms = 20
duration_s = 60
"""


def test_check_knows_what_a_run_has_shown(modelapp, write_app):
    """After the tests ran, the limit below the model's time is a warning, and a field that it cannot take an error."""
    root = write_app(RUNS, {"weights.bin": b"weights"})
    assert "MA068" not in modelapp("check", cwd=root).stderr
    done = modelapp("test", cwd=root)
    assert done.returncode == 0, done.stderr
    told = modelapp("check", cwd=root)
    assert told.returncode == 0
    assert 'warning[MA068]: "p95_ms" is less than endpoint "answer" needs' in told.stderr
    app = root / "app.toml"
    app.write_text(RUNS.replace("shape = [2]", "shape = [3]"))
    wrong = modelapp("check", cwd=root)
    assert wrong.returncode == 3
    assert 'error[MA049]: "x" has another shape than model "slow" takes' in wrong.stdout

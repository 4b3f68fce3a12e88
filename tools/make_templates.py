"""Trains the small models of `modelapp init` and writes them, their cases and pictures into the templates.

    python3.11 -m venv /tmp/make
    /tmp/make/bin/pip install -e . onnx==1.23.2 scikit-learn==1.9.1 palmerpenguins==0.1.6
    /tmp/make/bin/pip download --no-deps --no-binary :all: vaderSentiment==3.3.2 -d /tmp/make
    /tmp/make/bin/python tools/make_templates.py /tmp/make/vaderSentiment-3.3.2.tar.gz

The same versions on the same kind of processor give the same files. Where the data comes from, and under which licence:
core/modelapp/templates/NOTICE.md. What is held out below is never trained on.
"""

import base64
import csv
import importlib.util
import io
import json
import re
import sys
import tarfile
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
from numpy.lib.stride_tricks import sliding_window_view
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from scipy.ndimage import affine_transform
from scipy.optimize import minimize
from scipy.sparse import csr_matrix
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

ROOT = Path(__file__).parents[1]
TEMPLATES = ROOT / "core/modelapp/templates"
SHARED = TEMPLATES / "shared"


def main() -> None:
    """Write everything, and print what each model is worth on what was held out."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    penguins()
    pictures = digits()
    texts = words(Path(sys.argv[1]))
    cards(pictures, texts)


# --- penguins: four measures to a species -----------------------------------------------------------------------------

MEASURES = ("bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g")


def penguins() -> None:
    """A linear model over standardised measures; the standardisation is part of it, so that it takes raw ones."""
    place = Path(importlib.util.find_spec("palmerpenguins").origin).parent / "data/penguins.csv"
    with place.open(encoding="utf-8") as file:
        birds = [bird for bird in csv.DictReader(file) if bird["body_mass_g"] != "NA"]
    species = sorted({bird["species"] for bird in birds})
    x = np.array([[float(bird[name]) for name in MEASURES] for bird in birds])
    y = np.array([species.index(bird["species"]) for bird in birds])
    held = np.arange(len(x)) % 3 == 2
    middle, spread = x[~held].mean(0), x[~held].std(0)
    model = LogisticRegression(C=3, max_iter=2000).fit((x[~held] - middle) / spread, y[~held])
    nodes = [
        helper.make_node("Sub", ["measures", "middle"], ["centred"]),
        helper.make_node("Div", ["centred", "spread"], ["standard"]),
        helper.make_node("Gemm", ["standard", "weight", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["chances"], axis=1),
        helper.make_node("ArgMax", ["logits"], ["species"], axis=1, keepdims=0),
    ]
    weights = {"middle": middle, "spread": spread, "weight": model.coef_.T, "bias": model.intercept_}
    outputs = {"chances": (TensorProto.FLOAT, ["batch", 3]), "species": (TensorProto.INT64, ["batch"])}
    save("penguins", nodes, weights, {"measures": (TensorProto.FLOAT, ["batch", 4])}, outputs)
    right = model.predict((x[held] - middle) / spread) == y[held]
    print(f"penguins: {right.mean():.4f} of {held.sum()} held-out birds, of the species {species}")
    cases = [
        {"input": {"measures": row.tolist()}, "expect": {"species": int(kind)}}
        for row, kind in zip(x[held], y[held], strict=True)
    ]
    write_lines(TEMPLATES / "tensor/data/held-out.jsonl", cases)
    named = [dict(zip(MEASURES, row.tolist(), strict=True)) for row in x[held]]
    cases = [{"input": row, "expect": {"species": species[k]}} for row, k in zip(named, y[held], strict=True)]
    write_lines(TEMPLATES / "batch/data/held-out.jsonl", cases)
    write_lines(TEMPLATES / "batch/data/season.jsonl", named)


# --- digits: 8 x 8 pixels to a digit ----------------------------------------------------------------------------------

TRAINED = 1297
"""The pictures stand in the order of their writers: the last 500 are mostly by people that the model never saw."""
EPOCHS, BATCH, DROPPED, STEP = 120, 64, 0.3, 2e-3


def digits() -> list[tuple[str, int]]:
    """Two convolutions and a linear layer. Returns the held-out pictures, as data URLs, with their digits."""
    module = handlers("digits")
    found = load_digits()
    x, y = (found.images / 16).astype(np.float32), found.target
    enlarged = np.stack([module.pixels(enlarge(one)) for one in x])
    weights = train_digits(x[:TRAINED], enlarged[:TRAINED], y[:TRAINED])
    nodes = [
        helper.make_node("Unsqueeze", ["pixels", "one"], ["plane"]),
        helper.make_node("Conv", ["plane", "w1", "b1"], ["c1"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("MaxPool", ["r2"], ["pooled"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w3", "b3"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["chances"], axis=1),
    ]
    w1, b1, w2, b2, w3, b3 = weights
    arrays = {
        "one": np.array([1], np.int64),
        "w1": w1.reshape(3, 3, 1, -1).transpose(3, 2, 0, 1),
        "b1": b1,
        "w2": w2.reshape(3, 3, w1.shape[1], -1).transpose(3, 2, 0, 1),
        "b2": b2,
        "w3": w3.reshape(4, 4, w2.shape[1], 10).transpose(2, 0, 1, 3).reshape(-1, 10),
        "b3": b3,
    }
    inputs, outputs = {"pixels": (TensorProto.FLOAT, ["batch", 8, 8])}, {"chances": (TensorProto.FLOAT, ["batch", 10])}
    save("digits", nodes, arrays, inputs, outputs)
    for kind, inputs_ in (("8 x 8", x), ("enlarged, through the handler", enlarged)):
        right = (scores(weights, inputs_[TRAINED:]) == y[TRAINED:]).mean()
        print(f"digits: {right:.4f} of {len(x) - TRAINED} held-out pictures ({kind})")
    pictures = [(data_url(png(enlarge(one, side=24))), int(k)) for one, k in zip(x[TRAINED:], y[TRAINED:], strict=True)]
    cases = [{"input": {"picture": url}, "expect": {"digit": digit}} for url, digit in pictures[::2]]
    write_lines(TEMPLATES / "image/data/held-out.jsonl", cases)
    three, seven = (likest(x[TRAINED:][y[TRAINED:] == number]) for number in (3, 7))
    (TEMPLATES / "image/data/three.png").write_bytes(png(enlarge(three, side=96)))
    (TEMPLATES / "image/data/seven-in-chalk.png").write_bytes(png(255 - enlarge(seven, side=96)))
    (TEMPLATES / "image/data/blank.png").write_bytes(png(np.full((96, 96, 3), 240, np.uint8)))
    return pictures


def likest(pictures: np.ndarray) -> np.ndarray:
    """The picture that is most like the mean of all."""
    return pictures[((pictures - pictures.mean(0)) ** 2).sum((1, 2)).argmin()]


def enlarge(ink: np.ndarray, side: int = 64) -> np.ndarray:
    """The 8 x 8 shares of ink as a picture on white paper, uint8 [side, side, 3]."""
    inner = side - 2 * (side // 8)
    smooth = Image.fromarray(ink).resize((inner, inner), Image.Resampling.BICUBIC)
    paper = np.pad(np.clip(np.asarray(smooth), 0, 1), side // 8)
    return np.repeat((255 - 225 * paper).astype(np.uint8)[..., None], 3, axis=2)


def png(picture: np.ndarray) -> bytes:
    """In grey and 32 shades: small."""
    grey = Image.fromarray(picture).convert("L").point(lambda shade: shade // 8 * 8 + shade // 32)
    buffer = io.BytesIO()
    grey.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def data_url(content: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def train_digits(x: np.ndarray, enlarged: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
    """Adam with a cosine schedule over pictures that are turned, sheared, scaled and moved anew in each epoch."""
    rng = np.random.default_rng(0)
    sizes = ((9, 16), (9 * 16, 32), (16 * 32, 10))
    weights = []
    for into, out in sizes:
        weights += [rng.normal(0, np.sqrt((1 if out == 10 else 2) / into), (into, out)), np.zeros(out)]
    weights = [weight.astype(np.float32) for weight in weights]
    first, second = [0 * weight for weight in weights], [0 * weight for weight in weights]
    step, steps = 0, EPOCHS * -(-len(x) // BATCH)
    for epoch in range(EPOCHS):
        jiggled = np.stack([jiggle(one, rng) for one in (enlarged if epoch % 3 == 2 else x)])
        order = rng.permutation(len(x))
        for start in range(0, len(x), BATCH):
            rows = order[start : start + BATCH]
            gradients = gradient(weights, jiggled[rows], y[rows], rng)
            step += 1
            rate = STEP / 2 * (1 + np.cos(np.pi * step / steps))
            for k, slope in enumerate(gradients):
                first[k] = 0.9 * first[k] + 0.1 * slope
                second[k] = 0.999 * second[k] + 0.001 * slope**2
                way = first[k] / (1 - 0.9**step) / (np.sqrt(second[k] / (1 - 0.999**step)) + 1e-8)
                weights[k] = weights[k] - rate * (way + 1e-4 * weights[k])
    return weights


def jiggle(ink: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As another hand might have written it."""
    angle, shear = rng.normal(0, 0.12, 2)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = turn @ np.array([[1, 0], [shear, 1]]) @ np.diag(1 + rng.normal(0, 0.08, 2))
    middle = np.array([3.5, 3.5])
    return affine_transform(ink, matrix, offset=middle - matrix @ (middle + rng.normal(0, 0.5, 2)), order=1)


def patches(planes: np.ndarray) -> np.ndarray:
    """The 3 x 3 surroundings of every pixel: [rows, h, w, c] to [rows, h, w, 9 c]."""
    padded = np.pad(planes, ((0, 0), (1, 1), (1, 1), (0, 0)))
    found = sliding_window_view(padded, (3, 3), axis=(1, 2)).transpose(0, 1, 2, 4, 5, 3)
    return found.reshape(*planes.shape[:3], -1)


def forward(weights: list[np.ndarray], x: np.ndarray) -> tuple[np.ndarray, ...]:
    w1, b1, w2, b2, *_ = weights
    p1 = patches(x[..., None])
    a1 = np.maximum(p1 @ w1 + b1, 0)
    p2 = patches(a1)
    a2 = np.maximum(p2 @ w2 + b2, 0)
    blocks = a2.reshape(len(x), 4, 2, 4, 2, -1)
    return p1, a1, p2, a2, blocks, blocks.max((2, 4))


def scores(weights: list[np.ndarray], x: np.ndarray) -> np.ndarray:
    """The digits that the model sees."""
    return (forward(weights, x)[-1].reshape(len(x), -1) @ weights[4] + weights[5]).argmax(1)


def gradient(weights: list[np.ndarray], x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """Of the mean cross entropy, with dropout before the last layer."""
    w2, w3 = weights[2], weights[4]
    p1, a1, p2, a2, blocks, pooled = forward(weights, x)
    kept = (rng.random((len(x), w3.shape[0])) > DROPPED).astype(np.float32) / (1 - DROPPED)
    flat = pooled.reshape(len(x), -1) * kept
    logits = flat @ w3 + weights[5]
    wrong = np.exp(logits - logits.max(1, keepdims=True))
    wrong /= wrong.sum(1, keepdims=True)
    wrong[np.arange(len(x)), y] -= 1
    wrong /= len(x)
    back = ((wrong @ w3.T) * kept).reshape(pooled.shape)
    back = ((blocks == pooled[:, :, None, :, None]) * back[:, :, None, :, None]).reshape(a2.shape) * (a2 > 0)
    below = (back @ w2.T).reshape(*a1.shape[:3], 3, 3, -1)
    spread = np.zeros((len(x), 10, 10, a1.shape[-1]), np.float32)
    for row in range(3):
        for column in range(3):
            spread[:, row : row + 8, column : column + 8] += below[:, :, :, row, column]
    lower = spread[:, 1:-1, 1:-1] * (a1 > 0)
    return [
        p1.reshape(-1, 9).T @ lower.reshape(-1, lower.shape[-1]),
        lower.sum((0, 1, 2)),
        p2.reshape(-1, p2.shape[-1]).T @ back.reshape(-1, back.shape[-1]),
        back.sum((0, 1, 2)),
        flat.T @ wrong,
        wrong.sum(0),
    ]


# --- words: the sum of what words weigh -------------------------------------------------------------------------------

RATINGS = "hutto_ICWSM_2014/amazonReviewSnippets_GroundTruth.txt"
HOLD = 0.2
"""How strongly a word is held to what people said it weighs."""
FEWEST = 2
CLEAR = 1.0
"""A sentence is clearly good or bad from this rating on, of -4 to 4."""


def words(sdist: Path) -> list[tuple[str, bool]]:
    """Weights that people gave to words, adjusted to their ratings of sentences.

    Returns held-out sentences that people found clearly good or bad.
    """
    module = handlers("words")
    lexicon, sentences = read_vader(sdist)
    reviews = sorted({number for number, _, _ in sentences})
    held = [number in set(reviews[::4]) for number, _, _ in sentences]  # whole reviews: their sentences are alike
    texts = [module.split(text) for _, _, text in sentences]
    ratings = np.array([rating / 4 for _, rating, _ in sentences])
    seen: dict[str, int] = {}
    for text, out in zip(texts, held, strict=True):
        for word in set(text) if not out else ():
            seen[word] = seen.get(word, 0) + 1
    vocabulary = sorted({*lexicon, *(w for w, n in seen.items() if n >= FEWEST or lexicon.get(w.removeprefix("not ")))})
    start = np.array([prior(lexicon, word) for word in vocabulary])
    table = counts(texts, vocabulary)
    train, test = ~np.array(held), np.array(held)
    weights = minimize(loss, start, (start, table[train], ratings[train]), jac=True, method="L-BFGS-B").x
    kept = np.abs(weights) >= 0.02  # the others say nothing
    vocabulary, weights = [word for word, keep in zip(vocabulary, kept, strict=True) if keep], weights[kept]
    save_words(vocabulary, weights)
    clear = test & (np.abs(ratings) >= CLEAR / 4)
    for kind, these in (("as trained", weights), ("as people rated words", start[kept])):
        found = squashed(counts(texts, vocabulary) @ these)
        right = (found[clear] > 0) == (ratings[clear] > 0)
        like = np.corrcoef(found[test], ratings[test])[0, 1]
        print(f"words: {right.mean():.4f} of {clear.sum()} clear held-out sentences, correlation {like:.3f} ({kind})")
    good = [
        (text, bool(rating > 0))
        for (_, rating, text), out in zip(sentences, held, strict=True)
        if out and abs(rating) >= CLEAR and 20 <= len(text) <= 140 and re.fullmatch(r"[a-z0-9 .,;:!?'\"()-]+", text)
    ]
    cases = [{"input": {"text": text}, "expect": {"good": verdict}} for text, verdict in good[::2]]
    write_lines(TEMPLATES / "text/data/held-out.jsonl", cases)
    return good[1::2]


def read_vader(sdist: Path) -> tuple[dict[str, float], list[tuple[int, float, str]]]:
    """What people said words weigh, and (review, rating from -4 to 4, sentence)."""
    with tarfile.open(sdist) as outer:
        root = outer.getnames()[0].split("/")[0]
        table = outer.extractfile(f"{root}/vaderSentiment/vader_lexicon.txt").read().decode()
        with tarfile.open(fileobj=outer.extractfile(f"{root}/additional_resources/hutto_ICWSM_2014.tar.gz")) as inner:
            ratings = inner.extractfile(RATINGS).read().decode("latin-1")
    words_ = (line.split("\t") for line in table.splitlines())
    lexicon = {word.lower(): float(mean) for word, mean, *_ in words_ if re.fullmatch(r"[a-z]+(['-][a-z]+)*", word)}
    rows = (line.split("\t") for line in ratings.splitlines())
    return lexicon, [(int(place.split("_")[0]), float(rating), text.strip()) for place, rating, text in rows]


def prior(lexicon: dict[str, float], word: str) -> float:
    """A word's weight before training; one that is turned round weighs -0.74 of it, as people were found to feel it."""
    return -0.74 * lexicon.get(word[4:], 0.0) if word.startswith("not ") else lexicon.get(word, 0.0)


def counts(texts: list[list[str]], vocabulary: list[str]) -> csr_matrix:
    """How often each word of the vocabulary is in each text."""
    places = {word: place for place, word in enumerate(vocabulary)}
    rows, columns = [], []
    for row, text in enumerate(texts):
        for word in text:
            place = places.get(word, places.get(word.removeprefix("not ")))
            if place is not None:
                rows.append(row)
                columns.append(place)
    return csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(len(texts), len(vocabulary)))


def squashed(sums: np.ndarray) -> np.ndarray:
    """Between -1 and 1."""
    return sums / np.sqrt(sums**2 + 15)


def loss(weights: np.ndarray, start: np.ndarray, table: csr_matrix, ratings: np.ndarray) -> tuple[float, np.ndarray]:
    """Squared errors, and how far the weights are from what people said; with the gradient."""
    sums = table @ weights
    errors = squashed(sums) - ratings
    moved = weights - start
    slope = 2 * (table.T @ (errors * 15 / (sums**2 + 15) ** 1.5)) + 2 * HOLD * moved
    return errors @ errors + HOLD * (moved @ moved), slope


def save_words(vocabulary: list[str], weights: np.ndarray) -> None:
    """The model and its words, one a line."""
    nodes = [
        helper.make_node("Gather", ["weight", "words"], ["weights"]),
        helper.make_node("ReduceSum", ["weights", "one"], ["sum"], keepdims=0),
        helper.make_node("Mul", ["sum", "sum"], ["square"]),
        helper.make_node("Add", ["square", "fifteen"], ["more"]),
        helper.make_node("Sqrt", ["more"], ["root"]),
        helper.make_node("Div", ["sum", "root"], ["score"]),
    ]
    arrays = {
        "weight": np.concatenate([[0.0], weights]),  # number 0 is no word: the padding
        "one": np.array([1], np.int64),
        "fifteen": np.array(15.0),
    }
    inputs, outputs = {"words": (TensorProto.INT64, ["batch", "length"])}, {"score": (TensorProto.FLOAT, ["batch"])}
    save("words", nodes, arrays, inputs, outputs)
    (SHARED / "words.txt").write_text("".join(f"{word}\n" for word in vocabulary), encoding="utf-8")


# --- cards: both models -----------------------------------------------------------------------------------------------


def cards(pictures: list[tuple[str, int]], texts: list[tuple[str, bool]]) -> None:
    """Held-out numbers of stars beside held-out comments; at odds where just one of the two praises."""
    rng = np.random.default_rng(0)
    stars = {number: [url for url, digit in pictures[1::2] if digit == number] for number in (1, 2, 4, 5)}
    cases = []
    for text, good in texts[:60]:
        odd = bool(rng.random() < 0.4)
        number = int(rng.choice([4, 5] if good != odd else [1, 2]))
        picture = stars[number][int(rng.integers(len(stars[number])))]
        cases.append({"input": {"stars": picture, "comment": text}, "expect": {"at_odds": odd}})
    write_lines(TEMPLATES / "pipeline/data/held-out.jsonl", cases)
    nine = next(url for url, digit in pictures[1::2] if digit == 9)
    for name, url in (("one", stars[1][0]), ("five", stars[5][0]), ("nine", nine)):
        small = Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))
        large = np.asarray(small.resize((96, 96), Image.Resampling.BICUBIC).convert("RGB"))
        (TEMPLATES / f"pipeline/data/{name}.png").write_bytes(png(large))


# --- files ------------------------------------------------------------------------------------------------------------

Declared = dict[str, tuple[int, list[str | int]]]


def save(
    name: str, nodes: list[onnx.NodeProto], arrays: dict[str, np.ndarray], inputs: Declared, outputs: Declared
) -> None:
    """Write an ONNX model; floats become float32."""
    stored = [
        numpy_helper.from_array(np.ascontiguousarray(a, a.dtype if a.dtype.kind == "i" else np.float32), key)
        for key, a in arrays.items()
    ]
    values = [[helper.make_tensor_value_info(k, *v) for k, v in declared.items()] for declared in (inputs, outputs)]
    graph = helper.make_graph(nodes, name, *values, initializer=stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    (SHARED / f"{name}.onnx").write_bytes(model.SerializeToString())


def handlers(name: str) -> ModuleType:
    """The functions that the apps use: what is trained on is what will be asked."""
    spec = importlib.util.spec_from_file_location(name, SHARED / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_lines(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    main()

"""The steps between the request, the two models and the catalogue record."""

import functools
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tokenizers import Tokenizer

from modelapp.errors import InvalidInput

Floats = NDArray[np.float32]
Tokens = Mapping[str, NDArray[np.int64]]

HERE = Path(__file__).parent
SHORT_SIDE_PX, CROP_PX = 256, 224
MAX_DOCUMENT_TOKENS = 256
"""What the text model was made for."""
MAX_PHRASES, MAX_PHRASE_TOKENS = 96, 16
UNKNOWN = "[UNK]"
KEYWORDS = 5
DIVERSITY = 0.6
"""0 picks keywords by likeness to the text alone, 1 by unlikeness to each other alone."""
SURE_PHOTO = 0.3
"""The least probability of a photo's class, or of all classes of a category together, that counts as recognised."""
SURE_TEXT = 0.2
"""A text is understood when its best category is at least this like it."""

_BREAK = re.compile(r"[^\w\s'’-]|_|\s[-–—]+\s")
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")


# --- the photo -------------------------------------------------------------------------------------------------------


def pixels(photo: NDArray[np.uint8]) -> Floats:
    """The photo model's input: the centre of the photo as float32 [3, 224, 224], its short side scaled to 256."""
    photo = _without_ends(photo)
    height, width = photo.shape[:2]
    scale = SHORT_SIDE_PX / min(height, width)
    size = max(SHORT_SIDE_PX, round(width * scale)), max(SHORT_SIDE_PX, round(height * scale))
    left, top = (size[0] - CROP_PX) // 2, (size[1] - CROP_PX) // 2
    scaled = Image.fromarray(photo).resize(size, Image.Resampling.BICUBIC)
    centre = np.asarray(scaled.crop((left, top, left + CROP_PX, top + CROP_PX)), np.float32)
    return np.ascontiguousarray(((centre - 127) / 128).transpose(2, 0, 1), np.float32)


def _without_ends(photo: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The middle of a long strip: enlarged whole, a line of pixels would take gigabytes."""
    most = 4 * min(photo.shape[:2])
    for axis in (0, 1):
        spare = (photo.shape[axis] - most) // 2
        if spare > 0:
            photo = photo[spare:-spare] if axis == 0 else photo[:, spare:-spare]
    return photo


def classify(answer: Mapping[str, Floats]) -> dict[str, Any]:
    """What the photo shows: the three best classes, and the category whose classes are likeliest together."""
    chances = _softmax(answer["logits"].reshape(-1).astype(np.float64))
    names = _labels()
    best = [int(place) for place in np.argsort(-chances, kind="stable")[:3]]
    sums = {name: float(chances[list(places)].sum()) for name, places in _categories().items()}
    category = max(sums, key=sums.__getitem__)
    known = sums[category] >= SURE_PHOTO
    return {
        "photo_label": names[best[0]],
        "photo_score": float(chances[best[0]]),
        "photo_classes": [{"label": names[place], "score": float(chances[place])} for place in best],
        "photo_category": category if known else None,
        "photo_category_score": sums[category],
    }


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(logits - logits.max())
    return np.asarray(powers / powers.sum())


@functools.cache
def _labels() -> tuple[str, ...]:
    return tuple((HERE / "data/imagenet_labels.txt").read_text(encoding="utf-8").splitlines())


@functools.cache
def _categories() -> dict[str, tuple[int, ...]]:
    """Category -> the places of its classes in the photo model's answer."""
    table = tomllib.loads((HERE / "data/categories.toml").read_text(encoding="utf-8"))
    places = {label: place for place, label in enumerate(_labels())}
    return {entry["name"]: tuple(places[label] for label in entry["labels"]) for entry in table["category"]}


# --- the text --------------------------------------------------------------------------------------------------------


def document(text: str) -> Tokens:
    """The text model's input for the whole text: one row. Raises InvalidInput where the model would cut it short."""
    encoded = tokens([text])
    length = encoded["input_ids"].shape[1]
    if length > MAX_DOCUMENT_TOKENS:
        raise InvalidInput(f"text takes {length} word pieces, the model reads {MAX_DOCUMENT_TOKENS}", field="text")
    return encoded


def phrases(text: str) -> list[str]:
    """The words and pairs of neighbouring words that may become keywords, in reading order.

    A pair never spans punctuation or a stop word. Raises InvalidInput where the text has none.
    """
    found: dict[str, None] = {}  # a set that keeps its order
    for segment in _BREAK.split(text.lower()):
        run: list[str] = []
        for match in _WORD.finditer(segment):
            word = match[0]
            if word in _stop_words() or len(word) < 2 or not any(letter.isalpha() for letter in word):
                run = []
                continue
            if run:
                found[f"{run[-1]} {word}"] = None
            found[word] = None
            run.append(word)
    known = [phrase for phrase in found if _is_known(phrase)]
    if not known:
        raise InvalidInput("text holds no word that could be a keyword", field="text")
    return known[:MAX_PHRASES]


def _is_known(phrase: str) -> bool:
    """Whether the text model can read it; what it spells out letter by letter is a code, not a keyword."""
    pieces = _tokenizer().encode(phrase).tokens
    return len(pieces) <= MAX_PHRASE_TOKENS and UNKNOWN not in pieces


@functools.cache
def _stop_words() -> frozenset[str]:
    return frozenset((HERE / "data/stop_words.txt").read_text(encoding="utf-8").split())


def tokens(texts: Sequence[str]) -> Tokens:
    """The text model's inputs, one row a text, int64 [texts, longest], padded on the right with 0."""
    rows = [_tokenizer().encode(text).ids for text in texts]
    ids = np.zeros((len(rows), max(map(len, rows))), np.int64)
    mask = np.zeros_like(ids)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = row
        mask[place, : len(row)] = 1
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}


def vectors(answer: Mapping[str, Floats], encoded: Tokens) -> Floats:
    """One unit vector a text, float32 [texts, 384]: the mean over its word pieces."""
    mask = encoded["attention_mask"][..., None].astype(np.float32)
    means = (answer["last_hidden_state"] * mask).sum(axis=1) / mask.sum(axis=1)
    return np.asarray(means / np.linalg.norm(means, axis=1, keepdims=True), np.float32)


def describe_text(candidates: Sequence[str], candidate_vectors: Floats, text_vectors: Floats) -> dict[str, Any]:
    """The text's keywords, best first, and the category it is most like."""
    text_vector = text_vectors[0]
    chosen = diverse(candidate_vectors @ text_vector, candidate_vectors @ candidate_vectors.T, KEYWORDS)
    scores = {candidates[place]: float(candidate_vectors[place] @ text_vector) for place in chosen}
    names, prompts = _prompts()
    likeness = prompts @ text_vector
    best = int(likeness.argmax())
    return {
        "keywords": [
            {"keyword": word, "score": scores[word]} for word in sorted(scores, key=lambda word: -scores[word])
        ],
        "text_category": names[best],
        "text_category_score": float(likeness[best]),
    }


def diverse(relevance: Floats, likeness: Floats, count: int) -> list[int]:
    """The places of `count` candidates by maximal marginal relevance (Carbonell and Goldstein, 1998).

    The most relevant comes first; each next one is relevant and unlike all chosen before. `relevance` is
    [candidates], `likeness` [candidates, candidates].
    """
    chosen: list[int] = []
    free = np.ones(len(relevance), bool)
    repeats = np.zeros_like(relevance)  # how like each is to the nearest one chosen; none is yet
    while free.any() and len(chosen) < count:
        worth = np.where(free, (1 - DIVERSITY) * relevance - DIVERSITY * repeats, -np.inf)
        best = int(worth.argmax())
        repeats = np.maximum(repeats, likeness[best]) if chosen else likeness[best]
        free[best] = False
        chosen.append(best)
    return chosen


@functools.cache
def _tokenizer() -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(HERE / "models/minilm_tokenizer.json"))
    tokenizer.no_padding()  # the file asks for 128 pieces always; rows are made equally long per request instead
    tokenizer.no_truncation()  # a text that is too long is refused, not cut
    return tokenizer


@functools.cache
def _prompts() -> tuple[tuple[str, ...], Floats]:
    """The categories and the unit vectors of their prompts, as models/embed_categories.py wrote them."""
    with np.load(HERE / "data/category_vectors.npz") as stored:
        names, prompts = tuple(str(name) for name in stored["names"]), stored["vectors"]
    if names != tuple(_categories()):
        raise RuntimeError("data/categories.toml has changed; run: python models/embed_categories.py")
    return names, prompts


# --- the record ------------------------------------------------------------------------------------------------------


def record(seen: Mapping[str, Any], said: Mapping[str, Any]) -> dict[str, Any]:
    """One catalogue record out of both; `review` where a person should look, for the reasons given.

    The photo decides the category where it is recognised, else the text.
    """
    by_photo, by_text = seen["photo_category"], said["text_category"]
    reasons = []
    if by_photo is None and seen["photo_score"] < SURE_PHOTO:
        reasons.append("the photo is not recognised")
    elif by_photo is None:
        reasons.append("the photo shows nothing that the catalogue sells")
    if said["text_category_score"] < SURE_TEXT:
        reasons.append("the text fits no category")
    if by_photo is not None and by_photo != by_text:
        reasons.append(f"the photo says {by_photo}, the text {by_text}")
    return {
        "category": by_text if by_photo is None else by_photo,
        "category_score": said["text_category_score"] if by_photo is None else seen["photo_category_score"],
        "category_from": "text" if by_photo is None else "photo",
        "photo_label": seen["photo_label"],
        "photo_score": seen["photo_score"],
        "text_category": by_text,
        "text_category_score": said["text_category_score"],
        "keywords": said["keywords"],
        "review": bool(reasons),
        "review_reasons": reasons,
    }

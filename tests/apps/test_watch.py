"""The watch app: its handlers, its files, and its own tests against a running replica."""

import hashlib
import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
APP = ROOT / "apps" / "watch"
CORNERS = ("x_min", "y_min", "x_max", "y_max")
LIMIT = 0.5
"""The overlap that README.md speaks of."""
Heads = dict[str, NDArray[np.float32]]
Box = tuple[float, float, float, float]

PEOPLE: Mapping[str, list[Box]] = {
    "street_000.jpg": [(253, 220, 284, 309), (498, 157, 530, 234), (639, 240, 685, 325)],
    "street_240.jpg": [
        (39, 175, 65, 244),
        (236, 156, 268, 227),
        (451, 250, 482, 354),
        (614, 200, 641, 280),
        (643, 116, 666, 177),
        (664, 121, 684, 182),
        (657, 272, 708, 381),
    ],
    "street_400.jpg": [(272, 196, 303, 287), (590, 140, 617, 205), (686, 301, 744, 412)],
    "street_480.jpg": [(463, 238, 508, 338), (579, 248, 613, 341), (611, 269, 644, 388), (406, 223, 430, 288)],
}
"""Boxed by hand, with the difference from the empty street as a help and the detector as none."""
HIDDEN: Box = (406, 223, 430, 288)
"""The one of whom a sign covers the upper half."""
NOBODY = ("street_empty.jpg", "chelsea.png", "horse.png", "grass.png", "gravel.png", "brick.png", "rocket.jpg")


def _import(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"watch_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


handlers = _import(APP / "handlers.py")


@pytest.fixture(scope="module")
def detector() -> Callable[[NDArray[np.float32]], Heads]:
    """The vendored model: float32 [batch, 3, 416, 416] -> its outputs by name."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(APP / "models/nanodet.onnx"), options, ["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda images: dict(zip(names, map(np.asarray, session.run(names, {"images": images})), strict=True))


@pytest.fixture(scope="module")
def detect(detector) -> Callable[..., dict[str, Any]]:
    """The whole endpoint: detect(picture, min_score=0.35)."""

    def run(picture: NDArray[np.uint8], min_score: float = 0.35) -> dict[str, Any]:
        heads = {name: rows[0] for name, rows in detector(handlers.pixels(picture)[np.newaxis]).items()}
        return dict(handlers.answer(handlers.found(heads, picture, min_score), min_score))

    return run


def _picture(name: str) -> NDArray[np.uint8]:
    with Image.open(APP / "data" / name) as image:
        return np.asarray(image.convert("RGB"))


def _corners(box: Mapping[str, Any]) -> Box:
    x_min, y_min, x_max, y_max = (box[name] for name in CORNERS)
    return x_min, y_min, x_max, y_max


def _iou(one: Box, other: Box) -> float:
    """Written apart from the handlers' own, to judge it."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(0.0, width) * max(0.0, height)
    union = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)) - shared
    return shared / union if union > 0 else 0.0


def _persons(answer: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [box for box in answer["boxes"] if box["label"] == "person"]


# --- files -----------------------------------------------------------------------------------------------------------


def test_vendored_files_are_those_the_notice_lists() -> None:
    """Every vendored file has the digest that NOTICE.md gives, and none is left out."""
    notice = (APP / "NOTICE.md").read_text(encoding="utf-8")
    listed = {match[2]: match[1] for match in re.finditer(r"^([0-9a-f]{64})  (\S+)$", notice, re.MULTILINE)}
    found = {
        path.relative_to(APP).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for pattern in ("models/*", "data/*.png", "data/*.jpg", "data/*.txt")
        for path in APP.glob(pattern)
    }
    assert found == listed


def test_every_vendored_file_has_a_licence() -> None:
    """Each digest's file stands in the table above it, in a row that ends with a licence."""
    notice = (APP / "NOTICE.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1:-1] for line in notice.splitlines() if re.match(r"\| (data|models)/", line)]
    named = {Path(name.strip()).name for row in rows for name in row[0].split(",")}
    files = re.findall(r"^[0-9a-f]{64}  (\S+)$", notice, re.MULTILINE)
    assert named == {Path(file).name for file in files}
    assert all(len(row) == 4 and row[3].strip() for row in rows)


def test_labels_are_as_many_as_the_model_has_classes(detector) -> None:
    """80 different names, a person the first; one score and four distributions a cell."""
    labels = (APP / "data/coco_labels.txt").read_text(encoding="utf-8").splitlines()
    heads = detector(np.zeros((1, 3, 416, 416), np.float32))
    assert labels[0] == handlers.PERSON
    assert len(set(labels)) == len(labels) == 80
    assert {name: rows.shape[1:] for name, rows in heads.items()} == {
        f"{kind}_s{stride}": ((416 // stride) ** 2, width)
        for stride in handlers.STRIDES_PX
        for kind, width in (("cls", 80), ("reg", 4 * handlers.BINS))
    }


def test_readme_shows_what_the_command_prints(modelapp) -> None:
    """The command in README.md, run as it stands, prints the answer below it, up to another processor's last digits."""
    readme = (APP / "README.md").read_text(encoding="utf-8")
    shown = re.search(r"^\$ modelapp (.*)\n(\{.*\})$", readme, re.MULTILINE)
    assert shown is not None
    done = modelapp(*shlex.split(shown[1]), cwd=ROOT)
    assert done.returncode == 0, done.stderr
    printed, written = json.loads(done.stdout), json.loads(shown[2])
    [box], [expected] = printed.pop("boxes"), written.pop("boxes")
    assert printed == written
    assert box.pop("label") == expected.pop("label")
    assert box == pytest.approx(expected, rel=1e-3)


# --- the detector's input --------------------------------------------------------------------------------------------


def _as_colours(pixels: NDArray[np.float32]) -> NDArray[np.float64]:
    """The square back as red, green and blue of 0 to 255, [416, 416, 3]."""
    blue_first = pixels.transpose(1, 2, 0) * handlers.DEVIATION_BGR + handlers.MEAN_BGR
    return np.asarray(blue_first[:, :, ::-1])


def test_pixels_are_blue_first_and_normalised() -> None:
    """Red 255 alone: blue and green sit at minus their means, red, in the last place, above its own."""
    got = handlers.pixels(np.full((10, 20, 3), (255, 0, 0), np.uint8))
    expected = [-103.53 / 57.375, -116.28 / 57.12, (255 - 123.675) / 58.395]
    assert got.dtype == np.float32
    assert got.flags.c_contiguous
    np.testing.assert_allclose(got, np.broadcast_to(np.reshape(expected, (3, 1, 1)), (3, 416, 416)), rtol=1e-5)


def test_a_picture_of_the_right_size_is_not_resampled() -> None:
    """Every pixel of a square of 416 keeps its place and its colour."""
    picture = np.random.default_rng(1).integers(0, 256, (416, 416, 3), np.uint8)
    np.testing.assert_allclose(_as_colours(handlers.pixels(picture)), picture, atol=1e-3)


@given(st.integers(1, 900), st.integers(1, 900), st.integers(0, 255))
def test_a_plain_picture_stays_plain_whatever_its_size(height: int, width: int, value: int) -> None:
    """Any size gives [3, 416, 416], a line of one pixel too."""
    got = handlers.pixels(np.full((height, width, 3), value, np.uint8))
    np.testing.assert_allclose(_as_colours(got), np.full((416, 416, 3), value), atol=1e-3)


@given(st.data(), st.integers(40, 900), st.integers(40, 900))
def test_what_is_in_the_picture_is_in_its_place_in_the_square(data: st.DataObject, height: int, width: int) -> None:
    """A white rectangle, found in the square and scaled back, is where it was painted, to a pixel of either."""
    left, top = data.draw(st.integers(0, width - 30)), data.draw(st.integers(0, height - 30))
    right, bottom = data.draw(st.integers(left + 20, width)), data.draw(st.integers(top + 20, height))
    picture = np.zeros((height, width, 3), np.uint8)
    picture[top:bottom, left:right] = 255
    rows, columns = np.nonzero(_as_colours(handlers.pixels(picture))[:, :, 0] > 127)
    found = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    scale = np.array([width, height, width, height]) / 416
    assert np.all(np.abs(found * scale - (left, top, right, bottom)) <= np.maximum(scale, 1))


# --- the detector's answer -------------------------------------------------------------------------------------------


def _heads(scores: NDArray[Any], bins: NDArray[Any]) -> Heads:
    """The model's answer out of all cells' scores and distributions, the grid of the small stride first."""
    ends = np.cumsum([(416 // stride) ** 2 for stride in handlers.STRIDES_PX])[:-1]
    named = {"cls": scores, "reg": bins}
    return {
        f"{kind}_s{stride}": np.asarray(part, np.float32)
        for kind, rows in named.items()
        for stride, part in zip(handlers.STRIDES_PX, np.split(rows, ends), strict=True)
    }


@st.composite
def answers(draw: st.DrawFn) -> Heads:
    """A model's answer with up to 1500 scores that are not 0, on few cells and classes so that boxes meet."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    count, cells, classes = draw(st.integers(0, 1500)), draw(st.integers(1, 400)), draw(st.integers(1, 80))
    start = draw(st.integers(0, 3549 - cells))
    scores = np.zeros((3549, 80))
    scores[start + rng.integers(0, cells, count), rng.integers(0, classes, count)] = rng.random(count)
    return _heads(scores, rng.normal(scale=draw(st.floats(0, 20)), size=(3549, 44)))


@given(answers(), st.integers(1, 4096), st.integers(1, 4096), st.floats(0.1, 1))
def test_boxes_lie_in_the_picture_sorted_and_apart(heads: Heads, height: int, width: int, min_score: float) -> None:
    """Corners are ordered and within the picture, the best comes first, and no two of one class overlap too far."""
    picture = np.broadcast_to(np.uint8(0), (height, width, 3))
    boxes = handlers.answer(handlers.found(heads, picture, min_score), min_score)["boxes"]
    scores = [box["score"] for box in boxes]
    assert scores == sorted(scores, reverse=True)
    assert all(min_score <= score <= 1 for score in scores)
    corners = np.array([_corners(box) for box in boxes]).reshape(-1, 4)
    assert np.all((corners[:, :2] >= 0) & (corners[:, :2] <= corners[:, 2:]))
    assert np.all(corners[:, 2:] <= np.array([width, height]) * (1 + 1e-12))
    for place, box in enumerate(boxes[:40]):
        mates = [other for other in boxes[place + 1 :] if other["label"] == box["label"]]
        assert all(_iou(_corners(box), _corners(mate)) <= LIMIT + 1e-9 for mate in mates)


@given(answers(), st.floats(0.1, 1), st.floats(0.1, 1))
def test_a_higher_threshold_only_hides_boxes(heads: Heads, one: float, other: float) -> None:
    """The boxes of the higher of two thresholds are the first ones of the lower, and the alarm is the same."""
    picture = np.zeros((50, 80, 3), np.uint8)
    few, many = (
        handlers.answer(handlers.found(heads, picture, min_score), min_score)
        for min_score in sorted((one, other), reverse=True)
    )
    assert few["boxes"] == many["boxes"][: len(few["boxes"])]
    assert few["alert"] is many["alert"]


@st.composite
def distances(draw: st.DrawFn) -> list[float]:
    """Four distances from the middle of a cell, in strides."""
    return [draw(st.floats(0, 10)) for _ in range(4)]


@given(st.sampled_from((8, 16, 32)), st.data(), distances(), st.integers(1, 4096), st.integers(1, 4096))
def test_a_box_written_as_the_model_writes_it_is_read_back(
    stride: int, data: st.DataObject, away: list[float], height: int, width: int
) -> None:
    """A box whose sides are distributions with the right mean comes back in the picture's pixels, cut to it."""
    cells = 416 // stride
    row, column = data.draw(st.integers(0, cells - 1)), data.draw(st.integers(0, cells - 1))
    chances = np.zeros((4, 11))
    for side, distance in enumerate(away):
        whole = min(int(distance), 9)
        chances[side, whole : whole + 2] = whole + 1 - distance, distance - whole
    place = {8: 0, 16: 2704, 32: 3380}[stride] + row * cells + column
    scores, bins = np.zeros((3549, 80)), np.zeros((3549, 44))
    scores[place, 2] = 0.5
    bins[place] = np.log(chances + 1e-12).reshape(-1) + 3  # a softmax does not see what is added to all
    [box] = handlers.found(_heads(scores, bins), np.broadcast_to(np.uint8(0), (height, width, 3)), 0.5)
    x, y = (column + 0.5) * stride, (row + 0.5) * stride
    square = [x - away[0] * stride, y - away[1] * stride, x + away[2] * stride, y + away[3] * stride]
    scale = np.array([width, height, width, height]) / 416
    assert (box["label"], box["score"]) == ("car", 0.5)
    np.testing.assert_allclose(_corners(box), np.clip(square, 0, 416) * scale, atol=0.01 * scale.max())


@st.composite
def rivals(draw: st.DrawFn) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Boxes of whole numbers, empty ones and twins among them, and their classes."""
    sides = st.tuples(st.integers(0, 8), st.integers(0, 8), st.integers(0, 8), st.integers(0, 8))
    drawn = draw(st.lists(st.tuples(sides, st.integers(0, 2)), max_size=25))
    boxes = [(x, y, x + width, y + height) for (x, y, width, height), _ in drawn]
    return np.array(boxes, np.float64).reshape(-1, 4), np.array([kind for _, kind in drawn], np.intp)


@given(rivals())
def test_survivors_are_those_of_the_definition(drawn: tuple[NDArray[np.float64], NDArray[np.intp]]) -> None:
    """One by one, best first: a box stays unless one of its class that stayed overlaps it by more than the limit."""
    boxes, kinds = drawn
    expected: list[int] = []
    for place, box in enumerate(boxes):
        mates = [kept for kept in expected if kinds[kept] == kinds[place]]
        if all(_iou(tuple(box), tuple(boxes[mate])) <= LIMIT for mate in mates):
            expected.append(place)
    assert handlers.survivors(boxes, kinds).tolist() == expected


def test_boxes_that_overlap_by_half_and_no_more_both_stay() -> None:
    """The limit itself is allowed: a box and its half stay, a box and its larger part do not."""
    whole, half, more = (0, 0, 10, 10), (0, 0, 10, 5), (0, 0, 10, 5.01)
    kinds = np.zeros(2, np.intp)
    assert handlers.survivors(np.array([whole, half], np.float64), kinds).tolist() == [0, 1]
    assert handlers.survivors(np.array([whole, more], np.float64), kinds).tolist() == [0]


@given(rivals())
def test_overlaps_are_intersections_over_unions(drawn: tuple[NDArray[np.float64], NDArray[np.intp]]) -> None:
    """As the written-out formula has it; between 0 and 1, and 0 where nothing has an area."""
    boxes, _ = drawn
    for box in boxes:
        expected = [_iou(tuple(box), tuple(other)) for other in boxes]
        np.testing.assert_allclose(handlers.overlaps(box, boxes), expected, atol=1e-12)


def test_the_best_thousand_compete() -> None:
    """More candidates than that are cut from below, and equal ones keep the order of the cells."""
    scores = np.zeros((3549, 80), np.float32)
    scores[:1500, 0] = 0.5
    scores[2000, 3] = 0.9
    places, kinds = handlers.candidates(scores, 0.1)
    assert (places[0], kinds[0]) == (2000, 3)
    assert places[1:].tolist() == list(range(999))


# --- the answer ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("boxes", "min_score", "persons", "alert"),
    [
        ([], 0.35, 0, False),
        ([("person", 0.6)], 0.35, 1, True),
        ([("person", 0.5999)], 0.35, 1, False),
        ([("person", 0.7)], 0.8, 0, True),
        ([("dog", 0.9), ("person", 0.4), ("person", 0.3)], 0.35, 1, False),
    ],
)
def test_a_person_of_sixty_raises_the_alarm(
    boxes: list[tuple[str, float]], min_score: float, persons: int, alert: bool
) -> None:
    """0.60 and no less, no other class, and whether or not the threshold shows the person."""
    answer = handlers.answer([{"label": label, "score": score} for label, score in boxes], min_score)
    assert (answer["persons"], answer["alert"]) == (persons, alert)
    assert len(answer["boxes"]) == sum(score >= min_score for _, score in boxes)


# --- pictures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PEOPLE)
def test_everybody_in_the_street_is_found_where_they_are(detect, name: str) -> None:
    """Each person boxed by hand has a found one of their own that overlaps well; the half hidden one a little less."""
    persons = [_corners(box) for box in _persons(detect(_picture(name), 0.45))]
    assert len(persons) == len(PEOPLE[name])
    for truth in PEOPLE[name]:
        best = max(persons, key=lambda box: _iou(truth, box))
        persons.remove(best)
        assert _iou(truth, best) >= (0.6 if truth == HIDDEN else 0.78)


def test_a_cone_and_a_stone_pass_for_persons_below_the_alarm(detect) -> None:
    """The two boxes too many of the street, at the default threshold, are those that README.md speaks of."""
    persons = _persons(detect(_picture("street_240.jpg")))
    strangers = [box for box in persons if all(_iou(_corners(box), truth) < 0.3 for truth in PEOPLE["street_240.jpg"])]
    assert [box["score"] for box in strangers] == pytest.approx([0.416, 0.357], abs=0.005)


def test_the_alarm_lies_between_the_surest_mistake_and_the_least_sure_street(detect) -> None:
    """Nobody's picture has a person of more than 0.59, and every street with people one of more than 0.78."""
    mistaken = {name: detect(_picture(name), 0.1)["boxes"] for name in (*NOBODY, "hubble_deep_field.jpg")}
    worst = {
        name: max((box["score"] for box in _persons({"boxes": boxes})), default=0.0) for name, boxes in mistaken.items()
    }
    assert max(worst, key=lambda name: worst[name]) == "chelsea.png"
    assert worst["chelsea.png"] == pytest.approx(0.589, abs=0.005)
    surest = [_persons(detect(_picture(name)))[0]["score"] for name in PEOPLE]
    assert max(worst.values()) < handlers.ALARM_SCORE < 0.78 < min(surest)


@pytest.mark.parametrize(("scale", "alert"), [(0.5, True), (0.25, False)])
@pytest.mark.parametrize("name", PEOPLE)
def test_people_may_be_half_as_large_but_not_a_quarter(detect, name: str, scale: float, alert: bool) -> None:
    """The street in a corner of a grey picture: how far README.md says the alarm reaches."""
    street = _picture(name)
    height, width = (round(side * scale) for side in street.shape[:2])
    picture = np.full_like(street, 110)
    picture[:height, :width] = np.asarray(Image.fromarray(street).resize((width, height), Image.Resampling.BOX))
    assert detect(picture)["alert"] is alert


@pytest.mark.parametrize("name", PEOPLE)
def test_an_eighth_of_the_daylight_is_enough(detect, name: str) -> None:
    """The street darkened to an eighth still raises the alarm."""
    assert detect(_picture(name) // 8)["alert"] is True


def test_a_sixteenth_of_the_daylight_is_too_little(detect) -> None:
    """The limit that README.md owns up to."""
    assert detect(_picture("street_000.jpg") // 16)["alert"] is False


def test_pictures_answer_the_same_alone_and_in_company(detector) -> None:
    """A batch of four gives each picture the very scores and distributions it gets alone."""
    batch = np.stack(
        [handlers.pixels(_picture(name)) for name in ("street_000.jpg", "chelsea.png", "grass.png", "camera.png")]
    )
    together = detector(batch)
    for place in range(len(batch)):
        alone = detector(batch[place : place + 1])
        for name, rows in alone.items():
            np.testing.assert_allclose(together[name][place], rows[0], atol=1e-5)
    assert np.abs(together["cls_s8"][0] - together["cls_s8"][1]).max() > 0.1


# --- the whole app ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_app_passes_its_own_tests() -> None:
    """`modelapp test` starts a replica, sends every test of app.toml and ends with 0."""
    command = [sys.executable, "-m", "modelapp", "-C", str(APP), "test", "--json"]
    environment = {**os.environ, "NO_COLOR": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["counts"] == {"pass": 21, "fail": 0, "inconclusive": 0}

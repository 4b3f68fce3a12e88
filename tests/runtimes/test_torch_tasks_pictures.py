"""Pictures by the torch runtime: classes and boxes of folders made here, against transformers' own pipelines."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from modelapp.errors import InvalidInput, LoadError
from modelapp.runtime import LoadedModel, Run

LoadTask = Callable[..., LoadedModel]
RANDOM = np.random.default_rng(4)
PICTURES = [
    RANDOM.integers(0, 256, (height, width, 3), np.uint8)
    for height, width in ((40, 60), (60, 40), (40, 60), (3, 8), (33, 33))
]
"""Of several sizes, two of one; one could be taken for channels first."""


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny ViT of 12 classes."""
    import torch
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessorPil

    torch.manual_seed(1)
    folder = tmp_path_factory.mktemp("classifier")
    labels = {at: f"class {at}" for at in range(12)}
    config = ViTConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=32,
        patch_size=8,
        id2label=labels,
        label2id={name: at for at, name in labels.items()},
    )
    ViTForImageClassification(config).save_pretrained(folder)
    ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def _detr(folder: Path) -> None:
    from transformers import DetrConfig, DetrForObjectDetection, DetrImageProcessorPil, ResNetConfig

    backbone = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], out_features=["stage2"])
    config = DetrConfig(
        use_timm_backbone=False,
        use_pretrained_backbone=False,
        backbone=None,
        backbone_config=backbone,
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        num_queries=6,
        num_labels=3,
    )
    DetrForObjectDetection(config).save_pretrained(folder)
    DetrImageProcessorPil(size={"shortest_edge": 32, "longest_edge": 64}).save_pretrained(folder)


def _yolos(folder: Path) -> None:
    from transformers import YolosConfig, YolosForObjectDetection, YolosImageProcessorPil

    config = YolosConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=[32, 48],
        patch_size=8,
        num_detection_tokens=6,
        num_labels=3,
    )
    YolosForObjectDetection(config).save_pretrained(folder)
    YolosImageProcessorPil(size={"shortest_edge": 32, "longest_edge": 64}).save_pretrained(folder)


def _rt_detr(folder: Path) -> None:
    from transformers import RTDetrConfig, RTDetrForObjectDetection, RTDetrImageProcessorPil, RTDetrResNetConfig

    backbone = RTDetrResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 16, 24, 32],
        depths=[1, 1, 1, 1],
        out_features=["stage2", "stage3", "stage4"],
        layer_type="basic",
    )
    config = RTDetrConfig(
        backbone=None,
        backbone_config=backbone,
        encoder_in_channels=[16, 24, 32],
        encoder_hidden_dim=16,
        encoder_ffn_dim=32,
        encoder_attention_heads=2,
        d_model=16,
        decoder_in_channels=[16, 16, 16],
        decoder_ffn_dim=32,
        decoder_layers=1,
        decoder_attention_heads=2,
        num_queries=6,
        num_labels=3,
        anchor_image_size=None,
    )
    RTDetrForObjectDetection(config).save_pretrained(folder)
    RTDetrImageProcessorPil(size={"height": 64, "width": 64}).save_pretrained(folder)


MAKERS = {"detr": _detr, "yolos": _yolos, "rt-detr": _rt_detr}


@pytest.fixture(scope="module", params=MAKERS)
def detector(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model of each family, with random weights."""
    import torch

    torch.manual_seed(2)
    folder = tmp_path_factory.mktemp(request.param)
    MAKERS[request.param](folder)
    return folder


def answer(model: LoadedModel, *pictures: Any, **more: Any) -> list[Any]:
    """One run over these pictures."""
    answers: Any = model.infer([{"image": picture, **more} for picture in pictures], Run(len(pictures)))
    return list(answers)


def test_classes_are_those_of_the_pipeline(classifier: Path, load_task: LoadTask) -> None:
    """The ten best, whatever size the pictures have."""
    from transformers import pipeline

    model = load_task(classifier, "image-classification")
    told = pipeline("image-classification", str(classifier), top_k=10)

    for picture, one in zip(PICTURES, answer(model, *PICTURES), strict=True):
        if picture.shape[0] == 3:
            continue  # the pipeline takes its height for channels
        wanted = told(Image.fromarray(picture))
        assert [each["label"] for each in one["classes"]] == [each["label"] for each in wanted]
        np.testing.assert_allclose(
            [each["score"] for each in one["classes"]], [each["score"] for each in wanted], atol=1e-5
        )
        assert {"label": one["label"], "score": one["score"]} == one["classes"][0]


def test_a_picture_may_show_several(classifier: Path, load_task: LoadTask, tmp_path: Path) -> None:
    """Where config.json says so each class has a probability of its own."""
    import json

    for file in classifier.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "problem_type": "multi_label_classification"}))

    shares = answer(load_task(classifier, "image-classification"), PICTURES[0])[0]
    each = answer(load_task(tmp_path, "image-classification"), PICTURES[0])[0]

    assert sum(one["score"] for one in shares["classes"]) <= 1
    assert sum(one["score"] for one in each["classes"]) > 2
    assert [one["label"] for one in each["classes"]] == [one["label"] for one in shares["classes"]]


def test_boxes_are_those_of_transformers(detector: Path, load_task: LoadTask) -> None:
    """Each picture alone through the model and its processor, by hand, gives the same objects."""
    import torch
    from transformers import AutoImageProcessor, AutoModelForObjectDetection

    model = load_task(detector, "object-detection")
    net = AutoModelForObjectDetection.from_pretrained(detector).eval()
    processor = AutoImageProcessor.from_pretrained(detector, backend="pil")
    seen = 0

    for picture, one in zip(PICTURES, answer(model, *PICTURES, min_score=0.2), strict=True):
        with torch.inference_mode():
            fed = processor(images=[picture], return_tensors="pt", input_data_format="channels_last")
            output = net(**fed)
        wanted = processor.post_process_object_detection(output, threshold=0.2, target_sizes=[picture.shape[:2]])[0]
        order = wanted["scores"].argsort(descending=True, stable=True)
        seen += len(order)
        np.testing.assert_allclose(
            [each["score"] for each in one["objects"]], wanted["scores"][order].numpy(), atol=1e-5
        )
        assert [each["label"] for each in one["objects"]] == [
            net.config.id2label[index] for index in wanted["labels"][order].tolist()
        ]
        height, width = picture.shape[:2]
        boxes = wanted["boxes"][order].clamp(min=0).minimum(torch.tensor([width, height, width, height])).numpy()
        found = [[each[key] for key in ("x_min", "y_min", "x_max", "y_max")] for each in one["objects"]]
        np.testing.assert_allclose(np.array(found).reshape(-1, 4), boxes.reshape(-1, 4), atol=1e-3)
    assert seen > 5


def test_each_row_has_its_own_bound(detector: Path, load_task: LoadTask) -> None:
    """`min_score` of one row is not that of its neighbour; without one it is a half."""
    model = load_task(detector, "object-detection")

    rows: list[Any] = [{"image": PICTURES[0], "min_score": 0.0}, {"image": PICTURES[2], "min_score": 1.0}]
    every, none = model.infer(rows, Run(2))

    assert len(every["objects"]) == 6
    assert none["objects"] == []
    scores = [each["score"] for each in answer(model, PICTURES[0])[0]["objects"]]
    assert scores == [each["score"] for each in every["objects"] if each["score"] > 0.5]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"image": np.zeros((0, 10, 3), np.uint8)}, "10 x 0 pixels"),
        ({"image": np.zeros((4, 4, 3), np.float32)}, r"got float32 \[4, 4, 3\]"),
        ({"image": np.zeros((4, 4), np.uint8)}, r"uint8 \[height, width, 3\]"),
        ({}, "is missing"),
        ({"image": PICTURES[0], "min_score": "high"}, "a number"),
        ({"image": PICTURES[0], "min_score": 1.5}, "from 0 to 1"),
        ({"image": PICTURES[0], "min_score": float("nan")}, "a number"),
    ],
)
def test_a_picture_that_cannot_be_seen_fails_alone(
    detector: Path, load_task: LoadTask, row: dict[str, Any], told: str
) -> None:
    """The pictures beside it have their answers."""
    model = load_task(detector, "object-detection")

    rows: list[Any] = [{"image": PICTURES[0]}, row, {"image": PICTURES[1]}]
    first, odd, last = model.infer(rows, Run(3))

    assert isinstance(odd, InvalidInput)
    with pytest.raises(InvalidInput, match=told):
        raise odd
    assert "objects" in first
    assert "objects" in last


def test_strips_are_answered_or_refused(detector: Path, load_task: LoadTask) -> None:
    """A picture of one pixel's width may be past what the processor can scale; it is that row's fault."""
    model = load_task(detector, "object-detection")

    for shape in ((1, 1, 3), (1, 2000, 3), (2000, 1, 3)):
        odd, fine = answer(model, np.zeros(shape, np.uint8), PICTURES[0])
        assert isinstance(odd, InvalidInput) or "objects" in odd
        assert "objects" in fine


@pytest.mark.parametrize("size", [1, 2, 5])
def test_the_same_alone_and_in_company(classifier: Path, detector: Path, load_task: LoadTask, size: int) -> None:
    """However the pictures are cut into runs."""
    for folder, task in ((classifier, "image-classification"), (detector, "object-detection")):
        model = load_task(folder, task)
        more = {"min_score": 0.0} if task == "object-detection" else {}
        alone = [answer(model, picture, **more)[0] for picture in PICTURES]
        for start in range(0, len(PICTURES), size):
            for one, wanted in zip(
                answer(model, *PICTURES[start : start + size], **more), alone[start : start + size], strict=True
            ):
                _compare(one, wanted)


def _compare(one: Any, wanted: Any) -> None:
    key = "objects" if "objects" in one else "classes"
    assert [each["label"] for each in one[key]] == [each["label"] for each in wanted[key]]
    for name in set(one[key][0]) - {"label"}:
        np.testing.assert_allclose(
            [each[name] for each in one[key]], [each[name] for each in wanted[key]], rtol=1e-5, atol=1e-4
        )


def test_a_folder_without_a_processor_is_refused(classifier: Path, load_task: LoadTask, tmp_path: Path) -> None:
    """What a picture is scaled to would be a guess."""
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((classifier / name).read_bytes())
    with pytest.raises(LoadError, match="its image processor cannot be loaded"):
        load_task(tmp_path, "image-classification")

"""Object detection: what is where in a picture."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from modelapp.runtime import Placement
from modelapp_torch import Options
from modelapp_torch.architectures import class_for
from modelapp_torch.modelfolder import ModelFolder
from modelapp_torch.pretrained import load_pretrained
from modelapp_torch.tasks.adapter import Row
from modelapp_torch.tasks.pictures import Picture, Pictures


class ObjectDetection:
    """A model that says boxes, read by its own image processor, picture by picture."""

    alone = ""
    notes = ()

    def __init__(self, folder: ModelFolder, options: Options, placement: Placement) -> None:
        self.net = load_pretrained(folder, class_for(folder, "object-detection"), options, placement)
        self._pictures = Pictures(folder, self.net)
        self.example, self.prepare = self._pictures.example, self._pictures.prepare
        self._labels: dict[int, str] = self.net.model.config.id2label
        if not hasattr(self._pictures.processor, "post_process_object_detection"):
            raise folder.failure(
                f"its image processor, {type(self._pictures.processor).__name__}, reads no boxes",
                help="copy preprocessor_config.json from the model that was trained to detect",
            )

    def answer(self, prepared: Sequence[Picture]) -> list[Row]:
        """The objects in each picture over its min_score, best first; boxes end at the picture's edges."""
        return self._pictures.together(prepared, self._read)

    def _read(self, output: Any, row: int, picture: Picture) -> Row:
        # Of one row alone: some processors rank over a batch as if it were one picture.
        mine = SimpleNamespace(
            logits=output.logits[row : row + 1].float().cpu(), pred_boxes=output.pred_boxes[row : row + 1].float().cpu()
        )
        found = self._pictures.processor.post_process_object_detection(
            mine, threshold=picture.min_score, target_sizes=[(picture.height, picture.width)]
        )[0]
        scores, classes, boxes = (found[key].tolist() for key in ("scores", "labels", "boxes"))
        objects = [
            {"label": self._labels[index], "score": score, **_box(box, picture)}
            for score, index, box in zip(scores, classes, boxes, strict=True)
        ]
        return {"objects": sorted(objects, key=lambda each: -each["score"])}


def _box(box: Sequence[float], picture: Picture) -> dict[str, float]:
    x_min, y_min, x_max, y_max = box
    return {
        "x_min": min(max(x_min, 0.0), picture.width),
        "y_min": min(max(y_min, 0.0), picture.height),
        "x_max": min(max(x_max, 0.0), picture.width),
        "y_max": min(max(y_max, 0.0), picture.height),
    }

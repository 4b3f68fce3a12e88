"""Image classification: what a picture shows."""

from collections.abc import Sequence
from typing import Any

import torch

from modelapp.runtime import Placement
from modelapp_torch import Options
from modelapp_torch.architectures import class_for
from modelapp_torch.modelfolder import ModelFolder
from modelapp_torch.pretrained import load_pretrained
from modelapp_torch.tasks.adapter import Row
from modelapp_torch.tasks.pictures import Picture, Pictures

MOST_CLASSES = 10
"""Classes in an answer, the best ones."""


class ImageClassification:
    """A model with one score a class: shares of one, or each by itself where a picture may show several."""

    alone = ""
    notes = ()

    def __init__(self, folder: ModelFolder, options: Options, placement: Placement) -> None:
        self.net = load_pretrained(folder, class_for(folder, "image-classification"), options, placement)
        self._pictures = Pictures(folder, self.net)
        self.example, self.prepare = self._pictures.example, self._pictures.prepare
        config = self.net.model.config
        self._labels: dict[int, str] = config.id2label
        self._several = config.problem_type == "multi_label_classification" or config.num_labels == 1

    def answer(self, prepared: Sequence[Picture]) -> list[Row]:
        """The likeliest classes of each picture."""
        return self._pictures.together(prepared, self._read)

    def _read(self, output: Any, row: int, picture: Picture) -> Row:
        logits = output.logits[row].float()
        scores = torch.sigmoid(logits) if self._several else torch.softmax(logits, 0)
        best = scores.topk(min(MOST_CLASSES, len(scores)))
        classes = [
            {"label": self._labels[index], "score": score}
            for score, index in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ]
        return {**classes[0], "classes": classes}

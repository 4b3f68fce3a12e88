"""Token classification: names and other entities in a text."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import attrs
import torch
from torch import Tensor

from modelapp.runtime import Placement
from modelapp_torch import Options
from modelapp_torch.architectures import class_for
from modelapp_torch.modelfolder import ModelFolder
from modelapp_torch.pretrained import load_pretrained
from modelapp_torch.tasks.adapter import Row
from modelapp_torch.tasks.fields import text_of
from modelapp_torch.tasks.texts import Encoded, Texts


@attrs.frozen
class Word:
    """A word of a text, with the class that its first token got."""

    label: str
    score: float
    start: int
    end: int

    @property
    def kind(self) -> str:
        """The label without what says where in an entity the word stands."""
        return self.label[2:] if self.label[:2] in ("B-", "I-") else self.label

    def goes_on(self, before: "Word") -> bool:
        """Whether it belongs to the entity of the word before it."""
        return self.kind == before.kind and not self.label.startswith("B-")


class TokenClassification:
    """A word has the class of its first token; words of one class that follow each other are one entity."""

    alone = ""
    notes = ()

    def __init__(self, folder: ModelFolder, options: Options, placement: Placement) -> None:
        self.net = load_pretrained(folder, class_for(folder, "token-classification"), options, placement)
        self._texts = Texts(folder, self.net)
        self._labels: dict[int, str] = self.net.model.config.id2label
        if not self._texts.has_places:
            raise folder.failure(
                "its tokenizer cannot tell where in the text a token stands",
                help="save it as tokenizer.json: AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)",
            )

    def example(self) -> Row:
        """A short text."""
        return {"text": "a text"}

    def prepare(self, row: Row) -> Encoded:
        """Its tokens with their places. Raises InvalidInput."""
        return self._texts.encode(text_of(row), places=True)

    def answer(self, prepared: Sequence[Encoded]) -> list[Row]:
        """The entities of each text, in its order."""
        probabilities = torch.softmax(self.net.model(**self._texts.batch(prepared)).logits.float(), 2).cpu()
        return [
            {"entities": self._entities(text, chances)} for text, chances in zip(prepared, probabilities, strict=True)
        ]

    def _entities(self, text: Encoded, chances: Tensor) -> list[Row]:
        words = list(self._words(text, chances))
        starts = [at for at, word in enumerate(words) if not at or not word.goes_on(words[at - 1])]
        groups = [words[start:end] for start, end in pairwise([*starts, len(words)])]
        return [_entity(text.text, group) for group in groups if group[0].kind != "O"]

    def _words(self, text: Encoded, chances: Tensor) -> Iterator[Word]:
        scores, classes = chances.max(1)
        at, end = 0, len(text.tokens)
        while at < end:
            word, first = text.words[at], at
            while at < end and text.words[at] == word:
                at += 1
            if word is not None:  # a special token is no word
                label = self._labels[int(classes[first])]
                yield Word(label, float(scores[first]), text.spans[first][0], text.spans[at - 1][1])


def _entity(text: str, words: Sequence[Word]) -> Row:
    start, end = words[0].start, words[-1].end
    score = sum(word.score for word in words) / len(words)
    return {"label": words[0].kind, "score": score, "text": text[start:end], "start": start, "end": end}

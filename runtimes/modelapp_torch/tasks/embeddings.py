"""Embeddings: a text becomes a vector."""

from collections.abc import Sequence

from modelapp.runtime import Placement
from modelapp_torch import Options
from modelapp_torch.architectures import class_for
from modelapp_torch.modelfolder import ModelFolder
from modelapp_torch.pretrained import load_pretrained
from modelapp_torch.tasks.adapter import Row
from modelapp_torch.tasks.fields import text_of
from modelapp_torch.tasks.pooling import pooling_of
from modelapp_torch.tasks.texts import Encoded, Texts


class Embeddings:
    """Any encoder of texts, pooled as sentence-transformers' files in the folder say."""

    alone = ""

    def __init__(self, folder: ModelFolder, options: Options, placement: Placement) -> None:
        self._pool = pooling_of(folder)
        kind = class_for(folder, "embeddings")
        self.net = load_pretrained(folder, kind, options, placement, unused=("pooler.",))
        if self.net.model.main_input_name != "input_ids" or self.net.model.config.is_encoder_decoder:
            raise folder.failure(
                f'{kind.__name__} is no encoder of texts, which task = "embeddings" needs',
                help="name the folder of a text encoder",
            )
        self._texts = Texts(folder, self.net, prefix=self._pool.prefix, lower=self._pool.lower)
        self.notes = self._pool.notes

    def example(self) -> Row:
        """A short text."""
        return {"text": "a text"}

    def prepare(self, row: Row) -> Encoded:
        """Its tokens. Raises InvalidInput."""
        text = row.get("text")
        if text is None or isinstance(text, str):
            return self._texts.encode(text_of(row))
        return self._texts.given(text)

    def answer(self, prepared: Sequence[Encoded]) -> list[Row]:
        """A vector a text; padding is masked and has no part in it."""
        fed = self._texts.batch(prepared)
        states = self.net.model(**fed).last_hidden_state
        vectors = self._pool(states, fed["attention_mask"]).cpu().numpy()
        return [
            {"embedding": vector, "tokens": len(text.tokens)} for vector, text in zip(vectors, prepared, strict=True)
        ]

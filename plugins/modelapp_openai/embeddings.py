"""/v1/embeddings: texts as vectors."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, cast

import msgspec
from msgspec import Meta

from modelapp.errors import InvalidInput, ModelFailed
from modelapp.media import to_base64
from modelapp.routes import HttpRequest, HttpResponse
from modelapp.service import Service
from modelapp_openai.listing import EMBEDDING, Listing
from modelapp_openai.requests import as_asked, ignored, ignored_headers, read_object, texts_of


class EmbeddingRequest(msgspec.Struct, kw_only=True):
    """One or several texts, or the token ids of some. `dimensions` may only be those that the model has."""

    model: str
    input: str | list[Any]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Meta(ge=1)] | None = None


class Embedding(msgspec.Struct, tag_field="object", tag="embedding"):
    """The vector of one text: numbers, or base64 of little-endian float32."""

    index: int
    embedding: list[float] | str


class EmbeddingUsage(msgspec.Struct):
    """Tokens."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingList(msgspec.Struct, tag_field="object", tag="list"):
    """The vectors in the order of the texts."""

    data: list[Embedding]
    model: str
    usage: EmbeddingUsage


class Embeddings:
    """Answers /v1/embeddings."""

    def __init__(self, service: Service, listing: Listing) -> None:
        self._listing = listing
        self._most_bytes = service.app.server.max_body_bytes

    async def __call__(self, request: HttpRequest) -> HttpResponse:
        """One request. Raises RequestError."""
        document = await read_object(request, self._most_bytes)
        asked = as_asked(document, EmbeddingRequest)
        model = self._listing.find(asked.model, EMBEDDING, request.call)
        rows = [{"text": text} for text in texts_of(asked.input, "input")]
        answers = cast("Sequence[Mapping[str, Any]]", await model.infer(rows, request.call))
        packed = asked.encoding_format == "base64"
        data = [Embedding(at, _vector(one, asked, packed=packed)) for at, one in enumerate(answers)]
        tokens = sum(int(one.get("tokens", 0)) for one in answers)
        told = EmbeddingList(data, asked.model, EmbeddingUsage(tokens, tokens))
        return HttpResponse(
            200, msgspec.json.encode(told), headers=ignored_headers(ignored(document, EmbeddingRequest))
        )


def _vector(answer: Mapping[str, Any], asked: EmbeddingRequest, *, packed: bool) -> list[float] | str:
    import numpy as np

    if "embedding" not in answer:
        raise ModelFailed("the model's answer holds no embedding")
    vector = np.asarray(answer["embedding"], "<f4")
    if vector.ndim != 1 or not np.isfinite(vector).all():
        raise ModelFailed("the model's embedding is not one vector of finite numbers")
    if asked.dimensions is not None and asked.dimensions != len(vector):
        told = f"dimensions: the model's vectors have {len(vector)}, and are not cut"
        raise InvalidInput(told, field="dimensions")
    return to_base64(vector.tobytes()) if packed else vector.tolist()

"""/v1/embeddings: texts as vectors."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, cast

import msgspec
from msgspec import Meta

from modelapp.call import Call
from modelapp.errors import InvalidInput, ModelFailed
from modelapp.media import to_base64
from modelapp.routes import HttpRequest, HttpResponse
from modelapp.service import ModelService, Service
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
        texts = texts_of(asked.input, "input")
        _check(texts, alone=texts[0] is asked.input)
        answers = await _answers(model, texts, request.call)
        packed = asked.encoding_format == "base64"
        data = [Embedding(at, _vector(one, asked, packed=packed)) for at, one in enumerate(answers)]
        tokens = sum(int(one.get("tokens", 0)) for one in answers)
        told = EmbeddingList(data, asked.model, EmbeddingUsage(tokens, tokens))
        return HttpResponse(
            200, msgspec.json.encode(told), headers=ignored_headers(ignored(document, EmbeddingRequest))
        )


def _check(texts: Sequence[str | list[int]], *, alone: bool) -> None:
    """Raise InvalidInput for a text without a character: it has no meaning that a vector could tell."""
    for number, text in enumerate(texts):
        if not text:
            place = "input" if alone else f"input[{number}]"
            raise InvalidInput(f"{place} is empty", field=place)


async def _answers(model: ModelService, texts: Sequence[str | list[int]], call: Call) -> Sequence[Mapping[str, Any]]:
    """The model's answers. Raises RequestError: what it says of a row's `text` is said of `input`."""
    try:
        return cast("Sequence[Mapping[str, Any]]", await model.infer([{"text": text} for text in texts], call))
    except InvalidInput as error:
        if error.field != "text":
            raise
        raise InvalidInput(error.message.replace('"text"', "input", 1), field="input") from None


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

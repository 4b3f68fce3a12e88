"""/v1/audio/speech: texts that a model speaks."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, cast

import msgspec
from msgspec import Meta

from modelapp.bodies import off_loop
from modelapp.routes import HttpRequest, HttpResponse
from modelapp.service import Service
from modelapp_openai.listing import SPEAKING, Listing
from modelapp_openai.requests import Refusals, as_asked, ignored, ignored_headers, read_object, refuse
from modelapp_openai.sound import check_format, write_sound

MOST_CHARS = 4096
_REFUSED: Refusals = {"stream_format": ("the sound is sent whole, as bytes", ("audio",))}


class SpeechRequest(msgspec.Struct, kw_only=True):
    """What is to be said. `voice` is a word of the model's own."""

    model: str
    input: Annotated[str, Meta(min_length=1, max_length=MOST_CHARS)]
    voice: str | None = None
    response_format: Literal["mp3", "opus", "aac", "flac", "wav", "pcm"] | None = None
    speed: Annotated[float, Meta(ge=0.25, le=4)] | None = None


class Speech:
    """Answers /v1/audio/speech."""

    def __init__(self, service: Service, listing: Listing) -> None:
        self._listing = listing
        self._most_bytes = service.app.server.max_body_bytes

    async def __call__(self, request: HttpRequest) -> HttpResponse:
        """One request; the answer is the sound itself. Raises RequestError."""
        document = await read_object(request, self._most_bytes)
        refuse(document, _REFUSED)
        asked = as_asked(document, SpeechRequest)
        model = self._listing.find(asked.model, SPEAKING, request.call)
        form = asked.response_format or "mp3"  # the protocol's own, where a request names none
        check_format(form)
        row: dict[str, Any] = {"text": asked.input}
        row |= {name: value for name in ("voice", "speed") if (value := getattr(asked, name)) is not None}
        (answer,) = cast("Sequence[Mapping[str, Any]]", await model.infer([row], request.call))
        body, kind = await off_loop(write_sound, answer.get("audio"), form)
        names = [name for name in ignored(document, SpeechRequest) if name not in _REFUSED]
        return HttpResponse(200, body, kind, ignored_headers(names))

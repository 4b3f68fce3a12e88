"""/v1/audio/transcriptions: speech that a model writes down."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

import msgspec

from modelapp.bodies import FORM_TYPE, body_form, inflate, off_loop
from modelapp.errors import InvalidInput, ModelFailed, UnsupportedMedia
from modelapp.forms import Part, read_form
from modelapp.media import Audio, decode_audio
from modelapp.mismatch import Mismatch
from modelapp.routes import HttpRequest, HttpResponse
from modelapp.service import Service
from modelapp_openai.listing import WRITING_DOWN, Listing
from modelapp_openai.requests import Refusals, as_asked, ignored, ignored_headers, refuse

_NO_TIMES = "models here tell what is said, and not when"
_REFUSED: Refusals = {
    "stream": ("the text is sent whole", ("false", "False", "0", "")),
    "timestamp_granularities": (_NO_TIMES, ([],)),
    "include": ("log probabilities are not told", ([],)),
}
_HARMLESS = {"temperature": ("0", "0.0")}


class TranscriptionRequest(msgspec.Struct, kw_only=True):
    """The fields of the form beside `file`."""

    model: str
    language: str | None = None
    response_format: Literal["json", "text"] | None = None


class SoundUsage(msgspec.Struct, tag_field="type", tag="duration"):
    """How long the sound is."""

    seconds: float


class Transcription(msgspec.Struct):
    """What is said."""

    text: str
    usage: SoundUsage


class Transcriptions:
    """Answers /v1/audio/transcriptions."""

    def __init__(self, service: Service, listing: Listing) -> None:
        self._listing = listing
        self._most_bytes = service.app.server.max_body_bytes

    async def __call__(self, request: HttpRequest) -> HttpResponse:
        """One request. Raises RequestError."""
        form, file = await off_loop(_read, request, self._most_bytes)
        refuse(form, _REFUSED)
        asked = as_asked(form, TranscriptionRequest)
        model = self._listing.find(asked.model, WRITING_DOWN, request.call)
        if file is None:
            raise InvalidInput("file: is missing; send the sound as a part of the form", field="file")
        audio = await off_loop(_decoded, file)
        row: dict[str, Any] = {"audio": audio}
        if asked.language:
            row["language"] = asked.language
        (answer,) = cast("Sequence[Mapping[str, Any]]", await model.infer([row], request.call))
        return _written(answer, asked, audio, ignored_headers(_passed_over(form)))


def _written(
    answer: Mapping[str, Any], asked: TranscriptionRequest, audio: Audio, headers: tuple[tuple[str, str], ...]
) -> HttpResponse:
    text = answer.get("text")
    if not isinstance(text, str):
        raise ModelFailed("the model's answer holds no text")
    if asked.response_format == "text":
        return HttpResponse(200, text.encode(), "text/plain; charset=utf-8", headers)
    body = msgspec.json.encode(Transcription(text, SoundUsage(round(audio.seconds, 3))))
    return HttpResponse(200, body, headers=headers)


def _read(request: HttpRequest, most_bytes: int) -> tuple[dict[str, Any], Part | None]:
    """The plain fields of the form, and its file. Raises RequestError."""
    kind = request.headers.get("content-type") or ""
    if body_form(kind) != FORM_TYPE:
        raise UnsupportedMedia(f"this route takes {FORM_TYPE}, with the sound as its part file")
    body = inflate(request.body, request.headers.get("content-encoding") or "", most_bytes)
    form: dict[str, Any] = {}
    file: Part | None = None
    for part in read_form(body, kind):
        if part.name == "file":
            file = part
        elif part.name.endswith("[]"):
            form.setdefault(part.name[:-2], []).append(_text(part))
        elif part.name in form:
            raise InvalidInput(f"{part.name[:80]}: stands twice in the form", field=part.name[:80])
        else:
            form[part.name] = _text(part)
    return form, file


def _text(part: Part) -> str:
    try:
        return part.data.decode()
    except UnicodeDecodeError:
        raise InvalidInput(f"{part.name[:80]}: is not UTF-8 text", field=part.name[:80]) from None


def _decoded(file: Part) -> Audio:
    try:
        return decode_audio(file.data)
    except Mismatch as mismatch:
        raise InvalidInput(f"file: {mismatch.text}", field="file") from None


def _passed_over(form: Mapping[str, Any]) -> list[str]:
    names = [name for name in ignored(form, TranscriptionRequest) if name not in _REFUSED]
    return [name for name in names if form[name] not in _HARMLESS.get(name, ())]

"""Requests: a body, strictly what its class says, and the names of what else stood in it."""

import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, TypeAlias, TypeVar

import msgspec

from modelapp.bodies import body_form, inflate, off_loop, read_json
from modelapp.errors import BadRequest, InvalidInput
from modelapp.routes import HttpRequest
from modelapp_openai.misfits import misfit

IGNORED_HEADER = "x-modelapp-ignored"
"""In an answer: the fields of the request that were passed over, since nobody here knows them."""
MOST_TEXTS = 2048
"""Prompts, or texts to embed, in one request."""
_MOST_IGNORED = 32
_PLAIN = re.compile(r"[A-Za-z0-9_.\[\]-]{1,64}").fullmatch
_Asked = TypeVar("_Asked", bound=msgspec.Struct)
Refusals: TypeAlias = Mapping[str, tuple[str, tuple[Any, ...]]]
"""Field -> why it is not served, and the values besides null that ask for nothing."""


async def read_object(request: HttpRequest, most_bytes: int) -> dict[str, Any]:
    """The JSON object of a body. Raises BadRequest, InvalidInput, TooLarge, UnsupportedMedia."""
    body_form(request.headers.get("content-type"), forms=False)
    body = request.body
    if (encoding := request.headers.get("content-encoding")) is not None:
        body = await off_loop(inflate, body, encoding, most_bytes)
    document = await read_json(body)
    if not isinstance(document, dict):
        raise BadRequest("the body must be a JSON object")
    return document


def as_asked(document: Mapping[str, Any], kind: type[_Asked]) -> _Asked:
    """The object as that class. Raises InvalidInput naming the field."""
    try:
        return msgspec.convert(document, kind)
    except msgspec.ValidationError as error:
        raise misfit(document, kind, str(error)) from None


def ignored(document: Mapping[str, Any], kind: type[msgspec.Struct], path: str = "") -> list[str]:
    """The names in an object that its class does not have; null asks for nothing."""
    known = _known(kind)
    return [path + name for name, value in document.items() if name not in known and value is not None]


def ignored_headers(names: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """The header that tells of them; none where there are none. Callers choose the names, so odd ones are left out."""
    told = dict.fromkeys(name for name in names if _PLAIN(name))
    return ((IGNORED_HEADER, ", ".join(list(told)[:_MOST_IGNORED])),) if told else ()


@cache
def _known(kind: type[msgspec.Struct]) -> frozenset[str]:
    return frozenset(field.encode_name for field in msgspec.structs.fields(kind))


def refuse(document: Mapping[str, Any], fields: Refusals) -> None:
    """Raise InvalidInput for a field that would change the answer and is not served."""
    for name, value in document.items():
        if value is not None and name in fields:
            why, harmless = fields[name]
            if value not in harmless:
                raise InvalidInput(f"{name} is not served: {why}", field=name)


def texts_of(given: str | list[Any], field: str) -> list[str | list[int]]:
    """One or several texts, each as it is or as token ids. Raises InvalidInput naming `field`."""
    if isinstance(given, str):
        return [given]
    several: list[Any] = given if given and isinstance(given[0], str | list) else [given]
    if len(several) > MOST_TEXTS:
        raise InvalidInput(f"{field} holds {len(several)} texts; {MOST_TEXTS} may be in one request", field=field)
    for number, one in enumerate(several):
        if not (isinstance(one, str) or _is_tokens(one)):
            place = f"{field}[{number}]" if several is given else field
            raise InvalidInput(f"{place} must be a string, or a list of token ids that is not empty", field=place)
    return several


def _is_tokens(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and set(map(type, value)) == {int}

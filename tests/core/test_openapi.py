"""The OpenAPI document, judged by a validator that others wrote."""

from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from openapi_spec_validator.validation.exceptions import OpenAPIValidationError

from modelapp.app import App, AppInfo, Endpoint, Field
from modelapp.fieldtype import parse
from modelapp.natural import natural_error, natural_protocol
from modelapp.openapi import ERRORS, openapi_document
from modelapp.routes import HttpRequest, HttpResponse, ProtocolRoutes, Route


def field(word: str, **bounds: Any) -> Field:
    """A field of that type word."""
    return Field(name="", type=parse(word), **bounds)


EVERYTHING = {
    "text": field("str", min_chars=1, max_chars=9, pattern="a", doc="Some text"),
    "n": field("int", min=0, max=9, default=3),
    "x": field("float?", choices=(1.5, 2.5)),
    "flag": field("bool", default=False),
    "free": field("json"),
    "tags": field("list[str]", min_items=1, max_items=3),
    "grid": field("list[list[float]]"),
    "where": field("list[box]"),
    "tensor": field("tensor", shape=(-1, 3), dtype="int64"),
    "any_tensor": field("tensor"),
    "row": field("record", fields={"a": field("int"), "b": field("str?")}),
}
MEDIA = {"photo": field("image"), "more": field("list[image]"), "voice": field("audio?"), "raw": field("bytes")}
APP = App(
    app=AppInfo(name="t", description="An app"),
    endpoints={
        "all": Endpoint(name="all", model="m", input=EVERYTHING, output=EVERYTHING),
        "media": Endpoint(name="media", model="m", path="/images/media", input=MEDIA, output=MEDIA),
        "free": Endpoint(name="free", model="m"),
    },
)


async def nothing(request: HttpRequest) -> HttpResponse:
    """No answer is asked here."""
    raise NotImplementedError


OTHER = ProtocolRoutes(
    "other",
    "/v2",
    (
        Route("GET", "/v2/models/{name}", nothing, document={"responses": {"200": {"description": "It"}}}),
        Route("POST", "/v2/hidden", nothing),
    ),
    natural_error,
)


def document() -> dict[str, Any]:
    """The document of the app and of one more protocol."""
    pipelines: Any = dict.fromkeys(APP.endpoints)
    return openapi_document(APP, "r1", [natural_protocol(APP, pipelines), OTHER])


def test_the_document_is_valid_openapi() -> None:
    """For endpoints with every type word, and for a protocol's own routes with their path parameters."""
    found = document()
    OpenAPIV31SpecValidator(found).validate()
    assert found["info"] == {"title": "t", "version": "r1", "description": "An app"}
    assert set(found["paths"]) == {"/all", "/images/media", "/free", "/v2/models/{name}"}
    assert found["paths"]["/v2/models/{name}"]["get"]["parameters"][0]["name"] == "name"


def test_the_validator_would_object() -> None:
    """It is no rubber stamp: a path parameter that nobody declares is refused."""
    broken = document()
    del broken["paths"]["/v2/models/{name}"]["get"]["parameters"]
    with pytest.raises(OpenAPIValidationError):
        OpenAPIV31SpecValidator(broken).validate()


def test_every_error_is_documented() -> None:
    """Each endpoint names every status it may answer with, in the error's schema."""
    found = document()
    responses = found["paths"]["/all"]["post"]["responses"]
    assert set(responses) == {"200", *map(str, ERRORS)}
    assert {400, 401, 403, 404, 405, 408, 413, 415, 422, 429, 500, 503, 504} == set(ERRORS)
    for status in ERRORS:
        shared = found["components"]["responses"][responses[str(status)]["$ref"].rpartition("/")[2]]
        assert shared["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Error"}
    assert "Retry-After" in found["components"]["responses"]["Error503"]["headers"]


def test_uploads_are_offered_where_media_go_in() -> None:
    """Files as binary parts, and only there."""
    paths = document()["paths"]
    content = paths["/images/media"]["post"]["requestBody"]["content"]
    form = content["multipart/form-data"]["schema"]
    assert form["properties"]["photo"] == {"type": "string", "format": "binary"}
    assert form["properties"]["more"]["type"] == "array"
    assert form["required"] == ["photo", "more", "raw"]
    assert set(paths["/all"]["post"]["requestBody"]["content"]) == {"application/json"}

"""Bodies of requests below /v2: inflated within bounds, of any content type; answers deflated on demand."""

from typing import Any

from modelapp.bodies import DEFLATED_BYTES, OFF_LOOP_BYTES, decode_json, deflate, inflate, off_loop
from modelapp.errors import BadRequest
from modelapp.routes import HttpRequest, HttpResponse


async def plain_body(request: HttpRequest, most_bytes: int) -> bytes:
    """The body without its content-encoding. Raises TooLarge, BadRequest, UnsupportedMedia."""
    encoding = request.headers.get("content-encoding")
    if encoding is None:
        return request.body
    return await off_loop(inflate, request.body, encoding, most_bytes)


async def read_object(request: HttpRequest, most_bytes: int) -> dict[str, Any]:
    """The JSON object of a body, {} where it is empty. Raises RequestError."""
    body = await plain_body(request, most_bytes)
    if not body:
        return {}
    document = decode_json(body)
    if not isinstance(document, dict):
        raise BadRequest("the body must be a JSON object, or empty")
    return document


async def packed(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """The answer as its client accepts it: compressed where that is asked for and worth it."""
    if len(response.body) < DEFLATED_BYTES or (accepted := request.headers.get("accept-encoding")) is None:
        return response
    if len(response.body) > OFF_LOOP_BYTES:
        body, encoding = await off_loop(deflate, response.body, accepted)
    else:
        body, encoding = deflate(response.body, accepted)
    if encoding:
        response.body, response.headers = body, (*response.headers, ("content-encoding", encoding))
    return response

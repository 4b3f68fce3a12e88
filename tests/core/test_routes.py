"""The table that finds a request's route."""

import pytest

from modelapp.errors import MethodNotAllowed, NotFound, RequestError
from modelapp.routes import HttpRequest, HttpResponse, ProtocolRoutes, Route, RouteTable


async def answer(request: HttpRequest) -> HttpResponse:
    """Never called here."""
    raise NotImplementedError


def shape(name: str) -> object:
    """An error shape that tells whose it is."""
    return lambda error: HttpResponse(error.status, name.encode())


def table() -> RouteTable:
    """Two protocols, one below /v2."""
    natural = ProtocolRoutes("natural", "/", (Route("POST", "/describe", answer),), shape("natural"))  # type: ignore[arg-type]
    oip = ProtocolRoutes(
        "oip",
        "/v2",
        (Route("GET", "/v2/models/{model}", answer), Route("POST", "/v2/models/{model}/infer", answer)),
        shape("oip"),  # type: ignore[arg-type]
    )
    return RouteTable([natural, oip])


def test_fixed_and_parametric_paths_are_found() -> None:
    """A segment in braces matches one whole segment and is handed on, the second time too."""
    routes = table()
    for _ in range(2):
        route, params = routes.find("POST", "/v2/models/a.b/infer")
        assert (route.path, params) == ("/v2/models/{model}/infer", {"model": "a.b"})
    assert routes.find("POST", "/describe")[1] == {}


@pytest.mark.parametrize(
    ("path", "text"), [("/descrbe", 'did you mean "/describe"'), ("/v2/models/a/b/infer", "there is no route")]
)
def test_unknown_path_names_a_near_one(path: str, text: str) -> None:
    """A misspelt path is told with what it may have meant."""
    with pytest.raises(NotFound, match=text):
        table().find("POST", path)


def test_a_path_that_only_this_app_lacks_says_what_it_lacks() -> None:
    """In place of a near path, which would not do the same."""
    absent = {"/v1/embeddings": "no model embeds"}
    openai = ProtocolRoutes("openai", "/v1", (Route("POST", "/v1/x", answer),), shape("openai"), absent=absent)  # type: ignore[arg-type]
    with pytest.raises(NotFound, match=r'^there is no route "/v1/embeddings"; no model embeds$'):
        RouteTable([openai]).find("POST", "/v1/embeddings")


def test_wrong_method_names_the_right_ones() -> None:
    """405 carries Allow."""
    with pytest.raises(MethodNotAllowed) as refused:
        table().find("PUT", "/v2/models/a")
    assert refused.value.headers == (("allow", "GET"),)


def test_head_is_answered_like_get() -> None:
    """HEAD needs no route of its own."""
    assert table().find("HEAD", "/v2/models/a")[0].method == "GET"


@pytest.mark.parametrize(
    ("path", "owner"), [("/v2/x", b"oip"), ("/v2", b"oip"), ("/v2x", b"natural"), ("/", b"natural")]
)
def test_failures_take_the_shape_of_the_protocol_that_owns_the_path(path: str, owner: bytes) -> None:
    """Also for a path that is no route."""
    assert table().error_shape(path)(RequestError("x")).body == owner


def test_remembered_paths_are_bounded() -> None:
    """A caller who tries many paths does not grow the replica."""
    routes = table()
    for number in range(5000):
        routes.find("GET", f"/v2/models/m{number}")
    assert len(routes._matched) <= 1024
    assert routes.find("GET", "/v2/models/m4999")[1] == {"model": "m4999"}


def test_two_routes_for_one_path_are_a_mistake() -> None:
    """Plugins that claim the same method and path are told so."""
    twice = (Route("GET", "/a", answer), Route("GET", "/a", answer))
    with pytest.raises(ValueError, match="two routes answer GET /a"):
        RouteTable([ProtocolRoutes("p", "/", twice, shape("p"))])  # type: ignore[arg-type]

"""What gRPC calls each outcome."""

import pytest
from grpc import StatusCode

from modelapp import errors
from modelapp.call import Call
from modelapp.errors import InvalidInput, NotReady, QueueFull, RequestError
from modelapp_oip.grpccodes import CODES, code_of, details_of, trailing


def every(kind: type[RequestError]) -> set[type[RequestError]]:
    """The class and all that derive from it in the core."""
    return {kind}.union(*(every(derived) for derived in kind.__subclasses__() if derived.__module__ == errors.__name__))


def test_every_error_has_a_code() -> None:
    """An error that is added to the tree is told by gRPC too."""
    assert set(CODES) == every(RequestError)


def test_an_apps_own_error_has_the_code_of_what_it_derives_from() -> None:
    """Handlers may raise errors of their own."""

    class TooDark(InvalidInput):
        pass

    assert code_of(TooDark("dark")) is StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (QueueFull("full", retry_after_s=0.25), ("1", "250")),
        (NotReady("starting"), ("1", "1000")),
        (NotReady("later", retry_after_s=1e9), ("3600", "3600000")),
        (InvalidInput("bad"), None),
        (None, None),
    ],
)
def test_when_to_come_again_is_told(error: RequestError | None, expected: tuple[str, str] | None) -> None:
    """Whoever is refused for now learns for how long, in seconds and in milliseconds; nobody else does."""
    told = dict(trailing(Call(0.0, id="7"), error))
    found = (told["retry-after"], told["retry-after-ms"]) if "retry-after" in told else None
    assert (told["x-request-id"], found) == ("7", expected)


def test_long_texts_are_cut() -> None:
    """A client refuses metadata over 8 KiB, and with it the status."""
    assert len(details_of(InvalidInput("x" * 10_000))) < 1100

"""One RPC as the rest of the replica knows requests."""

import asyncio
from collections.abc import Callable
from time import monotonic
from types import SimpleNamespace
from typing import Any

import pytest

from modelapp.call import Call
from modelapp.errors import DeadlineExceeded, NotReady, RequestError
from modelapp_oip.grpccall import TIMEOUT_S, contained, headers_of, name_model, new_call, refuse
from modelapp_oip.parameters import obey


class Context:
    """As much of an RPC as is looked at."""

    def __init__(self, *metadata: tuple[str, Any], left_s: float | None = None) -> None:
        self._metadata, self._left_s = metadata, left_s
        self.aborted: tuple[Any, ...] = ()

    def invocation_metadata(self) -> Any:
        """What came with the call."""
        return self._metadata

    def time_remaining(self) -> float | None:
        """Until the client's deadline."""
        return self._left_s

    async def abort(self, *told: Any) -> None:
        """End the call."""
        self.aborted = told
        raise RuntimeError("aborted")


def call_of(*metadata: tuple[str, Any], left_s: float | None = None) -> Call:
    """The call of an RPC."""
    context: Any = Context(*metadata, left_s=left_s)
    return new_call(context, headers_of(context), 5, "ModelInfer")


@pytest.mark.parametrize(("left_s", "time_s"), [(None, TIMEOUT_S), (1.0, 1.0), (1e9, TIMEOUT_S), (-1.0, -1.0)])
def test_a_deadline_only_shortens(left_s: float | None, time_s: float) -> None:
    """The client's own, or that of the server where it is sooner."""
    call = call_of(left_s=left_s)
    assert call.deadline_s is not None
    assert call.deadline_s - call.arrived_s == pytest.approx(time_s)


def test_metadata_are_headers() -> None:
    """The first of two wins, bytes are left out, and an id that is no good is replaced."""
    call = call_of(("a", "1"), ("a", "2"), ("b-bin", b"x"), ("x-request-id", "bad id\n"), ("traceparent", "00-1"))
    assert dict(call.headers) == {"a": "1", "x-request-id": "bad id\n", "traceparent": "00-1"}
    assert (call.protocol, call.traceparent, call.bytes_in, " " in call.id) == ("grpc", "00-1", 5, False)
    assert call_of(("x-request-id", "mine")).id == "mine"


async def cancelled_inside(call: Call) -> None:
    """The handler of a call that gRPC cancels."""
    with contained(call):
        raise asyncio.CancelledError


@pytest.mark.parametrize(("left_s", "outcome"), [(10.0, asyncio.CancelledError), (0.01, DeadlineExceeded)])
def test_a_cancelled_call_is_late_or_left(left_s: float, outcome: type[BaseException]) -> None:
    """The clock tells a deadline from a client that left; whoever works for the call hears of both."""
    call = call_of(left_s=left_s)
    with pytest.raises(outcome):
        asyncio.run(cancelled_inside(call))
    assert call.gone


@pytest.mark.parametrize("failure", [ValueError("secret"), SystemExit(3)])
def test_whatever_fails_is_an_error_without_details(failure: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    """The caller learns the request id, the log the rest."""
    call = Call(monotonic())
    with pytest.raises(RequestError) as failed, contained(call):
        raise failure
    assert call.id in failed.value.message
    assert "secret" not in failed.value.message
    assert call.id in caplog.text


def test_of_a_private_model_the_log_tells_no_text(caplog: pytest.LogCaptureFixture) -> None:
    """Which models are, their service says; the place of the failure is told all the same."""
    models = {"quiet": SimpleNamespace(private=True), "plain": SimpleNamespace(private=False)}
    host: Any = SimpleNamespace(service=SimpleNamespace(models=models))
    fruit = "granate"  # the lines of code are told
    for name, told in (("quiet", False), ("plain", True)):
        call = Call(monotonic())
        name_model(call, host, name)
        caplog.clear()
        with pytest.raises(RequestError), contained(call):
            raise ValueError("pome" + fruit)
        assert ("pomegranate" in caplog.text) is told
        assert "ValueError" in caplog.text
        assert "test_grpccall.py" in caplog.text


def refused(prepare: Callable[[], None] = lambda: None) -> Context:
    """The context of a call that was refused."""
    context: Any = Context()

    async def handler() -> None:
        prepare()
        await refuse(context, Call(monotonic(), id="7"), NotReady("later", retry_after_s=2))

    with pytest.raises((RuntimeError, asyncio.CancelledError)):
        asyncio.run(handler())
    return context  # type: ignore[no-any-return]


def test_a_refusal_has_code_text_and_metadata() -> None:
    """All that gRPC can carry."""
    code, text, metadata = refused().aborted
    assert (code.name, text, dict(metadata)["retry-after-ms"]) == ("UNAVAILABLE", "later", "2000")


def test_nothing_is_sent_to_a_call_that_has_ended() -> None:
    """A task that gRPC has cancelled stays cancelled."""

    def cancel() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()

    assert refused(cancel).aborted == ()


def test_only_a_model_that_there_is_is_written_down() -> None:
    """A name that a client made up would be kept by whoever counts requests, however long it is."""
    host: Any = SimpleNamespace(service=SimpleNamespace(models={"affine": SimpleNamespace(private=False)}))
    known, unknown = call_of(), call_of()
    name_model(known, host, "affine")
    name_model(unknown, host, "x" * 1_000_000)
    assert (known.model, unknown.model) == ("affine", "")


def test_a_timeout_of_any_size_only_shortens() -> None:
    """Also one that no float holds."""
    call = call_of()
    before_s = call.deadline_s
    obey(call, {"timeout": 10**400})
    assert call.deadline_s == before_s

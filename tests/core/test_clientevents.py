"""A streamed answer as a client reads it: pieces told as they come, the whole or the error at its end."""

import json

import pytest

from modelapp.clientevents import read

PIECES = b'data: {"text": "gr\xc3\xbcn"}\n\ndata: {"text": " und"}\n\n'
ERROR = {"error": {"code": "queue_full", "message": "wait", "field": None}}


def read_all(body: bytes):
    """What was told, and what it came to."""
    told = []
    return told, read(body.splitlines(keepends=True), told.append)


def test_pieces_are_told_and_the_whole_is_the_answer() -> None:
    """Comments, unknown fields and other line ends are no part of either."""
    body = b": hello\n\n" + PIECES + b'id: 7\nevent: done\ndata: {"text": "gr\xc3\xbcn und"}\n\n'
    for text in (body, body.replace(b"\n", b"\r\n"), body.replace(b"data: ", b"data:")):
        told, whole = read_all(text)
        assert told == [{"text": "grün"}, {"text": " und"}]
        assert (json.loads(whole.body), whole.status) == ({"text": "grün und"}, 200)


@pytest.mark.parametrize(("code", "status"), [("queue_full", 429), ("deadline_exceeded", 504), ("their_own", 500)])
def test_an_error_event_is_an_error(code, status) -> None:
    """With the status that the code stands for."""
    error = {"error": {**ERROR["error"], "code": code}}
    _, whole = read_all(PIECES + b"event: error\ndata: " + json.dumps(error).encode() + b"\n\n")
    assert (json.loads(whole.body), whole.status) == (error, status)


@pytest.mark.parametrize("body", [b"", PIECES, PIECES + b'event: done\ndata: {"text"', PIECES + b"data: [broken\n\n"])
def test_a_stream_that_breaks_off_is_no_answer(body) -> None:
    """Whatever came before."""
    _, whole = read_all(body)
    assert whole.status == 500
    assert b"broke off" in whole.body

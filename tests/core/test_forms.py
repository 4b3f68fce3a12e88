"""Multipart uploads."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelapp.errors import BadRequest, TooLarge
from modelapp.forms import MAX_PARTS, Part, read_form

TYPE = "multipart/form-data; boundary=XX"


def part(name: str, data: bytes, filename: str | None = None) -> bytes:
    """One part as it travels."""
    more = f'; filename="{filename}"' if filename is not None else ""
    return f'--XX\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + data + b"\r\n"


def test_parts_come_in_order_with_their_names_and_bytes() -> None:
    """Fields and files alike, names in UTF-8, data untouched, empty files too."""
    data = b"\x00\r\n--XY binary"
    body = part("text", "grün".encode()) + part("bild", data, "ö.png") + part("empty", b"", "") + b"--XX--\r\n"
    assert read_form(body, TYPE) == (
        Part("text", "grün".encode()),
        Part("bild", data, "ö.png"),
        Part("empty", b"", ""),
    )


@given(st.lists(st.tuples(st.sampled_from(["a", "b c", "é"]), st.binary(max_size=50)), min_size=1, max_size=5))
def test_any_bytes_survive_a_form(parts: list[tuple[str, bytes]]) -> None:
    """What does not hold the boundary comes back as it was."""
    sent = [(name, data) for name, data in parts if b"--XX" not in data]
    body = b"".join(part(name, data, "f") for name, data in sent) + b"--XX--\r\n"
    if sent:
        assert [(one.name, one.data) for one in read_form(body, TYPE)] == sent


def test_a_cut_form_is_refused_at_every_length() -> None:
    """No prefix of a form passes for the whole, short of its very last bytes."""
    body = part("a", b"one") + part("b", b"two") + b"--XX--"
    assert len(read_form(body, TYPE)) == 2
    for length in range(len(body)):
        with pytest.raises(BadRequest):
            read_form(body[:length], TYPE)


@pytest.mark.parametrize(
    ("body", "content_type", "text"),
    [
        (part("a", b"1"), "multipart/form-data", "the multipart content type names no boundary"),
        (b"nonsense", TYPE, "the multipart body is broken"),
        (b"--XX\r\nContent-Type: text/plain\r\n\r\n1\r\n--XX--\r\n", TYPE, "part 1 of the form has no name"),
        (b"--XX\r\n" + b"a: b\r\n" * 50 + b"\r\n1\r\n--XX--\r\n", TYPE, "the multipart body is broken"),
        (part("a" * 10_000, b"1") + b"--XX--\r\n", TYPE, "the multipart body is broken"),
        (part("a", b"1") + b"--XX--\r\n", f"{TYPE}{'x' * 1000}", "the multipart body is broken"),
    ],
)
def test_broken_forms_are_refused(body: bytes, content_type: str, text: str) -> None:
    """400, with what is wrong."""
    with pytest.raises(BadRequest) as caught:
        read_form(body, content_type)
    assert caught.value.message.startswith(text)


def test_too_many_parts_are_refused() -> None:
    """A form of a hundred thousand parts costs no more than its bound."""
    body = part("a", b"") * (MAX_PARTS + 1) + b"--XX--\r\n"
    with pytest.raises(TooLarge, match=f"more than {MAX_PARTS} parts"):
        read_form(body, TYPE)


@given(st.binary(max_size=100), st.text(max_size=30))
def test_no_bytes_raise_anything_but_a_request_error(tail: bytes, content_type: str) -> None:
    """Whatever stands in the body or in the content type."""
    for kind in (TYPE, f"multipart/form-data; {content_type}"):
        with contextlib.suppress(BadRequest, TooLarge):
            read_form(b"--XX\r\n" + tail, kind)

"""Strict JSON out of bytes, content types, and inflating within bounds."""

import asyncio
import gzip
import json
import random
import threading
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelapp import bodies
from modelapp.errors import BadRequest, InvalidInput, TooLarge, UnsupportedMedia

numbers = st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=20,
)


@given(json_values)
def test_every_json_value_is_read_as_the_standard_library_reads_it(value: Any) -> None:
    """Whatever json writes comes back equal, colons in texts and all."""
    assert bodies.decode_json(json.dumps(value).encode()) == value


@given(st.binary(max_size=60) | st.text(alphabet='{}[]:,"0123456789.eE-+ntruefalsN\\u \n', max_size=40).map(str.encode))
def test_no_bytes_raise_anything_but_a_request_error(body: bytes) -> None:
    """Whatever arrives is a value or a refusal, and a value is what a second reader sees too."""
    try:
        value = bodies.decode_json(body)
    except (BadRequest, InvalidInput):
        return
    assert json.loads(body) == value


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "the body is empty; send a JSON object"),
        (b"  ", "the body is empty; send a JSON object"),
        (b'{"a": tru', "the body is not JSON: it ends too early, after 9 bytes"),
        (b'{"a":\n 1,}', "the body is not JSON: trailing comma in object at line 2, column 4"),
        (b'{"a": NaN}', "the body is not JSON: NaN at line 1, column 7 is not a JSON number"),
        (b'{"a": -Infinity}', "the body is not JSON: -Infinity at line 1, column 7 is not a JSON number"),
        (b"[Infinity]", "the body is not JSON: Infinity at line 1, column 2 is not a JSON number"),
        (b'{"a": 1e999}', "the body is not JSON that can be read: a number is out of range"),
        (b'{"a": "\xff"}', "the body is not JSON: it holds a byte that is not UTF-8 (0xff)"),
        (b'{"a": "\\ud800"}', "the body is not JSON: a text holds half of a surrogate pair"),
        (b"\xef\xbb\xbf{}", "the body is not JSON: it starts with a byte order mark; send UTF-8 without one"),
        (b"{} {}", "the body is not JSON: trailing characters at line 1, column 4"),
        (b"[" * 65 + b"]" * 65, "the JSON is nested too deeply: more than 64 levels"),
        (b"[" * 100_000, "the JSON is nested too deeply: more than 64 levels"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "the JSON is nested too deeply: more than 64 levels"),
        (b"[1, " * 65 + b"1" + b"]" * 65, "the JSON is nested too deeply: more than 64 levels"),
    ],
)
def test_what_is_no_json_is_a_bad_request_that_says_where(body: bytes, text: str) -> None:
    """Unreadable bytes are 400, and the message tells what and where."""
    with pytest.raises(BadRequest) as caught:
        bodies.decode_json(body)
    assert caught.value.message == text


def test_the_deepest_allowed_nesting_is_read() -> None:
    """64 levels are read, however many lists stand beside one another."""
    body = b"[" * 64 + b"]" * 64
    assert json.dumps(bodies.decode_json(body)).encode() == body
    wide = [[1]] * 500
    assert bodies.decode_json(json.dumps(wide).encode()) == wide


@pytest.mark.parametrize(
    "body",
    [
        b'{"a": 1, "a": 2}',
        b'{"b": {"a": 1, "a": 1}}',
        b'[{"c": 1}, {"a": 1, "b": ":", "a": 2}]',
        b'{"\\u0061": 1, "a": 2}',
        b'{"x": [1, {"a": 1, "a": 2}]}',
        b'{"a": {"b": 1}, "a": 1}',
        b'{"a": 1, "a": {"c:": 1}}',
    ],
)
def test_a_key_that_comes_twice_is_refused_by_name(body: bytes) -> None:
    """The last one never wins silently: the key is named, wherever it stands."""
    with pytest.raises(InvalidInput) as caught:
        bodies.decode_json(body)
    assert caught.value.field == "a"
    assert caught.value.message == 'the key "a" stands twice in one object'


@given(st.lists(st.tuples(st.sampled_from("abc:"), json_values), min_size=1, max_size=6))
def test_duplicates_are_found_exactly(pairs: list[tuple[str, Any]]) -> None:
    """An object is refused if, and only if, one of its keys repeats."""
    body = "{" + ", ".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in pairs) + "}"
    if len({key for key, _ in pairs}) < len(pairs):
        with pytest.raises(InvalidInput):
            bodies.decode_json(body.encode())
    else:
        assert bodies.decode_json(body.encode()) == dict(pairs)


def test_large_bodies_are_read_off_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small body is read on the loop's thread, a large one on another."""
    seen: list[str] = []
    real = bodies.decode_json

    def watched(body: bytes) -> Any:
        seen.append(threading.current_thread().name)
        return real(body)

    monkeypatch.setattr(bodies, "decode_json", watched)
    large = json.dumps(["x" * bodies.OFF_LOOP_BYTES]).encode()
    assert asyncio.run(bodies.read_json(b"[1]")) == [1]
    assert asyncio.run(bodies.read_json(large)) == json.loads(large)
    assert seen[0] == threading.current_thread().name
    assert seen[1].startswith("modelapp-bodies")


@pytest.mark.parametrize(
    ("content_type", "form"),
    [
        (None, bodies.JSON_TYPE),
        ("", bodies.JSON_TYPE),
        ("application/json", bodies.JSON_TYPE),
        ("Application/JSON; charset=utf-8", bodies.JSON_TYPE),
        ("application/ld+json", bodies.JSON_TYPE),
        ("multipart/form-data; boundary=x", bodies.FORM_TYPE),
    ],
)
def test_content_types_that_are_read(content_type: str | None, form: str) -> None:
    """JSON in its spellings, none at all, and forms."""
    assert bodies.body_form(content_type) == form


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "image/png", "json"])
def test_other_content_types_are_refused_with_what_is_accepted(content_type: str) -> None:
    """415 names what came and what would do."""
    with pytest.raises(UnsupportedMedia, match="accepted: application/json and multipart/form-data") as caught:
        bodies.body_form(content_type)
    assert f'"{content_type}"' in caught.value.message
    with pytest.raises(UnsupportedMedia, match=r"accepted: application/json$"):
        bodies.body_form("multipart/form-data", forms=False)


def _raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [("gzip", gzip.compress), ("GZIP", gzip.compress), ("deflate", zlib.compress), ("deflate", _raw_deflate)],
)
def test_inflating_gives_the_plain_body_within_its_bound(encoding: str, pack: Any) -> None:
    """The bound holds for the inflated body, to the byte."""
    data = b"abc" * 1000
    assert bodies.inflate(pack(data), encoding, 3000) == data
    with pytest.raises(TooLarge):
        bodies.inflate(pack(data), encoding, 2999)


def test_broken_compressed_bodies_are_refused() -> None:
    """Cut, damaged, followed by more, or of an unknown kind."""
    packed = gzip.compress(b"abc" * 1000)
    with pytest.raises(BadRequest, match="ends too early"):
        bodies.inflate(packed[:-9], "gzip", 10_000)
    with pytest.raises(BadRequest, match="is not gzip data"):
        bodies.inflate(b"nonsense", "gzip", 10_000)
    with pytest.raises(BadRequest, match="2 bytes follow"):
        bodies.inflate(packed + b"xx", "gzip", 10_000)
    with pytest.raises(UnsupportedMedia, match="accepted: gzip, deflate"):
        bodies.inflate(packed, "br", 10_000)
    assert bodies.inflate(b"plain", "identity", 10) == b"plain"


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("gzip", "gzip"),
        ("deflate", "deflate"),
        ("gzip, deflate", "gzip"),
        ("gzip;q=0.2, deflate", "deflate"),
        ("GZIP ; q=1.0", "gzip"),
        ("gzip;q=0, *", "deflate"),
        ("*", "gzip"),
        ("*;q=0", ""),
        ("br, zstd", ""),
        ("", ""),
        ("gzip;q=abc", ""),
        (";;;,,=", ""),
    ],
)
def test_answers_are_deflated_as_they_are_wanted(accepted: str, encoding: str) -> None:
    """Whatever is sent inflates to the body again; where nothing known is accepted it is the body."""
    body = b"a body that repeats itself. " * 100

    packed, name = bodies.deflate(body, accepted)

    assert name == encoding
    assert bodies.inflate(packed, name, len(body)) == body
    assert (len(packed) < len(body)) == bool(encoding)


def test_what_would_not_get_smaller_stays_as_it_is() -> None:
    """Small bodies, and those that are random, are not compressed."""
    assert bodies.deflate(b"a" * 1000, "gzip") == (b"a" * 1000, "")
    noise = random.Random(0).randbytes(5000)
    assert bodies.deflate(noise, "gzip") == (noise, "")

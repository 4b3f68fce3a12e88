"""Hostile bodies: whatever comes, the answer is good or the caller's fault, never a failure of the server's."""

import asyncio
import base64
import gzip
import io
import json
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from modelapp.app import App, AppInfo, Endpoint, Field, Server
from modelapp.call import Call
from modelapp.errors import RequestError
from modelapp.fieldtype import parse
from modelapp.natural import natural_protocol
from modelapp.routes import HttpRequest, HttpResponse

LONG = settings(max_examples=3000, deadline=None, suppress_health_check=list(HealthCheck))
SHORT = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def field(name: str, type_: str, *fields: Field, **more: Any) -> Field:
    """A declared input, which may be absent."""
    return Field(name=name, type=parse(type_), fields={one.name: one for one in fields}, **{"default": None, **more})


FIELDS = {
    one.name: one
    for one in (
        field("text", "str?", min_chars=1, max_chars=20, pattern="^[^x]*$"),
        field("secret", "str?", sensitive=True, choices=("a", "b")),
        field("number", "int?", min=-5, max=10**20),
        field("real", "float?", min=-1e300),
        field("flag", "bool?"),
        field("any", "json?"),
        field("image", "image?", max_side_px=64),
        field("audio", "audio?", max_seconds=1.0),
        field("video", "video?"),
        field("blob", "bytes?", allow_hosts=("127.0.0.1",)),
        field("blobs", "list[bytes]?"),
        field("box", "box?"),
        field("grid", "tensor?", dtype="float32", shape=(-1, 2)),
        field("bits", "tensor?", dtype="uint8"),
        field("words", "tensor?", dtype="string"),
        field("flags", "tensor?", dtype="bool", shape=(2,)),
        field("half", "tensor?", dtype="float16", min=-1),
        field("lists", "list[list[int]]?", min_items=1, max_items=4),
        field("record", "record?", field("inner", "list[record]?", field("x", "float?"), field("image", "image?"))),
    )
}


class Echo:
    """An endpoint that answers whatever it is asked."""

    async def run(self, values: Mapping[str, Any], call: Call) -> Any:
        """Nothing of it."""
        return {"count": len(values)}


ENDPOINT = Endpoint(name="e", model="m", input=FIELDS, max_body_mb=0.5)
APP = App(app=AppInfo(name="fuzz"), endpoints={"e": ENDPOINT}, server=Server())
HANDLER = natural_protocol(APP, {"e": Echo()}).routes[0].handler


def png() -> bytes:
    """A small picture."""
    file = io.BytesIO()
    Image.new("RGB", (4, 4)).save(file, "PNG")
    return file.getvalue()


def wav() -> bytes:
    """A short sound."""
    file = io.BytesIO()
    soundfile.write(file, np.zeros(80), 8000, format="WAV")
    return file.getvalue()


GOOD: dict[str, Any] = {
    "text": "abc",
    "secret": "a",
    "number": 7,
    "real": 0.5,
    "flag": True,
    "any": {"a": [1, None]},
    "image": base64.b64encode(png()).decode(),
    "audio": base64.b64encode(wav()).decode(),
    "video": "YWJj",
    "blob": "data:;base64,YWJj",
    "blobs": ["YWJj"],
    "box": {"x_min": 0, "y_min": 0, "x_max": 1, "y_max": 1},
    "grid": [[1, 2], [3, 4]],
    "bits": [[1], [2]],
    "words": ["a", "b"],
    "flags": [True, False],
    "half": 0.5,
    "lists": [[1, 2], []],
    "record": {"inner": [{"x": 1.5}, {"image": None}]},
}


def answer(body: bytes, content_type: str | None = "application/json", encoding: str = "") -> int:
    """The status that a body gets. What is neither an answer nor a RequestError is raised."""
    headers = {"content-type": content_type} if content_type is not None else {}
    if encoding:
        headers["content-encoding"] = encoding

    async def ask() -> int:
        request = HttpRequest("POST", "/e", "", headers, body, {}, Call(0.0, deadline_s=1e12))
        try:
            found = await HANDLER(request)
        except RequestError as error:
            error.message.encode()  # a half surrogate in it could not be sent
            error.field.encode()
            return error.status
        assert isinstance(found, HttpResponse)
        return found.status

    return asyncio.run(ask())


def judged(*arguments: Any) -> None:
    """The answer is good, or names a fault of the caller's."""
    assert answer(*arguments) in (200, 400, 413, 415, 422)


def test_the_good_body_is_good():
    """Else the mutations of it would prove little; every input is read."""
    assert answer(json.dumps(GOOD).encode()) == 200
    for name, value in GOOD.items():
        assert answer(json.dumps({name: value}).encode()) == 200, name


NUMBERS = st.one_of(
    st.integers(),
    st.floats(),
    st.sampled_from([10**400, -(10**19), 2**63, 2**64 - 1, 1e308, -0.0, 5e-324, 1e22]),
)
TEXTS = st.one_of(
    st.text(max_size=30),
    st.text(st.characters(categories=["Cs", "Cc", "Lo"]), max_size=5),
    st.sampled_from(
        [
            "data:",
            "data:;base64,",
            "data:image/png;base64,AAAA",
            "YWJj=",
            "====",
            "http://127.0.0.1:1/x",
            "https://[::1",
            "HTTP://user@127.0.0.1/",
            "http://169.254.169.254/",
            "https://\x00",
            "null",
            "\ufeff",
        ]
    ),
    st.binary(max_size=60).map(lambda data: base64.b64encode(data).decode()),
)
LEAVES = st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS, st.sampled_from(list(GOOD.values())))
NAMES = st.one_of(st.sampled_from([*FIELDS, "inner", "x", "x_min", "label"]), st.text(max_size=8))
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=5), st.dictionaries(NAMES, inner, max_size=5)),
    max_leaves=12,
)
BODIES = st.dictionaries(NAMES, VALUES, max_size=6)


def encoded(value: Any) -> bytes:
    """JSON as a careless client writes it: NaN and Infinity too, half surrogates escaped."""
    return json.dumps(value).encode()


@st.composite
def mangled(draw: st.DrawFn) -> bytes:
    """A body, good or wild, and what happens to bytes on their way."""
    body = encoded(draw(st.one_of(st.just(GOOD), BODIES, VALUES)))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(body)))
        match draw(st.sampled_from(["cut", "insert", "replace", "double", "drop"])):
            case "cut":
                body = body[:at]
            case "insert":
                body = body[:at] + draw(st.binary(max_size=6)) + body[at:]
            case "replace":
                body = (
                    body[:at] + draw(st.sampled_from([b'"', b"{", b"[", b"\\", b"\xff", b"\0", b","])) + body[at + 1 :]
                )
            case "double":
                body = body[:at] + body[at : at + 40] + body[at:]
            case _:
                body = body[:at] + body[at + draw(st.integers(1, 20)) :]
    return body


def check_values(name: str, value: Any, body: Any) -> None:
    judged(encoded({name: value}))
    judged(encoded(body))


def check_bytes(body: bytes, encoding: str) -> None:
    judged(body)
    packed = {"gzip": gzip.compress, "deflate": zlib.compress}.get(encoding, bytes)(body)
    judged(packed, "application/json", encoding)
    judged(packed[:-3], "application/json", encoding)


ENCODINGS = st.sampled_from(["gzip", "deflate", "identity", "br", "gzip, gzip", "x-gzip", "\x00"])


@SHORT
@given(st.sampled_from(list(FIELDS)), VALUES, BODIES)
def test_any_value_in_any_field(name: str, value: Any, body: Any) -> None:
    """Of every type of JSON, and of none."""
    check_values(name, value, body)


@SHORT
@given(mangled(), ENCODINGS)
def test_any_bytes_as_json(body: bytes, encoding: str) -> None:
    """Cut, doubled, with rubbish in it, packed or said to be."""
    check_bytes(body, encoding)


@pytest.mark.slow
@LONG
@given(st.sampled_from(list(FIELDS)), VALUES, BODIES)
def test_many_values_in_any_field(name: str, value: Any, body: Any) -> None:
    """The same, for longer."""
    check_values(name, value, body)


@pytest.mark.slow
@LONG
@given(mangled(), ENCODINGS)
def test_many_bytes_as_json(body: bytes, encoding: str) -> None:
    """The same, for longer."""
    check_bytes(body, encoding)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 400_000,
        b'{"a":' * 100_000,
        b'{"any":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"any":' + b"[" * 63 + b"]" * 63 + b"}",
        b'{"number":' + b"9" * 400_000 + b"}",
        b'{"real":' + b"9" * 400_000 + b"}",
        b'{"real":1e' + b"9" * 1000 + b"}",
        b'{"grid":[[' + b"9" * 5000 + b",1]]}",
        b'{"bits":[' + b"256," * 1000 + b"1]}",
        b'{"text":"' + b"\\ud800" * 1000 + b'"}',
        b'{"' + b"k" * 400_000 + b'":1}',
        b"{" + b",".join(b'"k%d":1' % number for number in range(40_000)) + b"}",
        b'{"text":"a","text":"b"}',
        b'{"any":{"a":1,"a":2}}',
        b'{"text":"' + b"\x00" * 10 + b'"}',
        b'{"words":' + encoded(["x" * 10_000] * 40) + b"}",
        b'{"lists":' + encoded([[1] * 50_000] * 2) + b"}",
        b'{"image":"' + b"A" * 400_000 + b'"}',
        b"\xef\xbb\xbf{}",
        b"\xff\xfe{\x00}\x00",
        b" " * 500_000,
        b"nul",
        b"",
    ],
    ids=lambda body: f"{body[:20]!r} {len(body)}",
)
def test_bodies_made_to_hurt(body: bytes) -> None:
    """Depth, length, many names, numbers without end."""
    judged(body)


def form(parts: list[tuple[bytes, bytes]], boundary: bytes) -> bytes:
    """Parts as they come: each a head and its content."""
    return b"".join(b"--%s\r\n%s\r\n\r\n%s\r\n" % (boundary, *part) for part in parts) + b"--%s--\r\n" % boundary


HEADS = st.one_of(
    NAMES.map(lambda name: b'Content-Disposition: form-data; name="' + name.encode("utf-8", "replace") + b'"'),
    st.sampled_from(list(FIELDS)).map(
        lambda name: b'Content-Disposition: form-data; name="' + name.encode() + b'"; filename="f"'
    ),
    st.sampled_from([b"", b"Content-Disposition: form-data", b"Content-Disposition: x; name", b": ", b"a", b"\0: \0"]),
    st.binary(max_size=20),
)
CONTENTS = st.one_of(
    st.binary(max_size=60),
    VALUES.map(encoded),
    st.sampled_from([png(), wav(), b"", b"\r\n--b", b"http://127.0.0.1:1/"]),
)
BOUNDARIES = st.sampled_from([b"b", b"x" * 70, b"'()+_,-./:=?", b"-", b"--"])
CONTENT_TYPES = st.one_of(
    st.just(""),
    st.sampled_from(
        [
            "multipart/form-data",
            "multipart/form-data; boundary=",
            'multipart/form-data; boundary="',
            'multipart/form-data; boundary="\\"',
            "multipart/form-data; boundary=b; boundary=c",
            "multipart/form-data; boundary*=utf-8''b",
            "multipart/form-data; boundary=" + "b" * 5000,
            "multipart/form-data; charset=x",
            "application/x-www-form-urlencoded",
            "application/vnd.x+json",
            ";",
            "\x00",
        ]
    ),
    st.text(max_size=20),
)


@st.composite
def uploads(draw: st.DrawFn) -> tuple[bytes, str]:
    """A form, often broken somewhere, and its content type, often another."""
    boundary = draw(BOUNDARIES)
    body = form(draw(st.lists(st.tuples(HEADS, CONTENTS), max_size=4)), boundary)
    if draw(st.booleans()):
        at = draw(st.integers(0, len(body)))
        body = body[:at] + draw(st.one_of(st.just(b""), st.binary(max_size=8))) + body[at + draw(st.integers(0, 9)) :]
    return body, draw(CONTENT_TYPES) or f"multipart/form-data; boundary={boundary.decode()}"


@SHORT
@given(uploads())
def test_any_form(upload: tuple[bytes, str]) -> None:
    """Broken heads, contents and ends, and content types that say something else."""
    judged(*upload)


@pytest.mark.slow
@LONG
@given(uploads())
def test_many_forms(upload: tuple[bytes, str]) -> None:
    """The same, for longer."""
    judged(*upload)


def check_files(data: bytes, flips: list[tuple[int, int]], kind: str) -> None:
    file = bytearray(data)
    for place, value in flips:
        file[place % len(file)] = value
    judged(
        form([(b'Content-Disposition: form-data; name="%s"; filename="f"' % kind.encode(), bytes(file))], b"b"),
        "multipart/form-data; boundary=b",
    )


FLIPS = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=12)


def pictures() -> dict[str, bytes]:
    """A picture in every format that is read."""
    found = {}
    for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"):
        file = io.BytesIO()
        Image.effect_noise((24, 16), 60).save(file, kind)
        found[kind] = file.getvalue()
    return found


def sounds() -> dict[str, bytes]:
    """A sound in every format that is read."""
    found = {}
    for kind in ("WAV", "FLAC", "OGG", "MP3"):
        file = io.BytesIO()
        soundfile.write(file, np.random.default_rng(0).uniform(-1, 1, 800), 8000, format=kind)
        found[kind] = file.getvalue()
    return found


PICTURES, SOUNDS = pictures(), sounds()


@SHORT
@given(st.sampled_from(list(PICTURES)), FLIPS)
def test_any_damaged_picture(kind: str, flips: list[tuple[int, int]]) -> None:
    """Bytes changed anywhere in a file of each format."""
    check_files(PICTURES[kind], flips, "image")


@SHORT
@given(st.sampled_from(list(SOUNDS)), FLIPS)
def test_any_damaged_sound(kind: str, flips: list[tuple[int, int]]) -> None:
    """Bytes changed anywhere in a file of each format."""
    check_files(SOUNDS[kind], flips, "audio")


@pytest.mark.slow
@LONG
@given(st.sampled_from(list(PICTURES)), st.sampled_from(list(SOUNDS)), FLIPS)
def test_many_damaged_files(picture: str, sound: str, flips: list[tuple[int, int]]) -> None:
    """The same, for longer."""
    check_files(PICTURES[picture], flips, "image")
    check_files(SOUNDS[sound], flips, "audio")

"""The body of a call to an endpoint."""

import base64
import json
import os
import shlex
from pathlib import Path
from typing import Any

import attrs
import pytest

from modelapp.app import Endpoint, Field, Server
from modelapp.fieldtype import parse
from modelapp.forms import read_form
from modelapp.payload import curl, payload

URL = "http://127.0.0.1:8000"


def endpoint(**types: str) -> Endpoint:
    """An endpoint with these inputs."""
    return Endpoint(name="e", input={name: Field(name=name, type=parse(word)) for name, word in types.items()})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An app's folder with a picture."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a b.png").write_bytes(b"\x89PNG picture")
    return tmp_path


def test_plain_values_are_json(root: Path) -> None:
    """Texts, numbers, lists and null as they are."""
    values = {"t": "héllo", "n": 1.5, "l": [1, 2], "z": None}
    sent = payload(endpoint(t="str", n="float", l="list[int]", z="int?"), values, root)
    assert sent.content_type == "application/json"
    assert json.loads(sent.body) == values


def test_a_file_makes_it_a_form(root: Path) -> None:
    """The file is a part with name and kind, texts stay texts, everything else is JSON text."""
    values = {"image": "data/a b.png", "caption": 'say "hi"', "n": 2, "tags": ["a"], "on": True}
    where = endpoint(image="image", caption="str", n="int", tags="list[str]", on="bool")
    sent = payload(where, values, root)
    parts = {part.name: part for part in read_form(sent.body, sent.content_type)}
    assert parts["image"].data == b"\x89PNG picture"
    assert parts["image"].filename == "a b.png"
    assert parts["caption"].data == b'say "hi"'
    assert parts["caption"].filename is None
    assert [parts[name].data for name in ("n", "tags", "on")] == [b"2", b'["a"]', b"true"]


def test_bytes_are_a_file_too(root: Path) -> None:
    """A caller that holds the content need not write it down first."""
    sent = payload(endpoint(image="image"), {"image": b"content"}, root)
    (part,) = read_form(sent.body, sent.content_type)
    assert (part.data, part.filename) == (b"content", "image")


@pytest.mark.parametrize(
    ("types", "values", "wanted"),
    [
        ({"a": "list[image]"}, {"a": ["data/a b.png"]}, {"a": ["<file>"]}),
        ({"a": "image", "t": "str"}, {"a": "data/a b.png", "t": 7}, {"a": "<file>", "t": 7}),
        ({"a": "image", "n": "int"}, {"a": "data/a b.png", "n": "7"}, {"a": "<file>", "n": "7"}),
        ({"a": "image"}, {"a": "data/a b.png", "extra": 1}, {"a": "<file>", "extra": 1}),
        ({"a": "image"}, {"a": 7}, {"a": 7}),
        ({"a": "image"}, {"a": "data:image/png;base64,AAAA"}, {"a": "data:image/png;base64,AAAA"}),
        ({"a": "image?", "b": "image"}, {"a": None, "b": "data/a b.png"}, {"a": None, "b": "<file>"}),
    ],
)
def test_what_a_form_cannot_carry_is_json(
    root: Path, types: dict[str, str], values: dict[str, Any], wanted: dict[str, Any]
) -> None:
    """Lists of files, and values of a wrong or unknown kind, which a form would turn into something else."""
    sent = payload(endpoint(**types), values, root)
    assert sent.content_type == "application/json"
    encoded = base64.b64encode(b"\x89PNG picture").decode()
    assert json.loads(sent.body) == json.loads(json.dumps(wanted).replace("<file>", encoded))


def test_files_inside_records_are_embedded(root: Path) -> None:
    """However deep they lie."""
    inner = {"photo": Field(name="photo", type=parse("image")), "n": Field(name="n", type=parse("int"))}
    where = Endpoint(name="e", input={"items": Field(name="items", type=parse("list[record]"), fields=inner)})
    sent = payload(where, {"items": [{"photo": "data/a b.png", "n": 1}]}, root)
    assert json.loads(sent.body)["items"][0]["photo"] == base64.b64encode(b"\x89PNG picture").decode()


def test_a_missing_file_is_named(root: Path) -> None:
    """The error is Python's own, with the path."""
    with pytest.raises(FileNotFoundError) as caught:
        payload(endpoint(image="image"), {"image": "gone.png"}, root)
    assert str(caught.value.filename).endswith("gone.png")


def test_curl_for_json(root: Path) -> None:
    """A shell gets the very JSON, whatever quotes it holds."""
    words = shlex.split(curl(URL, endpoint(t="str"), {"t": "it's $HOME"}, root))
    assert json.loads(words[words.index("-d") + 1]) == {"t": "it's $HOME"}
    assert words[-1] == f"{URL}/e"


def test_curl_shows_a_stream_as_it_comes(root: Path) -> None:
    """Which it would else hold back."""
    streaming = attrs.evolve(endpoint(t="str"), stream=True)
    assert shlex.split(curl(URL, streaming, {"t": "a"}, root))[:2] == ["curl", "-N"]


def test_curl_for_files(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files by @, relative to the current folder, and texts in the form that curl does not read as files."""
    monkeypatch.chdir(root.parent)
    words = shlex.split(curl(URL, endpoint(image="image", t="str"), {"image": "data/a b.png", "t": "@home"}, root))
    assert words[1:-1] == ["-F", f"image=@{root.name}/data/a b.png", "--form-string", "t=@home"]


def test_curl_quotes_names_that_it_would_split(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A semicolon in a file's name does not start an option."""
    monkeypatch.chdir(root)
    words = shlex.split(curl(URL, endpoint(image="image"), {"image": "a;type=x.png"}, root))
    assert words[2] == 'image=@"a;type=x.png"'


def test_a_command_brings_what_the_server_asks_for(root: Path) -> None:
    """The certificate to trust, and the place of a token, never a token."""
    server = Server(tls_cert="cert.pem", tokens_env="TOKENS")
    words = shlex.split(curl(URL, endpoint(t="str"), {"t": "a"}, root, server))
    assert words[1:5] == ["--cacert", os.path.relpath(root / "cert.pem"), "-H", "authorization: Bearer TOKEN"]

"""The body of a call to an endpoint: JSON, or a multipart upload where inputs are files."""

import base64
import json
import mimetypes
import os
import secrets
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from modelapp.app import Endpoint, Field
from modelapp.fieldtype import MEDIA, FieldType


@attrs.frozen
class Payload:
    """A body and its content type."""

    body: bytes
    content_type: str


def payload(endpoint: Endpoint, values: Mapping[str, Any], root: Path) -> Payload:
    """Encode `values`. A value of a media input is a path, relative to `root`, or bytes. Raises OSError.

    Values that are not of the declared kind are sent as they are, for the endpoint to judge.
    """
    uploads = files(endpoint, values)
    rest = {name: value for name, value in values.items() if name not in uploads}
    if uploads and all(_sendable(endpoint.input.get(name), value) for name, value in rest.items()):
        return _multipart(uploads, rest, root)
    filled = embedded(endpoint, values, root)
    return Payload(json.dumps(filled, ensure_ascii=False, default=str).encode(), "application/json")


def embedded(endpoint: Endpoint, values: Mapping[str, Any], root: Path) -> dict[str, Any]:
    """`values` as one JSON document: every file of a media input as base64. Raises OSError."""
    return {name: _embed(endpoint.input.get(name), value, root) for name, value in values.items()}


def files(endpoint: Endpoint, values: Mapping[str, Any]) -> dict[str, str | bytes]:
    """The values that are uploaded as files."""
    return {name: value for name, value in values.items() if _is_file(endpoint.input.get(name), value)}


def curl(url: str, endpoint: Endpoint, values: Mapping[str, Any], root: Path) -> str:
    """The call as a command for a shell in the current folder."""
    uploads = files(endpoint, values)
    rest = {name: value for name, value in values.items() if name not in uploads}
    words = ["curl"]
    if uploads and all(_sendable(endpoint.input.get(name), value) for name, value in rest.items()):
        for name, value in uploads.items():
            words += ["-F", f"{name}=@{_nearby(root / os.fsdecode(value))}"]
        for name, value in rest.items():
            words += ["--form-string", f"{name}={_form_text(value)}"]
    else:
        words += [
            "-H",
            "content-type: application/json",
            "-d",
            json.dumps(dict(values), ensure_ascii=False, default=str),
        ]
    return shlex.join([*words, url.rstrip("/") + endpoint.route])


def _nearby(path: Path) -> str:
    """`path` from the current folder, quoted for curl where it holds what curl would read as options."""
    text = os.path.relpath(path)
    return json.dumps(text) if set(text) & set(';,"') else text


def _is_file(field: Field | None, value: Any) -> bool:
    if field is None or field.type.word not in MEDIA:
        return False
    return isinstance(value, bytes) or (isinstance(value, str) and not value.startswith("data:"))


def _sendable(field: Field | None, value: Any) -> bool:
    """Whether a form field carries `value` without loss: texts as they are, all else as JSON, media only as files."""
    if field is None or field.type.innermost in MEDIA or field.fields:
        return False
    return isinstance(value, str) == (field.type.word == "str")


def _form_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _multipart(uploads: Mapping[str, str | bytes], rest: Mapping[str, Any], root: Path) -> Payload:
    boundary = f"modelapp-{secrets.token_hex(16)}"
    parts = [_part(boundary, name, "", _form_text(value).encode()) for name, value in rest.items()]
    for name, value in uploads.items():
        filename = name if isinstance(value, bytes) else Path(value).name
        parts.append(_part(boundary, name, filename, _read(value, root)))
    body = b"".join(parts) + f"--{boundary}--\r\n".encode()
    return Payload(body, f"multipart/form-data; boundary={boundary}")


def _part(boundary: str, name: str, filename: str, content: bytes) -> bytes:
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="{_quoted(name)}"'
    if filename:
        kind = mimetypes.guess_type(filename)[0] or "application/octet-stream"
        head += f'; filename="{_quoted(filename)}"\r\nContent-Type: {kind}'
    return head.encode() + b"\r\n\r\n" + content + b"\r\n"


def _quoted(text: str) -> str:
    """As browsers escape names in a form (WHATWG HTML, multipart/form-data encoding)."""
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


def _read(value: str | bytes, root: Path) -> bytes:
    return value if isinstance(value, bytes) else (root / value).read_bytes()


def _embed(field: Field | None, value: Any, root: Path) -> Any:
    """`value` with every file in it as base64, however deep it lies."""
    if field is None:
        return value
    if field.fields and isinstance(value, Mapping):
        return {name: _embed(field.fields.get(name), item, root) for name, item in value.items()}
    if field.fields and isinstance(value, list):
        return [_embed(field, item, root) for item in value]
    return _embed_type(field.type, value, root)


def _embed_type(kind: FieldType, value: Any, root: Path) -> Any:
    if kind.item is not None and isinstance(value, list | tuple):
        return [_embed_type(kind.item, item, root) for item in value]
    if kind.word in MEDIA and (isinstance(value, bytes) or (isinstance(value, str) and not value.startswith("data:"))):
        return base64.b64encode(_read(value, root)).decode("ascii")
    return value

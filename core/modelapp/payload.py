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

from modelapp.app import Endpoint, Field, Server
from modelapp.fieldtype import MEDIA, FieldType, is_url


@attrs.frozen
class Payload:
    """A body and its content type."""

    body: bytes
    content_type: str


def payload(endpoint: Endpoint, values: Mapping[str, Any], root: Path) -> Payload:
    """Encode `values`. A value of a media input is a path, relative to `root`, or bytes. Raises OSError.

    Values that are not of the declared kind are sent as they are, for the endpoint to judge.
    """
    if form := _form(endpoint, values):
        return _multipart(*form, root)
    filled = embedded(endpoint, values, root)
    return Payload(_json(filled).encode(), "application/json")


def embedded(endpoint: Endpoint, values: Mapping[str, Any], root: Path) -> dict[str, Any]:
    """`values` as one JSON document: every file of a media input as base64. Raises OSError."""
    return {name: _embed(endpoint.input.get(name), value, root) for name, value in values.items()}


def curl(url: str, endpoint: Endpoint, values: Mapping[str, Any], root: Path, server: Server | None = None) -> str:
    """The call as a command for a shell in the current folder; TOKEN stands for a token that `server` asks for."""
    words = ["curl", "-N"] if endpoint.stream else ["curl"]
    if server is not None and server.tls_cert:
        words += ["--cacert", _nearby(root / server.tls_cert)]
    if server is not None and server.tokens_env:
        words += ["-H", "authorization: Bearer TOKEN"]
    if form := _form(endpoint, values):
        uploads, rest = form
        for name, value in uploads.items():
            words += ["-F", f"{name}=@{_nearby(root / os.fsdecode(value))}"]
        for name, value in rest.items():
            words += ["--form-string", f"{name}={_form_text(value)}"]
    else:
        words += ["-H", "content-type: application/json", "-d", _json(dict(values))]
    return shlex.join([*words, url.rstrip("/") + endpoint.route])


def _nearby(path: Path) -> str:
    """`path` from the current folder, quoted for curl where it holds what curl would read as options."""
    text = os.path.relpath(path)
    return json.dumps(text) if set(text) & set(';,"') else text


def _form(endpoint: Endpoint, values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """The values that are uploaded as files and the others; None where there are no files or a form loses something."""
    uploads, rest = {}, {}
    for name, value in values.items():
        field = endpoint.input.get(name)
        if field is not None and _is_file(field.type, value) and not _is_remote(field, value):
            uploads[name] = value
        elif _sendable(field, value):
            rest[name] = value
        else:
            return None
    return (uploads, rest) if uploads else None


def _is_file(kind: FieldType, value: Any) -> bool:
    if kind.word not in MEDIA:
        return False
    return isinstance(value, bytes) or (isinstance(value, str) and not value.startswith("data:"))


def _is_remote(field: Field, value: Any) -> bool:
    """Whether a value goes as it is, for the app to fetch."""
    return bool(field.allow_hosts) and is_url(value)


def _sendable(field: Field | None, value: Any) -> bool:
    """Whether a form field carries `value` without loss: texts as they are, all else as JSON, media only as files."""
    if field is not None and field.type.word in MEDIA:
        return _is_remote(field, value)
    if field is None or field.type.innermost in MEDIA or field.fields:
        return False
    return isinstance(value, str) == (field.type.word == "str")


def _form_text(value: Any) -> str:
    return value if isinstance(value, str) else _json(value)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


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
    return _embed_type(field, field.type, value, root)


def _embed_type(field: Field, kind: FieldType, value: Any, root: Path) -> Any:
    if kind.item is not None and isinstance(value, list | tuple):
        return [_embed_type(field, kind.item, item, root) for item in value]
    if _is_file(kind, value) and not _is_remote(field, value):
        return base64.b64encode(_read(value, root)).decode("ascii")
    return value

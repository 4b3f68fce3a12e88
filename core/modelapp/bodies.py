"""Request bodies: what form they claim to have, and strict JSON out of bytes."""

import asyncio
import json
import re
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, TypeVar, cast

import msgspec

from modelapp.errors import BadRequest, InvalidInput, TooLarge, UnsupportedMedia

MAX_DEPTH = 64
"""Lists and objects inside one another in a JSON body."""
OFF_LOOP_BYTES = 256 * 1024
"""Bodies larger than this are read on another thread: the loop would stand still for milliseconds."""
DEFLATED_BYTES = 1024
"""Answers smaller than this are never compressed: they fit a packet as they are."""
_QUICK = 1  # of zlib's levels: the others take several times as long for a few percent
JSON_TYPE = "application/json"
FORM_TYPE = "multipart/form-data"

_decode = msgspec.json.Decoder().decode
_MALFORMED = re.compile(r"JSON is malformed: (.+) \(byte (\d+)\)")
_NOT_FINITE = re.compile(rb"-?(NaN|Infinity|Inf|nan|inf)")
_LINE_END = b"\n"
_NESTING = (dict, list)
_T = TypeVar("_T")


def decode_json(body: bytes) -> Any:
    """Plain Python values out of JSON bytes.

    Raises BadRequest where the bytes are not JSON (NaN and Infinity are not), hold bad UTF-8, or nest deeper than
    MAX_DEPTH; InvalidInput naming the key where an object holds one twice.
    """
    try:
        value = _decode(body)
    except RecursionError:
        raise _too_deep() from None
    except (msgspec.MsgspecError, ValueError) as error:
        raise BadRequest(_explain(body, error)) from None
    shallow = body.count(b"{") + body.count(b"[") <= MAX_DEPTH
    if type(value) not in _NESTING:
        return value
    keys = _count_some_keys(value) if shallow else _count_keys(value, 1)
    # Every key has its colon. More colons than keys: some stand in texts, were not counted, or a key came twice.
    if keys != body.count(b":"):
        _refuse_duplicates(body)
    return value


async def read_json(body: bytes) -> Any:
    """`decode_json`, on another thread where the body is large."""
    if len(body) <= OFF_LOOP_BYTES:
        return decode_json(body)
    return await off_loop(decode_json, body)


async def off_loop(work: Callable[..., _T], *arguments: Any) -> _T:
    """Run `work` on a thread of the edge's own, so that slow handlers cannot keep bodies waiting."""
    return await asyncio.get_running_loop().run_in_executor(_threads(), work, *arguments)


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=2, thread_name_prefix="modelapp-bodies")


def body_form(content_type: str | None, *, forms: bool = True) -> str:
    """JSON_TYPE or FORM_TYPE. No content type means JSON. Raises UnsupportedMedia naming what is accepted."""
    if content_type is None or content_type == JSON_TYPE:
        return JSON_TYPE
    kind = content_type.partition(";")[0].strip().lower()
    if kind in ("", JSON_TYPE) or (kind.startswith("application/") and kind.endswith("+json")):
        return JSON_TYPE
    if kind == FORM_TYPE and forms:
        return FORM_TYPE
    accepted = f"{JSON_TYPE} and {FORM_TYPE}" if forms else JSON_TYPE
    hint = "; with curl, write --json in place of -d" if kind == "application/x-www-form-urlencoded" else ""
    raise UnsupportedMedia(f'the content type "{kind[:80]}" is not read here; accepted: {accepted}{hint}')


def inflate(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """The body without its content-encoding (gzip, deflate or identity).

    Raises TooLarge as soon as the result passes `max_bytes`, BadRequest where the data is broken or cut, and
    UnsupportedMedia for any other encoding.
    """
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return body
    if name not in ("gzip", "x-gzip", "deflate"):
        raise UnsupportedMedia(f'the content-encoding "{name[:80]}" is not read here; accepted: gzip, deflate')
    # "deflate" is zlib's format by the standard, but some clients send the bare stream.
    raw = name == "deflate" and (not body or body[0] & 0x0F != 8)
    inflater = zlib.decompressobj(-zlib.MAX_WBITS if raw else zlib.MAX_WBITS | 32)
    try:
        plain = inflater.decompress(body, max_bytes + 1)
    except zlib.error:
        raise BadRequest(f"the body is not {name} data") from None
    if len(plain) > max_bytes:
        raise TooLarge(f"the body is over {max_bytes} bytes when inflated")
    if not inflater.eof:
        raise BadRequest(f"the {name} body ends too early")
    if inflater.unused_data:
        raise BadRequest(f"{len(inflater.unused_data)} bytes follow the {name} data")
    return plain


def deflate(body: bytes, accepted: str) -> tuple[bytes, str]:
    """The body as an `accept-encoding` header would have it, and its content-encoding; "": the body as it is.

    It stays as it is where neither gzip nor deflate is accepted, or it would hardly get smaller.
    """
    if len(body) < DEFLATED_BYTES or not (name := _accepted_encoding(accepted)):
        return body, ""
    deflater = zlib.compressobj(_QUICK, wbits=zlib.MAX_WBITS | 16 if name == "gzip" else zlib.MAX_WBITS)
    small = deflater.compress(body) + deflater.flush()
    return (small, name) if len(small) < len(body) else (body, "")


def _accepted_encoding(accepted: str) -> str:
    """gzip or deflate, whichever is wanted more; "" for neither."""
    wishes: dict[str, float] = {}
    for part in accepted.lower().split(","):
        name, _, weight = part.partition(";")
        try:
            wishes[name.strip()] = float(weight.strip().removeprefix("q=") or 1) if weight else 1.0
        except ValueError:
            continue
    anything = wishes.get("*", 0.0)
    best = max(("gzip", "deflate"), key=lambda name: wishes.get(name, anything))
    return best if wishes.get(best, anything) > 0 else ""


def _count_some_keys(value: Any) -> int:
    """Keys of all objects but those in inner lists that begin with something plain: quick, and never too many."""
    keys = 0
    children: Any = value
    if type(value) is dict:
        keys, children = len(value), value.values()
    for child in children:
        kind = type(child)
        if kind is dict or (kind is list and child and type(child[0]) in _NESTING):
            keys += _count_some_keys(child)
    return keys


def _count_keys(value: Any, depth: int) -> int:
    if depth > MAX_DEPTH:
        raise _too_deep()
    if isinstance(value, dict):
        keys, children = len(value), value.values()
    elif isinstance(value, list):
        keys, children = 0, cast("Any", value)
    else:
        return 0
    kinds = set(map(type, children))
    if list in kinds or dict in kinds:
        keys += sum(_count_keys(child, depth + 1) for child in children if type(child) in (list, dict))
    return keys


def _too_deep() -> BadRequest:
    return BadRequest(f"the JSON is nested too deeply: more than {MAX_DEPTH} levels")


def _refuse_duplicates(body: bytes) -> None:
    def number(text: str) -> int:
        return 0  # only keys matter here

    try:
        json.loads(body, object_pairs_hook=_unique, parse_int=number, parse_float=number)
    except ValueError as error:
        raise BadRequest(f"the body is not JSON: {error}") from None


def _unique(pairs: list[tuple[str, Any]]) -> None:
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            raise InvalidInput(f'the key "{key[:80]}" stands twice in one object', field=key[:80])
        seen.add(key)


def _explain(body: bytes, error: Exception) -> str:
    if not body.strip():
        return "the body is empty; send a JSON object"
    if isinstance(error, UnicodeDecodeError):
        return f"the body is not JSON: it holds a byte that is not UTF-8 (0x{error.object[error.start]:02x})"
    if body.startswith(b"\xef\xbb\xbf"):
        return "the body is not JSON: it starts with a byte order mark; send UTF-8 without one"
    if match := _MALFORMED.match(str(error)):
        return _explain_place(body, match[1], min(int(match[2]), len(body)))
    if "out of range" in str(error):
        return "the body is not JSON that can be read: a number is out of range"
    if _is_whole(body):
        return "the body is not JSON: a text holds half of a surrogate pair"
    return f"the body is not JSON: it ends too early, after {len(body)} bytes"


def _explain_place(body: bytes, what: str, byte: int) -> str:
    for start in (max(0, byte - 1), byte):  # the decoder tells the place after a minus
        if match := _NOT_FINITE.match(body, start):
            return f"the body is not JSON: {match[0].decode()} at {_place(body, start)} is not a JSON number"
    if what == "trailing characters":  # told one too far
        byte -= 1
    return f"the body is not JSON: {what} at {_place(body, byte)}"


def _place(body: bytes, byte: int) -> str:
    line = body.count(_LINE_END, 0, byte) + 1
    return f"line {line}, column {byte - body.rfind(_LINE_END, 0, byte)}"


def _is_whole(body: bytes) -> bool:
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        return False
    return True

"""What an endpoint gives back -> JSON bytes, checked against the declared output. Nothing wrong leaves as a success."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from modelapp import bounds, media, ndlists
from modelapp.app import Field
from modelapp.errors import ModelFailed
from modelapp.fieldtype import FieldType
from modelapp.masking import hides
from modelapp.mismatch import Check, Mismatch, hiding, wrong_type
from modelapp.signature import is_floating
from modelapp.suggestions import did_you_mean
from modelapp.values import BOX_FIELDS

_FINITE = frozenset({str, int, bool, bytes, type(None)})
_NUMBERS = (int, float, np.integer, np.floating)


def encode_json(value: Any) -> bytes:
    """JSON bytes of plain values, numpy scalars and arrays. Raises ModelFailed naming the place of a NaN or infinity,
    and for anything that JSON cannot hold."""
    try:
        body = _encode(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise ModelFailed(f"the answer cannot be written as JSON: {error}") from None
    except RecursionError:
        raise ModelFailed("the answer cannot be written as JSON: it holds itself, or nests too deeply") from None
    # The encoder writes NaN and infinity as null. So an answer without null has none; one with it is looked through.
    if b"null" in body:
        place = find_not_finite(value)
        if place is not None:
            raise ModelFailed(f"the answer holds NaN or infinity{f' at {place}' if place else ''}")
    return body


class Outputs:
    """The declared outputs of one endpoint. Without any, whatever JSON can hold is sent.

    `partial`: some of them may be missing.
    """

    def __init__(self, fields: Mapping[str, Field], *, partial: bool = False) -> None:
        optional = frozenset(fields) if partial else frozenset[str]()
        self._write: Check | None = _object_writer(fields, optional) if fields else None
        self._private = hides(fields)
        self.heavy = any(_is_heavy(field) for field in fields.values())
        """Whether writing encodes images or audio, which belongs on another thread than the loop's."""

    def encode(self, result: Mapping[str, Any]) -> bytes:
        """The JSON body. Raises ModelFailed naming the output that is missing, undeclared, or of another type."""
        if self._write is None:
            return encode_json(result)
        try:
            plain = self._write(result)
        except Mismatch as mismatch:
            what = f'the output "{mismatch.path}"' if mismatch.path else "the answer"
            raise ModelFailed(f"{what} {mismatch.text}", field=mismatch.path) from None
        try:
            return encode_json(plain)
        except ModelFailed:  # it names a place, which below a field of type json is a part of the answer
            if self._private:
                raise ModelFailed("the answer cannot be written as JSON, or holds NaN or infinity") from None
            raise


def _is_heavy(field: Field) -> bool:
    return field.type.innermost in ("image", "audio") or any(_is_heavy(inner) for inner in field.fields.values())


def _hook(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        if is_floating(value.dtype) and not np.isfinite(value).all():
            raise ModelFailed("the answer holds an array with NaN or infinity")
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    for kind in (str, float, int):  # subclasses, which the encoder does not take by itself
        if isinstance(value, kind):
            return kind(value)
    raise TypeError(f"a {type(value).__name__} is no JSON value")


_encode = msgspec.json.Encoder(enc_hook=_hook).encode


def find_not_finite(value: Any) -> str | None:
    """The path of the first NaN or infinity, "" for the value itself, None where there is none."""
    if isinstance(value, float | np.floating):
        return None if math.isfinite(value) else ""
    if isinstance(value, np.ndarray):
        return find_not_finite(value.tolist()) if value.dtype.kind in "fO" or is_floating(value.dtype) else None
    if isinstance(value, Mapping):
        steps = ((str(key), child) for key, child in value.items())
    elif isinstance(value, list | tuple | set | frozenset):
        steps = ((f"[{index}]", child) for index, child in enumerate(value))
    elif type(value) in _FINITE:
        return None
    else:  # instances of classes, which the encoder writes as objects
        try:
            plain = msgspec.to_builtins(value, enc_hook=_hook)
        except ModelFailed:  # an array with NaN
            return ""
        except Exception:  # nothing that JSON can hold
            return None
        return None if type(plain) in _FINITE else find_not_finite(plain)
    for step, child in steps:
        path = find_not_finite(child)
        if path is not None:
            return Mismatch("", path).below(step).path
    return None


def _object_writer(fields: Mapping[str, Field], optional: frozenset[str] = frozenset()) -> Check:
    writers: list[tuple[str, Callable[[Any], Any], bool]] = [
        (name, _writer_of(field), name not in optional and not field.type.nullable) for name, field in fields.items()
    ]

    def write(value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise wrong_type("an object", value)
        plain: dict[str, Any] = {}
        found = 0
        for name, writer, required in writers:
            if name in value:
                found += 1
                try:
                    plain[name] = writer(value[name])
                except Mismatch as mismatch:
                    raise mismatch.below(name) from None
            elif required:
                raise _missing(name, value, fields)
            elif name not in optional:
                plain[name] = None
        if found != len(value):
            extra = next(key for key in value if key not in fields)
            raise Mismatch("is not declared", str(extra), stranger=True)
        return plain

    return write


def _missing(name: str, value: Mapping[Any, Any], fields: Mapping[str, Field]) -> Mismatch:
    """What came instead, with the word that `name` may be a misspelling of."""
    question = did_you_mean(name, [str(key) for key in value if key not in fields])
    given = f"; the model gave {', '.join(map(str, value)) or 'nothing'}"
    return Mismatch("is missing", name, got=f"{given}; {question}" if question else given)


def _writer_of(field: Field) -> Check:
    writer = _compile(field.type, field, outermost=True)
    return hiding(writer) if hides({field.name: field}) else writer


def _compile(type_: FieldType, field: Field, *, outermost: bool = False) -> Check:
    if type_.item is not None:
        writer = _list_writer(type_, field, bounds.of_list(field) if outermost else ())
    else:
        writer = _WRITERS[type_.word](field)
    if not type_.nullable:
        return writer
    return lambda value: None if value is None else writer(value)


def _list_writer(type_: FieldType, field: Field, limits: Sequence[bounds.Bound]) -> Check:
    item = type_.item
    assert item is not None
    writer = _compile(item, field)
    plain = _plain_writer(type_, field)

    def write(value: Any) -> list[Any]:
        if not isinstance(value, list | tuple | np.ndarray) or (isinstance(value, np.ndarray) and not value.ndim):
            raise wrong_type(str(type_), value)
        for limit in limits:
            limit(value)
        if (done := plain(value)) is not None:
            return done
        if isinstance(value, np.ndarray) and item.word not in ("tensor", "image"):
            value = value.tolist()
        items: list[Any] = []
        for index, one in enumerate(value):
            try:
                items.append(writer(one))
            except Mismatch as mismatch:
                raise mismatch.below(f"[{index}]") from None
        return items

    return write


def _plain_writer(type_: FieldType, field: Field) -> Callable[[Any], list[Any] | None]:
    """Writes long lists of numbers without looking at each; None where they must be looked at."""
    kinds = {"float": "f", "int": "iu", "bool": "b"}.get(type_.innermost, "")
    depth = str(type_).count("list[")
    free = not (bounds.of_number(field) or bounds.of_choice(field))

    def write(value: Any) -> list[Any] | None:
        if not free or not kinds:
            return None
        if isinstance(value, np.ndarray):
            fits = value.ndim == depth and value.dtype.kind in kinds
            return list(value.tolist()) if fits and (kinds != "f" or np.isfinite(value).all()) else None
        if kinds == "f" and set(map(type, value)) == {float} and math.isfinite(sum(value)):
            return list(value)
        return None

    return write


def _scalar(word: str, kinds: tuple[type, ...], plain: type, limits: Sequence[bounds.Bound]) -> Check:
    def write(value: Any) -> Any:
        if isinstance(value, np.ndarray) and value.ndim == 0:
            value = value.item()
        if not isinstance(value, kinds) or (plain is not bool and isinstance(value, bool)):
            raise wrong_type(word, value)
        try:
            value = plain(value)
        except OverflowError:
            raise Mismatch(f"is too large for a {word}") from None
        if plain is float and not math.isfinite(value):
            raise Mismatch("is NaN or infinite")
        for limit in limits:
            limit(value)
        return value

    return write


def _write_image(value: Any) -> str:
    if not isinstance(value, np.ndarray):
        raise wrong_type("image (a uint8 array)", value)
    return media.to_base64(media.encode_png(value))


def _write_audio(value: Any) -> str:
    if not isinstance(value, media.Audio):
        raise wrong_type("audio (modelapp.media.Audio)", value)
    return media.to_base64(media.encode_wav(value))


def _write_bytes(value: Any) -> str:
    if not isinstance(value, bytes | bytearray | memoryview):
        raise wrong_type("bytes", value)
    return media.to_base64(bytes(value))


def _tensor_writer(field: Field) -> Check:
    wanted = np.dtype(object if field.dtype in ("string", "bytes") else field.dtype)

    def write(value: Any) -> Any:
        if not isinstance(value, np.ndarray | np.generic):
            raise wrong_type(f"tensor (an array of {field.dtype})", value)
        array = np.asarray(value)
        if array.dtype.kind == "U" and field.dtype == "string":
            array = array.astype(object)
        if array.dtype != wanted:
            raise Mismatch(f"must be a tensor of {field.dtype}, got {array.dtype}")
        fits = len(field.shape) == array.ndim and all(
            want in (-1, size) for want, size in zip(field.shape, array.shape, strict=True)
        )
        if field.shape and not fits:
            raise Mismatch(f"must have shape {ndlists.describe(field.shape)}, got {list(array.shape)}")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise Mismatch("holds NaN or infinity")
        return array.tolist()

    return write


def _bounded_json(limits: Sequence[bounds.Bound]) -> Check:
    def write(value: Any) -> Any:
        for limit in limits:
            limit(value)
        return value

    return write


_WRITERS: Mapping[str, Callable[[Field], Check]] = {
    "str": lambda field: _scalar("str", (str,), str, [*bounds.of_text(field), *bounds.of_choice(field)]),
    "int": lambda field: _scalar("int", (int, np.integer), int, [*bounds.of_number(field), *bounds.of_choice(field)]),
    "float": lambda field: _scalar("float", _NUMBERS, float, [*bounds.of_number(field), *bounds.of_choice(field)]),
    "bool": lambda field: _scalar("bool", (bool, np.bool_), bool, bounds.of_choice(field)),
    "json": lambda field: _bounded_json(bounds.of_choice(field)),
    "image": lambda field: _write_image,
    "audio": lambda field: _write_audio,
    "video": lambda field: _write_bytes,
    "bytes": lambda field: _write_bytes,
    "box": lambda field: _object_writer(BOX_FIELDS, frozenset({"label", "score"})),
    "tensor": _tensor_writer,
    "record": lambda field: _object_writer(field.fields),
}

"""What a request carries -> the Python values that handlers and models see, checked against the declared fields.

The checks are compiled once an endpoint: a closure for each field, called with the value alone.
"""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import attrs

from modelapp import bounds, media, ndlists
from modelapp.app import Field
from modelapp.bodies import decode_json
from modelapp.errors import InvalidInput, LoadError, RequestError
from modelapp.fieldtype import MEDIA, FieldType
from modelapp.forms import Part
from modelapp.masking import hides
from modelapp.mismatch import Check, Mismatch, hiding, quoted, told, wrong_type

_ABSENT = object()
_LEAVE_OUT = object()
_OFF_LOOP = frozenset({"image", "audio"})


class Inputs:
    """The declared inputs of one endpoint. Without any, every JSON object is taken as it is."""

    def __init__(self, fields: Mapping[str, Field]) -> None:
        self._fields = fields
        self._object = _Object(fields)
        self._private = hides(fields)
        self.heavy = any(_is_heavy(field) for field in fields.values())
        """Whether reading decodes images or audio, which belongs on another thread than the loop's."""

    @property
    def forms(self) -> bool:
        """Whether a multipart upload makes sense."""
        return bool(self._fields)

    def read(self, document: Any) -> dict[str, Any]:
        """The values out of decoded JSON. Raises InvalidInput naming the field, what it wants and what came."""
        if type(document) is not dict:
            got = "" if self._private else f", got {told(document)}"
            raise InvalidInput(f"the body must be a JSON object{got}")
        try:
            return self._object(document) if self._fields else document
        except Mismatch as mismatch:
            raise InvalidInput(str(mismatch), field=mismatch.path) from None

    def read_parts(self, parts: Sequence[Part]) -> dict[str, Any]:
        """The values out of a form. Raises InvalidInput."""
        return self.read(self.document(parts))

    def document(self, parts: Sequence[Part]) -> dict[str, Any]:
        """A form as the document it stands for: numbers and the like are JSON text in it, media files. Raises
        InvalidInput.
        """
        named: dict[str, list[Part]] = {}
        for part in parts:
            named.setdefault(part.name, []).append(part)
        document: dict[str, Any] = {}
        for name, group in named.items():
            field = self._fields.get(name)
            try:
                document[name] = _from_parts(group, field.type) if field is not None else None
            except Mismatch as mismatch:
                private = field is not None and hides({name: field})
                found = (mismatch.hidden() if private else mismatch).below(name)
                raise InvalidInput(str(found), field=found.path) from None
        return document


def check_of(field: Field) -> Check:
    """The compiled check of one field."""
    check = _compile(field.type, field, outermost=True)
    return hiding(check) if hides({field.name: field}) else check


def _is_heavy(field: Field) -> bool:
    return field.type.innermost in _OFF_LOOP or any(_is_heavy(inner) for inner in field.fields.values())


class _Object:
    """Checks a mapping against named fields: unknown keys are refused, absent ones filled with their defaults."""

    __slots__ = ("_entries", "_names")

    def __init__(self, fields: Mapping[str, Field]) -> None:
        self._names = tuple(fields)
        self._entries: list[tuple[str, Check, Callable[[], Any] | None]] = [
            (name, check_of(field), _default_of(name, field)) for name, field in fields.items()
        ]

    def __call__(self, document: Any) -> dict[str, Any]:
        if type(document) is not dict:
            raise wrong_type("an object", document)
        values: dict[str, Any] = {}
        found = 0
        for name, check, default in self._entries:
            value = document.get(name, _ABSENT)
            if value is not _ABSENT:
                found += 1
                try:
                    values[name] = check(value)
                except Mismatch as mismatch:
                    raise mismatch.below(name) from None
            elif default is None:
                self._refuse_unknown(document)
                raise Mismatch("is missing", name)
            elif (filled := default()) is not _LEAVE_OUT:
                values[name] = filled
        if found != len(document):
            self._refuse_unknown(document)
        return values

    def _refuse_unknown(self, document: Mapping[str, Any]) -> None:
        for key in document:
            if key not in self._names:
                near = get_close_matches(key[:80], self._names, n=1)  # comparing takes time by length
                hint = f'did you mean "{near[0]}"?' if near else f"known here: {', '.join(self._names)}"
                raise Mismatch(f"is not declared; {hint}", key[:80], stranger=True)


def _default_of(name: str, field: Field) -> Callable[[], Any] | None:
    """What stands for an absent field; None where it may not be absent. Mutable defaults are copied for each use."""
    if field.required:
        return None
    if field.default is _LEAVE_OUT:
        return lambda: _LEAVE_OUT
    if field.default is not attrs.NOTHING and field.default is not None:
        try:
            value = check_of(field)(field.default)
        except Mismatch as mismatch:
            raise LoadError(f'the default of "{name}" {mismatch}') from None
        return (lambda: value) if isinstance(value, str | int | float | bytes) else (lambda: copy.deepcopy(value))
    return lambda: None


def _compile(type_: FieldType, field: Field, *, outermost: bool = False) -> Check:
    if type_.item is not None:
        check = _list_check(type_.item, field, bounds.of_list(field) if outermost else ())
    elif type_.word in MEDIA:
        check = _media_check(type_.word, field)
    else:
        check = _WORDS[type_.word](field)
    return _or_null(check) if type_.nullable else check


def _or_null(check: Check) -> Check:
    return lambda value: None if value is None else check(value)


def _bounded(check: Check, limits: Sequence[bounds.Bound]) -> Check:
    if not limits:
        return check

    def checked(value: Any) -> Any:
        value = check(value)
        for limit in limits:
            limit(value)
        return value

    return checked


def _list_check(item: FieldType, field: Field, limits: Sequence[bounds.Bound]) -> Check:
    check = _compile(item, field)
    plain = _plain_kind(item, field)

    def checked(value: Any) -> list[Any]:
        if type(value) is not list:
            raise wrong_type(f"list[{item}]", value)
        for limit in limits:
            limit(value)
        if plain is not None and set(map(type, value)) == plain:
            return value
        items: list[Any] = []
        for index, one in enumerate(value):
            try:
                items.append(check(one))
            except Mismatch as mismatch:
                raise mismatch.below(f"[{index}]") from None
        return items

    return checked


def _plain_kind(item: FieldType, field: Field) -> set[type] | None:
    """The type that makes an item good without looking closer, so that long lists of numbers cost little."""
    kinds: dict[str, type] = {"str": str, "int": int, "float": float, "bool": bool}
    free = not (bounds.of_number(field) or bounds.of_text(field) or bounds.of_choice(field))
    return {kinds[item.word]} if free and not item.nullable and item.word in kinds else None


def _str(field: Field) -> Check:
    return _bounded(_exactly("str", str), [*bounds.of_text(field), *bounds.of_choice(field)])


def _int(field: Field) -> Check:
    return _bounded(_exactly("int", int), [*bounds.of_number(field), *bounds.of_choice(field)])


def _float(field: Field) -> Check:
    def check(value: Any) -> float:
        if type(value) is int:
            try:
                return float(value)
            except OverflowError:
                raise Mismatch("must be float, got a number too large for one") from None
        if type(value) is not float or not math.isfinite(value):
            raise wrong_type("float", value)
        return value

    return _bounded(check, [*bounds.of_number(field), *bounds.of_choice(field)])


def _exactly(word: str, kind: type) -> Check:
    def check(value: Any) -> Any:
        if type(value) is not kind:
            raise wrong_type(word, value)
        return value

    return check


def _media_check(word: str, field: Field) -> Check:
    """Media come as bytes from an upload, else as base64 text or a data URL."""

    def check(value: Any) -> Any:
        data = value if type(value) is bytes else media.from_text(value)
        if word == "image":
            return media.decode_image(data, max_side_px=field.max_side_px)
        if word == "audio":
            return media.decode_audio(data, max_seconds=field.max_seconds)
        return data

    return check


def _box_fields() -> Mapping[str, Field]:
    number, optional = FieldType("float"), {"label": FieldType("str"), "score": FieldType("float")}
    corners = {name: Field(name=name, type=number) for name in ("x_min", "y_min", "x_max", "y_max")}
    return corners | {name: Field(name=name, type=type_, default=_LEAVE_OUT) for name, type_ in optional.items()}


BOX_FIELDS: Mapping[str, Field] = _box_fields()
"""What a box consists of; label and score may be absent."""

_WORDS: Mapping[str, Callable[[Field], Check]] = {
    "str": _str,
    "int": _int,
    "float": _float,
    "bool": lambda field: _bounded(_exactly("bool", bool), bounds.of_choice(field)),
    "json": lambda field: _bounded(lambda value: value, bounds.of_choice(field)),
    "box": lambda field: _Object(BOX_FIELDS),
    "tensor": ndlists.tensor_check,
    "record": lambda field: _Object(field.fields),
}


def _from_parts(parts: Sequence[Part], type_: FieldType) -> Any:
    if type_.item is not None and type_.innermost in MEDIA and any(part.filename is not None for part in parts):
        return [_from_part(part, type_.item) for part in parts]
    if len(parts) > 1:
        raise Mismatch(f"stands in the form {len(parts)} times")
    return _from_part(parts[0], type_)


def _from_part(part: Part, type_: FieldType) -> Any:
    if type_.word in MEDIA and part.filename is not None:
        return part.data
    if type_.word == "str" or type_.word in MEDIA:
        try:
            return part.data.decode("utf-8")
        except UnicodeDecodeError:
            raise Mismatch("must be UTF-8 text") from None
    try:
        return decode_json(part.data)
    except RequestError:
        text = part.data.decode("utf-8", errors="replace")
        raise Mismatch(f"must be {type_}", got=f", got {quoted(text)}") from None

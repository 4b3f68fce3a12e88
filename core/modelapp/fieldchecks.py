"""Declared fields: whether their bounds suit their type, and whether a value written in app.toml suits the field."""

import re
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from modelapp import bounds, strict
from modelapp.app import Field
from modelapp.bounds import Bound
from modelapp.examination import Examination
from modelapp.fieldtype import MEDIA, FieldType
from modelapp.mismatch import Mismatch
from modelapp.signature import DTYPES
from modelapp.spans import KeyPath
from modelapp.suggestions import closest, toml

_NUMBERS, _TIMED = ("int", "float"), ("audio", "video")
_DTYPES = tuple(word for word in DTYPES if word != "bfloat16")  # a field of float32 feeds a model of bfloat16
#: What each key is for: words of the innermost type, or "list".
_MEANT_FOR: dict[str, tuple[str, ...]] = {
    "min": _NUMBERS,
    "max": _NUMBERS,
    "min_chars": ("str",),
    "max_chars": ("str",),
    "pattern": ("str",),
    "min_items": ("list",),
    "max_items": ("list",),
    "max_side_px": ("image",),
    "max_seconds": _TIMED,
    "dtype": ("tensor",),
    "shape": ("tensor",),
    "fields": ("record",),
    "fields_from": ("record",),
    "allow_hosts": tuple(sorted(MEDIA)),
    "choices": ("str", "int", "float", "bool", "json"),
}
_PYTHON: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "box": (dict,),
    "record": (dict,),
    "tensor": (list, int, float, bool),
}
_BOUNDS: dict[str, Callable[[Field], Sequence[Bound]]] = {
    "int": bounds.of_number,
    "float": bounds.of_number,
    "str": bounds.of_text,
}
_PLAIN: dict[str, type] = {"str": str, "int": int, "float": float, "bool": bool}
_A = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "a text"}


def check(exam: Examination, field: Field, path: KeyPath) -> None:
    """One declared field, and those of a record below it."""
    words = (field.type.innermost, "list") if field.type.item else (field.type.innermost,)
    for key, meant_for in _MEANT_FOR.items():
        if exam.sources.holds((*path, key)) and not set(words) & set(meant_for):
            message = f'"{key}" means nothing for a field of type {field.type}'
            edit = exam.sources.remove((*path, key))
            label = f"it is for {' and '.join(meant_for)}"
            exam.add("MA026", message, (*path, key), label, "remove it, or change the type", at="key", edit=edit)
    found = len(exam.problems)
    for end in ("", "_chars", "_items"):
        _order(exam, getattr(field, f"min{end}"), getattr(field, f"max{end}"), f"min{end}", f"max{end}", path)
    if field.allow_hosts:
        _hosts(exam, field, (*path, "allow_hosts"))
    if field.pattern:
        compiles(exam, field.pattern, (*path, "pattern"))
    if field.type.innermost == "tensor":
        _tensor(exam, field, path)
    if exam.is_sound(path) and len(exam.problems) == found:
        _values(exam, field, path)
    if field.fields_from:
        _from_file(exam, field, path)
        return
    for one in field.fields.values():
        check(exam, one, (*path, "fields", one.name))


def _hosts(exam: Examination, field: Field, path: KeyPath) -> None:
    from modelapp.addresses import is_entry  # what it imports takes 2 ms

    for number, entry in enumerate(field.allow_hosts):
        if not is_entry(entry):
            near = _host_in(entry)
            label = 'a host, "*.example.org", an address, or "10.0.0.0/8"'
            exam.replace(
                "MA021", f'"{entry}" is no host', (*path, number), label, near if is_entry(near) else "example.org"
            )


def _host_in(entry: str) -> str:
    """What was meant, where a URL or a port was written."""
    host = entry.partition("://")[2] or entry
    return host.partition("/")[0].rpartition("@")[2].partition(":")[0].removeprefix("*").lstrip(".")


def _from_file(exam: Examination, field: Field, path: KeyPath) -> None:
    """Whether the file of a record's fields is there; what it says was looked at when it was read."""
    place = (*path, "fields_from")
    exam.is_file(field.fields_from, place)
    if exam.sources.holds((*path, "fields")):
        related = exam.sources.related((*path, "fields"), "one", "key")
        edit = exam.sources.remove(place)
        message = f'"{field.name}" has its fields here and in a file'
        exam.add("MA026", message, place, "another", "remove one of them", at="key", related=related, edit=edit)


def compiles(exam: Examination, pattern: str, path: KeyPath) -> bool:
    """Whether a regular expression can be read; notes a problem where it cannot."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Python merely warns of is not the user's concern
            re.compile(pattern)
    except re.error as error:
        where = "" if error.pos is None else f" (character {error.pos + 1})"
        message, label = "the regular expression cannot be read", f"{error.msg}{where}"
        literal = re.escape(pattern)
        advice = f"to match it as it stands, write {toml(literal)}"
        exam.add("MA024", message, path, label, advice, edit=exam.sources.replace(path, toml(literal)))
        return False
    return True


def mismatch(field: Field, value: Any) -> str:
    """Why a value is not what a field declares, "" where it is. Media are paths, so any text is one."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _check(field, field.type, value)
            for bound in bounds.of_list(field) if field.type.item else ():
                bound(value)
    except Mismatch as found:
        return str(found)
    except re.error:  # told where the pattern stands
        return ""
    return ""


def _check(field: Field, wanted: FieldType, value: Any) -> None:
    """Type and bounds, which hold for each item of a list. Raises Mismatch; re.error for a broken pattern."""
    if wanted.item is None:
        _check_type(field, wanted, value)
        for bound in (*(_BOUNDS[wanted.word](field) if wanted.word in _BOUNDS else ()), *bounds.of_choice(field)):
            bound(value)
        return
    if not isinstance(value, list):
        raise Mismatch(f"must be a list, {wanted}")
    for one in value:
        _check(field, wanted.item, one)


def _check_type(field: Field, wanted: FieldType, value: Any) -> None:
    if wanted.word in MEDIA:
        if not isinstance(value, str):
            raise Mismatch("must be the path of a file")
        return
    types = _PYTHON.get(wanted.word)
    if types is None:
        return
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        raise Mismatch(f"must be {_A.get(wanted.word, f'a {wanted.word}')}")
    if wanted.word == "record" and field.fields:
        _check_record(field, value)


def _check_record(field: Field, value: Any) -> None:
    for name, one in field.fields.items():
        if name not in value and one.required:
            raise Mismatch(f'lacks "{name}"')
        if name in value and (text := mismatch(one, value[name])):
            raise Mismatch(f'"{name}" {text}')
    if stranger := next((name for name in value if name not in field.fields), None):
        raise Mismatch(f'has no field "{stranger}"')


def _type_mismatch(field: Field, value: Any) -> str:
    """As `mismatch`, of a value for one item, and the type alone."""
    try:
        _check_type(field, FieldType(field.type.innermost), value)
    except Mismatch as found:
        return str(found)
    return ""


def _order(exam: Examination, low: Any, high: Any, low_key: str, high_key: str, path: KeyPath) -> None:
    if low is None or high is None or low <= high:
        return
    related = exam.sources.related((*path, low_key), f"{low_key} is {toml(low)}", "value")
    message, place = f'"{high_key}" is below "{low_key}"', (*path, high_key)
    exam.replace("MA027", message, place, "no value fits between them", low, related=related)


def _tensor(exam: Examination, field: Field, path: KeyPath) -> None:
    if field.dtype not in _DTYPES:
        message = f'no dtype is called "{field.dtype}"'
        notes = (f"dtypes: {', '.join(_DTYPES)}",)
        near = closest(field.dtype, _DTYPES) or "float32"
        exam.replace("MA022", message, (*path, "dtype"), "unknown dtype", near, notes=notes)
    for number, size in enumerate(field.shape):
        if size < -1 or size == 0:
            message, label = f"a dimension cannot be {size}", "-1 stands for any size"
            exam.replace("MA021", message, (*path, "shape", number), label, -1)


def _values(exam: Examination, field: Field, path: KeyPath) -> None:
    """The default and the choices, which are values of the field themselves."""
    for number, choice in enumerate(field.choices):
        if text := _type_mismatch(field, choice):
            exam.add("MA026", f"a choice {text}", (*path, "choices", number), f"the field is of type {field.type}")
            return
    if not field.required and not field.type.nullable and (text := mismatch(field, field.default)):
        place = (*path, "default")
        fixed = _nearest(field)
        edit = exam.sources.replace(place, toml(fixed)) if fixed is not None else exam.sources.remove(place)
        advice = "remove it, or change it" if fixed is None else f"write default = {toml(fixed)}"
        exam.add("MA026", f"the default {text}", place, f"not a value of the field {field.name}", advice, edit=edit)


def _nearest(field: Field) -> Any:
    """A value that the field allows, near the default where that is plain; None where there is no telling."""
    if field.type.item is not None:
        return None
    if field.type.word in _PLAIN and _type_mismatch(field, field.default):
        return strict.remedy(field.default, _PLAIN[field.type.word], field.name)
    if field.choices:
        return closest(str(field.default), [one for one in field.choices if isinstance(one, str)]) or field.choices[0]
    if type(field.default) in (int, float) and field.type.word in _NUMBERS:
        low = field.default if field.min is None else max(field.default, field.min)
        kept = low if field.max is None else min(low, field.max)
        return int(kept) if field.type.word == "int" else kept
    return None

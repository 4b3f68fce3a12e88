"""Fields with `sensitive = true`: what of a request and its answer must never be shown, and texts without it."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from modelapp.app import App, Endpoint, Field
from modelapp.errors import RequestError
from modelapp.matchers import Mismatch

HIDDEN = "***"
"""Stands where a value is not shown."""
_PIECE_CHARS = 12
"""As much of a long value as no text shares with it by chance."""
_WORD_CHARS = 3
"""A value of fewer characters is replaced only where it stands as a word of its own."""
_DIGITS = 4
"""Numbers of fewer digits are left: they stand in texts for many reasons."""
_MOST_LEAVES = 10_000
_MOST_CHARS = 64 * 1024
_STEP = re.compile(r"[^.\[\]]+|\[-?\d+\]")


def hides(fields: Mapping[str, Field]) -> bool:
    """Whether any field is sensitive, at any depth."""
    return any(field.sensitive or hides(field.fields) for field in fields.values())


def is_private(endpoint: Endpoint) -> bool:
    """Whether anything that an endpoint takes or gives is sensitive."""
    return hides(endpoint.input) or hides(endpoint.output)


def private_models(app: App) -> frozenset[str]:
    """The models that work for such endpoints."""
    found: set[str] = set()
    for endpoint in filter(is_private, app.endpoints.values()):
        arms = () if endpoint.split is None else endpoint.split.arms
        found |= {endpoint.model, *arms, *(step.run for step in endpoint.steps)}
    return frozenset(found & set(app.models))


def touches(fields: Mapping[str, Field], path: str) -> bool:
    """Whether what stands at a path, "boxes[0].label", is sensitive, or a part or the whole of what is."""
    for step in _STEP.findall(path):
        if step.startswith("["):
            continue
        if step not in fields:
            return False
        if fields[step].sensitive:
            return True
        fields = fields[step].fields
    return hides(fields)


def masked(fields: Mapping[str, Field], values: Any) -> Any:
    """`values` with HIDDEN in the place of each sensitive one."""
    if not isinstance(values, Mapping):
        return HIDDEN if hides(fields) else values
    return {name: _masked(fields[name], value) if name in fields else value for name, value in values.items()}


def _masked(field: Field, value: Any) -> Any:
    if field.sensitive:
        return HIDDEN
    if not hides(field.fields) or value is None:
        return value
    return [_masked(field, one) for one in value] if isinstance(value, list) else masked(field.fields, value)


def bared(fields: Mapping[str, Field], values: Any, path: str = "") -> tuple[Any, tuple[str, ...]]:
    """`values` without the sensitive ones, and the paths of those."""
    if not hides(fields):
        return values, ()
    if isinstance(values, list):
        pairs = [bared(fields, value, f"{path}[{number}]") for number, value in enumerate(values)]
        return [value for value, _ in pairs], tuple(place for _, places in pairs for place in places)
    kept: dict[str, Any] = {}
    left_out: tuple[str, ...] = ()
    for name, value in values.items() if isinstance(values, Mapping) else ():
        place = f"{path}.{name}" if path else name
        field = fields.get(name)
        if field is not None and field.sensitive:
            left_out += (place,)
            continue
        kept[name], more = (value, ()) if field is None else bared(field.fields, value, place)
        left_out += more
    return kept, left_out


class Curtain:
    """What a test may show of an endpoint's answers, or of a step's result where `probe` looks at one."""

    def __init__(self, endpoint: Endpoint, *, probe: bool = False) -> None:
        self.drawn = is_private(endpoint)
        """Whether anything is hidden."""
        self._fields = endpoint.output
        self._all = self.drawn and probe  # what a step gives is declared nowhere

    def hides(self, path: str) -> bool:
        """Whether what stands there is not shown."""
        return self._all or (self.drawn and touches(self._fields, path))

    def before(self, body: Any) -> Any:
        """An answer as it may be shown."""
        return HIDDEN if self._all else masked(self._fields, body)

    def mismatch(self, found: Mismatch) -> Mismatch:
        """A difference as it may be shown."""
        if not self.hides(found.path):
            return found
        return Mismatch(found.path, "what the test says", "something else; the field is sensitive, so neither is shown")


def leaves(fields: Mapping[str, Field], values: Any) -> Iterator[Any]:
    """The sensitive texts, numbers and bytes in `values`; below a sensitive field also the names in objects."""
    if isinstance(values, Mapping):
        for name, field in fields.items():
            if name in values:
                yield from everything(values[name]) if field.sensitive else leaves(field.fields, values[name])
    elif isinstance(values, Sequence) and not isinstance(values, str | bytes):
        for value in values:
            yield from leaves(fields, value)


def values_of_tests(app: App) -> Iterator[Any]:
    """The sensitive values that the tests of an app hold."""
    for test in app.tests:
        endpoint = app.endpoint_of(test)
        curtain = Curtain(endpoint, probe=bool(test.probe))
        yield from leaves(endpoint.input, test.input)
        for wanted in (test.expect, test.expect_min, test.expect_max, test.expect_contains, test.expect_match):
            for path, value in wanted.items():
                if curtain.hides(path):
                    yield from everything(value)


def everything(value: Any) -> Iterator[Any]:
    """All texts, numbers and bytes in a value, and the names in its objects."""
    if isinstance(value, str | bytes | int | float):
        yield value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield str(name)
            yield from everything(inner)
    elif hasattr(value, "tolist"):  # numpy's
        if getattr(value, "size", 1) <= _MOST_LEAVES:
            yield from everything(value.tolist())
    elif isinstance(value, Iterable):
        for inner in value:
            yield from everything(inner)


def scrubbed(error: RequestError, values: Iterable[Any]) -> RequestError:
    """The error without `values` in its words. For the path of failure: it takes milliseconds where these are long."""
    clean, values = error.again(), list(values)
    clean.message, clean.field = scrub(error.message, values), scrub(error.field, values)
    clean.args = (clean.message, *clean.args[1:])
    return clean


def scrub(text: str, values: Iterable[Any]) -> str:
    """`text` with HIDDEN for each of `values` in it, as it is, escaped, in another case, or a long piece of it."""
    folded = _folded(text)
    spans: list[tuple[int, int]] = []
    long = 0
    for number, value in enumerate(values):
        if number >= _MOST_LEAVES or long > _MOST_CHARS * 4:
            return HIDDEN  # too much to look for
        for form in _forms(value):
            long += len(form) if len(form) > _PIECE_CHARS else 0
            if len(form) <= _PIECE_CHARS and form not in folded:
                continue
            alone = len(form) < _WORD_CHARS or isinstance(value, int | float)
            spans += [match.span() for match in re.finditer(_pattern(form, alone=alone), folded)]
            if len(form) > _PIECE_CHARS:
                spans += _pieces(folded, form)
    return _cut(text, spans)


def _forms(value: Any) -> set[str]:
    """How a value may stand in a text."""
    if isinstance(value, bool):
        return set()
    if isinstance(value, int | float):
        text = repr(value)
        return {text} if sum(character.isdigit() for character in text) >= _DIGITS else set()
    if isinstance(value, bytes):
        return {_folded(repr(value)[2:-1]), *_forms(value[:_MOST_CHARS].decode("utf-8", errors="replace"))}
    text = value[:_MOST_CHARS]
    escaped = repr(text)[1:-1]
    forms = (text, text.strip(), json.dumps(text)[1:-1], escaped, escaped.replace("'", "\\'"))
    return {_folded(form) for form in forms if form}


def _folded(text: str) -> str:
    """In lower case, each character in its place: folding may make two of one."""
    low = text.lower()
    return low if len(low) == len(text) else "".join(one if len(one.lower()) > 1 else one.lower() for one in text)


def _pattern(form: str, *, alone: bool) -> str:
    return rf"(?<!\w){re.escape(form)}(?!\w)" if alone else re.escape(form)


def _pieces(text: str, form: str) -> Iterator[tuple[int, int]]:
    start = 0
    while start + _PIECE_CHARS <= len(text):
        end = start + _PIECE_CHARS
        if text[start:end] not in form:
            start += 1
            continue
        while end < len(text) and text[start : end + 1] in form:
            end += 1
        yield start, end
        start = end


def _cut(text: str, spans: list[tuple[int, int]]) -> str:
    parts: list[str] = []
    at = 0
    for start, end in sorted(spans):
        if end <= at:
            continue
        if start > at or not parts:
            parts += [text[at:start], HIDDEN]
        at = end
    return "".join([*parts, text[at:]])

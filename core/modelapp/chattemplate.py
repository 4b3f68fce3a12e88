"""A model's chat template: a conversation as the one text that the model was trained on.

It comes from the model's folder, so it runs in jinja2's sandbox: it sees plain values, and can call nothing else.
"""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any

from modelapp.errors import InvalidInput, LoadError

MOST_CHARS = 4_000_000
"""Of the text that a template makes."""


class ChatTemplate:
    """Renders conversations. `source` is the template, "" where the model has none; `names` what it may name beside
    the messages: bos_token and other special tokens. Raises LoadError where jinja2 is missing."""

    def __init__(self, source: str, names: Mapping[str, str]) -> None:
        self._source = source
        self._names = dict(names)
        self._environment = _environment() if source else None

    def render(self, messages: Sequence[Mapping[str, Any]]) -> str:
        """The text, up to where the assistant's begins. Raises InvalidInput."""
        if not self._source:
            raise InvalidInput("this model has no chat template: send `prompt` instead of messages", field="messages")
        plain = [plain_message(at, message) for at, message in enumerate(messages)]
        pieces: list[str] = []
        left = MOST_CHARS
        try:
            for piece in self._compiled.generate(**self._names, messages=plain, add_generation_prompt=True):
                pieces.append(piece)
                left -= len(piece)
                if left < 0:
                    break
        except Exception as error:  # whatever a template from outside comes to
            raise InvalidInput(
                f"the model's chat template refuses the messages: {str(error)[:300] or type(error).__name__}",
                field="messages",
            ) from error
        if left < 0:
            raise InvalidInput(f"messages make more than {MOST_CHARS} characters", field="messages")
        return "".join(pieces)

    @cached_property
    def _compiled(self) -> Any:
        assert self._environment is not None
        return self._environment.from_string(self._source)


def plain_message(at: int, message: Mapping[str, Any]) -> dict[str, Any]:
    """A message with its content as one text: parts of kind text are put together as they are. Raises InvalidInput."""
    content = message.get("content")
    if isinstance(content, list | tuple):
        content = "".join(_part(f"messages[{at}].content[{place}]", part) for place, part in enumerate(content))
    elif content is None and not message.get("tool_calls"):
        raise InvalidInput(f"messages[{at}] has no content", field="messages")
    elif not isinstance(content, str | None):
        raise InvalidInput(f"messages[{at}].content must be a string or a list of text parts", field="messages")
    try:
        return json.loads(json.dumps({**message, "content": content}, allow_nan=False))  # type: ignore[no-any-return]
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(f"messages[{at}] holds what is not plain JSON", field="messages") from error


def _part(place: str, part: Any) -> str:
    if isinstance(part, Mapping) and part.get("type", "text") == "text" and isinstance(text := part.get("text"), str):
        return text
    kind = part.get("type") if isinstance(part, Mapping) else None
    told = f'is of kind "{str(kind)[:40]}"; this model reads text alone' if kind not in (None, "text") else (
        'must be {"type": "text", "text": ...}'
    )  # fmt: skip
    raise InvalidInput(f"{place} {told}", field="messages")


def _environment() -> Any:
    """What templates are written for: the tags, filters and functions that transformers gives them."""
    try:
        from jinja2 import TemplateError, nodes
        from jinja2.exceptions import SecurityError
        from jinja2.ext import Extension, loopcontrols
        from jinja2.sandbox import ImmutableSandboxedEnvironment
        from jinja2.utils import Namespace
    except ImportError as error:
        raise LoadError("chat templates need jinja2", help="pip install 'modelapp[text]'") from error

    class Sandbox(ImmutableSandboxedEnvironment):
        """Makes no text wide at a stroke: a small template could ask for more memory than there is."""

        intercepted_binops = frozenset({"*", "**", "%"})

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            if not _is_small(operator, left, right):
                raise SecurityError(f"a chat template may not make that much of {operator}")
            return super().call_binop(context, operator, left, right)

        def wrap_str_format(self, value: Any) -> Any:
            wrapped = super().wrap_str_format(value)
            if wrapped is not None and _WIDE.search(value.__self__):
                raise SecurityError("a chat template may not format that widely")
            return wrapped

        def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
            padding = isinstance(obj, str | bytes) and attr in _PADDING
            return not padding and super().is_safe_attribute(obj, attr, value)

    class Generation(Extension):
        """{% generation %} marks the assistant's words for training; here its body is all that counts."""

        tags = {"generation"}  # noqa: RUF012 - as jinja2 declares it

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True), lineno=line)

    class PlainNamespace(Namespace):
        """Names with an underscore are Python's own."""

        def __setitem__(self, name: str, value: Any) -> None:
            if name.startswith("_"):
                raise SecurityError("a chat template may not set names that begin with an underscore")
            super().__setitem__(name, value)

    def refuse(message: str) -> None:
        raise TemplateError(message)

    environment = Sandbox(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
    for name in ("center", "format", "wordwrap", "xmlattr", "urlize", "pprint"):
        del environment.filters[name]
    indented = environment.filters["indent"]
    environment.filters["indent"] = lambda text, width=4, *how, **named: indented(text, _narrow(width), *how, **named)
    environment.filters["tojson"] = _tojson
    environment.globals = {
        "dict": dict,
        "namespace": PlainNamespace,
        "raise_exception": refuse,
        "range": environment.globals["range"],
        "strftime_now": lambda form: datetime.now().astimezone().strftime(form),
    }
    return environment


_PADDING = frozenset({"center", "ljust", "rjust", "zfill", "expandtabs"})
_WIDE = re.compile(r"\d{4}|\*|:[^}]*\{")
"""In a text that formats: a width of 1,000 and more, or one that is an argument."""
_MOST_REPEATED = 10_000
_WIDEST_INDENT = 100


def _is_small(operator: str, left: Any, right: Any) -> bool:
    """Whether what comes of two values has a size to speak of."""
    if operator == "%" and isinstance(left, str):
        return not _WIDE.search(left)
    if operator == "**":
        return isinstance(right, int | float) and abs(right) <= 64
    repeated = [len(value) for value in (left, right) if hasattr(value, "__len__")]
    times = [value for value in (left, right) if isinstance(value, int)]
    return not repeated or max(repeated) * max(times, default=1) <= _MOST_REPEATED


def _tojson(
    value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
) -> str:
    indent = _narrow(indent)
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _narrow(width: Any) -> Any:
    """The width of an indentation, or the text that makes it."""
    if (len(width) if isinstance(width, str) else width or 0) > _WIDEST_INDENT:
        raise ValueError(f"an indentation of more than {_WIDEST_INDENT}")
    return width

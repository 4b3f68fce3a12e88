"""Type words of app.toml: `str`, `list[float]`, `image`, `list[record]`, `int?` and their like."""

import re
from typing import Any

import attrs

WORDS = ("str", "int", "float", "bool", "json", "image", "audio", "video", "bytes", "box", "tensor", "record")
MEDIA = frozenset({"image", "audio", "video", "bytes"})
"""Words whose values travel as bytes: base64, a data URL, or an uploaded file."""

_LIST = re.compile(r"list\[(.+)\]")


@attrs.frozen
class FieldType:
    """A parsed type word. `item` is the element type of a list; `nullable` is the trailing "?"."""

    word: str
    item: "FieldType | None" = None
    nullable: bool = False

    def __str__(self) -> str:
        word = f"list[{self.item}]" if self.item else self.word
        return word + "?" if self.nullable else word

    @property
    def innermost(self) -> str:
        """The word at the bottom of nested lists."""
        return self.item.innermost if self.item else self.word


def parse(text: str) -> FieldType:
    """Read a type word. Raises ValueError naming the part that is not one."""
    word = text.strip()
    nullable = word.endswith("?")
    if nullable:
        word = word[:-1].rstrip()
    if match := _LIST.fullmatch(word):
        return FieldType("list", parse(match[1]), nullable)
    if word not in WORDS:
        raise ValueError(word)
    return FieldType(word, None, nullable)


def is_url(value: Any) -> bool:
    """Whether a value of a media input is meant to be fetched."""
    return isinstance(value, str) and value[:8].lower().startswith(("http://", "https://"))

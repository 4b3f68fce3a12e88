"""What each token adds to a text, in bytes, worked out of a tokenizer's decoder.

Most decoders work token by token, but for the beginning of a text and for characters that are split among tokens. So
a text can be made as its tokens come, at a look-up each, and the same as when all of them are decoded at once.
"""

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import tokenizers

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_PROBES = ("a", "the", "1", ".")


def _byte_characters() -> dict[str, int]:
    """The characters that byte-level vocabularies write bytes as: printable ones for themselves, others from U+0100."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + place): byte for place, byte in enumerate(others)}


_BYTES = _byte_characters()


class TokenBytes:
    """`first` and `later`: the UTF-8 bytes of a token that begins a text, and of one further on; None if unknown.

    `local`: whether the decoder is one of those that work token by token; where it is not, neither may be asked.
    """

    def __init__(self, tokenizer: "tokenizers.Tokenizer") -> None:
        self._tokenizer = tokenizer
        self._first: dict[int, bytes | None] = {}
        self._later: dict[int, bytes | None] = {}
        parts = _parts(tokenizer.decoder)
        kinds = [part["type"] for part in parts]
        self._byte_level = kinds == ["ByteLevel"]
        self._fallback = "ByteFallback" in kinds
        self._probe, self._before = (0, 0) if self._byte_level else self._find_probe()
        self.local = self._byte_level or (self._before > 0 and _is_local(parts))

    def _find_probe(self) -> tuple[int, int]:
        """A token that any other may follow, and how many characters it makes; 0 where there is none."""
        for text in _PROBES:
            ids = self._tokenizer.encode(text, add_special_tokens=False).ids
            if ids and (made := self._tokenizer.decode(ids[-1:])) and text.endswith(made):
                return ids[-1], len(made)
        return 0, 0

    def first(self, token: int) -> bytes | None:
        """Of a text's first token."""
        if self._byte_level:
            return self.later(token)
        if token not in self._first:
            found = self.later(token)
            if found is not None and (self._byte(token) or b"") < b"\x80":  # no part of a character
                found = self._tokenizer.decode([token], skip_special_tokens=False).encode()
            self._first[token] = found
        return self._first[token]

    def later(self, token: int) -> bytes | None:
        """Of a token that follows another."""
        if token not in self._later:
            self._later[token] = self._work_out(token)
        return self._later[token]

    def _work_out(self, token: int) -> bytes | None:
        written = self._tokenizer.id_to_token(token)
        if written is None:
            return None
        if self._byte_level:
            codes = [_BYTES.get(character) for character in written]
            return written.encode() if None in codes else bytes(code for code in codes if code is not None)
        byte = self._byte(token)
        if byte is not None:
            return byte
        return self._tokenizer.decode([self._probe, token], skip_special_tokens=False)[self._before :].encode()

    def _byte(self, token: int) -> bytes | None:
        """The byte that a token stands for, where the vocabulary has such."""
        match = _BYTE.fullmatch(self._tokenizer.id_to_token(token) or "") if self._fallback else None
        return bytes([int(match[1], 16)]) if match else None


def _parts(decoder: Any) -> list[dict[str, Any]]:
    """The decoders that a decoder consists of, as it is saved."""
    if decoder is None:
        return []
    saved = json.loads(decoder.__getstate__())
    return list(saved["decoders"]) if saved["type"] == "Sequence" else [saved]


def _is_local(parts: list[dict[str, Any]]) -> bool:
    fused = False
    for part in parts:
        kind = part["type"]
        if kind == "Fuse":
            fused = True
        elif kind == "Strip":
            if part["stop"] or (fused and part["start"] > 1):
                return False
        elif kind == "Replace":
            if fused and len(part["pattern"].get("String", "  ")) != 1:
                return False
        elif kind not in ("Metaspace", "ByteFallback", "WordPiece"):
            return False
    return True

"""Text into tokens and back, by the tokenizer that a model brings: `modelapp.generating.Text` over `tokenizers`."""

import codecs
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelapp.chattemplate import ChatTemplate
from modelapp.errors import InvalidInput, LoadError
from modelapp.generating import TextStream
from modelapp.tokenbytes import TokenBytes

if TYPE_CHECKING:
    import tokenizers


class Tokenizer:
    """Implements `modelapp.generating.Text`. Safe to call from several threads.

    `tokenizer` is used by nobody else from now on: bounds and padding that it was saved with are taken off it.
    `special` maps the names of special tokens to their texts, as tokenizer_config.json has them: {"bos_token": "<s>"};
    chat templates may name them.
    """

    def __init__(
        self,
        tokenizer: "tokenizers.Tokenizer",
        *,
        chat_template: str = "",
        special: Mapping[str, str] | None = None,
    ) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._tokenizer = tokenizer
        self.special: Mapping[str, str] = dict(special or {})
        """The special tokens by name, such as bos_token."""
        self.chat_template = chat_template
        """The template's source, "" where there is none."""
        added = tokenizer.get_added_tokens_decoder()
        self._skipped = frozenset(token for token, one in added.items() if one.special)
        self._bytes = TokenBytes(tokenizer)
        self._chat = ChatTemplate(chat_template, self.special)

    @classmethod
    def from_folder(cls, folder: Path) -> "Tokenizer":
        """Read tokenizer.json and, where they are there, tokenizer_config.json, special_tokens_map.json and
        chat_template.jinja. Raises LoadError."""
        tokenizer = _read_tokenizer(folder / "tokenizer.json")
        config = _read_json(folder / "tokenizer_config.json")
        special = {
            name: text
            for source in (_read_json(folder / "special_tokens_map.json"), config)
            for name, value in source.items()
            if name.endswith("_token") and (text := _token_text(value)) is not None
        }
        return cls(tokenizer, chat_template=_chat_template(folder, config), special=special)

    @property
    def size(self) -> int:
        """Tokens it knows, special ones too. A model's vocabulary may be padded beyond it."""
        return self._tokenizer.get_vocab_size(with_added_tokens=True)

    def token_id(self, text: str) -> int | None:
        """The id of the token that is written so, None where there is none."""
        return self._tokenizer.token_to_id(text)

    def encode(self, text: str) -> list[int]:
        """The tokens of a prompt, with those that tokenizer.json puts around it. Raises InvalidInput.

        add_bos_token of tokenizer_config.json changes nothing, here as in transformers 5.
        """
        return self._encode(text, "prompt", add_special_tokens=True)

    def _encode(self, text: str, field: str, *, add_special_tokens: bool) -> list[int]:
        # Of a batch, also of one, the library works without Python's lock: a long text holds up no other thread.
        try:
            found = self._tokenizer.encode_batch_fast([text], add_special_tokens=add_special_tokens)
            return list(found[0].ids)
        except (TypeError, UnicodeEncodeError) as error:  # the library takes it for no text
            raise InvalidInput(f"{field} holds half a character (a lone surrogate)", field=field) from error

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of tokens; special ones, and those that it does not know, are left out.

        Bytes that are no UTF-8 become U+FFFD.
        """
        stream = self.stream()
        return "".join([stream.push(token) for token in tokens]) + stream.flush()

    def stream(self) -> TextStream:
        """The text of an answer that is about to begin."""
        if self._bytes.local:
            return _ByteStream(self._bytes, self._skipped)
        return _WholeStream(self._tokenizer, self._skipped)

    def token_text(self, token: int) -> str:
        """One token as people read it, also a special one; "" where it does not know it."""
        if token in self._skipped or not self._bytes.local:
            return self._tokenizer.id_to_token(token) or ""
        return (self._bytes.later(token) or b"").decode(errors="replace")

    def chat(self, messages: Sequence[Mapping[str, Any]]) -> list[int]:
        """The tokens of a conversation that waits for the assistant, by the model's chat template.

        Raises InvalidInput where it has none, or where the template refuses the messages.
        """
        return self._encode(self._chat.render(messages), "messages", add_special_tokens=False)


class _ByteStream:
    """Implements `modelapp.generating.TextStream` for decoders that work token by token."""

    __slots__ = ("_bytes", "_decode", "_skipped", "_table")

    def __init__(self, table: TokenBytes, skipped: Collection[int]) -> None:
        self._skipped = skipped
        self._table = table
        self._bytes = table.first
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode

    def push(self, token: int) -> str:
        """What the token adds: whole characters only."""
        if token in self._skipped:
            return ""
        data = self._bytes(token)
        if data is None:
            return ""
        self._bytes = self._table.later
        return self._decode(data)

    def flush(self) -> str:
        """U+FFFD for a character that stayed incomplete."""
        return self._decode(b"", True)


class _WholeStream:
    """The same for any other decoder: each token decodes all of them again, and what can no longer change is given."""

    __slots__ = ("_given", "_skipped", "_tokenizer", "_tokens")

    def __init__(self, tokenizer: "tokenizers.Tokenizer", skipped: Collection[int]) -> None:
        self._tokenizer = tokenizer
        self._skipped = skipped
        self._tokens: list[int] = []
        self._given = ""

    def push(self, token: int) -> str:
        """What the token adds, but for an incomplete character at the end."""
        if token in self._skipped:
            return ""
        self._tokens.append(token)
        text = self._tokenizer.decode(self._tokens).rstrip("\ufffd")
        if not text.startswith(self._given):  # not yet what it will be
            return ""
        new, self._given = text[len(self._given) :], text
        return new

    def flush(self) -> str:
        """What is left."""
        text = self._tokenizer.decode(self._tokens)
        new, self._given = text[len(self._given) :], text
        return new


def _read_tokenizer(path: Path) -> "tokenizers.Tokenizer":
    try:
        import tokenizers
    except ImportError as error:
        raise LoadError("a model of texts needs tokenizers", help="pip install 'modelapp[text]'") from error
    if not path.is_file():
        raise LoadError(
            f"{path} is missing: the model's folder holds no tokenizer",
            help="save it with the model: AutoTokenizer.from_pretrained(...).save_pretrained(FOLDER)",
        )
    try:
        return tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises Exception itself
        raise LoadError(f"{path} cannot be read as a tokenizer: {error}") from error


def _read_json(path: Path) -> dict[str, Any]:
    """A JSON object, {} where the file is missing."""
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_bytes())
    except ValueError as error:
        raise LoadError(f"{path} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise LoadError(f"{path} must hold an object")
    return value


def _token_text(value: Any) -> str | None:
    """A special token is written as its text, or as an object that holds it."""
    text = value.get("content") if isinstance(value, dict) else value
    return text if isinstance(text, str) else None


def _chat_template(folder: Path, config: Mapping[str, Any]) -> str:
    """The template in a file of its own, else the one in the settings; of several the one named default."""
    path = folder / "chat_template.jinja"
    if path.is_file():
        try:
            return path.read_text(encoding="utf-8")
        except ValueError as error:
            raise LoadError(f"{path} is not UTF-8: {error}") from error
    template = config.get("chat_template")
    if isinstance(template, list):
        named = {one.get("name"): one.get("template") for one in template if isinstance(one, dict)}
        template = named.get("default")
    return template if isinstance(template, str) else ""

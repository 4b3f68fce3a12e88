"""A text model by script: its tokens are bytes, and each next one is a digest of all before it.

So whatever is mixed up, lost or fed twice shows in the answer at once, and `expected` tells the answer to a prompt
beforehand.
"""

import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from modelapp.errors import InvalidInput, ModelDied, OutOfMemory
from modelapp.generating import Admitted, Capacity, Feed
from modelapp.nulloptions import RuntimeOptions
from modelapp.runtime import Placement
from modelapp.signature import Signature

END = 256
VOCABULARY = 257
CONTEXT_TOKENS = 4096
_LETTERS = b"abcdefghijklmnopqrstuvwxyz ,."

Wait: TypeAlias = Callable[[threading.Event, float | None], object]


class ScriptedStepError(Exception):
    """A failure that the options asked for."""


def next_token(tokens: Sequence[int]) -> int:
    """The likeliest token after these: a letter, or END for about one in a hundred."""
    digest = hashlib.blake2b(np.asarray(tokens, np.int32).tobytes(), digest_size=2).digest()
    number = int.from_bytes(digest, "big")
    return END if number % 100 == 0 else _LETTERS[number % len(_LETTERS)]


def expected(prompt: str, max_tokens: int) -> str:
    """What the model answers to a prompt when the likeliest token is always taken."""
    tokens = list(prompt.encode())
    answer = bytearray()
    while len(answer) < max_tokens and (token := next_token([*tokens, *answer])) != END:
        answer.append(token)
    return answer.decode()


class NullEngine:
    """Implements `modelapp.generating.Generates`. It keeps of a sequence what it was fed."""

    def __init__(self, options: RuntimeOptions, placement: Placement, *, wait: Wait = threading.Event.wait) -> None:
        context = placement.context_tokens or CONTEXT_TOKENS
        self._tokens_left = options.cache_tokens or placement.slots * context
        self.capacity = Capacity(
            slots=placement.slots,
            context_tokens=min(context, self._tokens_left),
            vocabulary=VOCABULARY,
            ends=frozenset({END}),
        )
        self.steps = 0
        self._options = options
        self._wait = wait
        self._rooms: dict[int, int] = {}
        self._fed: dict[int, list[int]] = {}

    @property
    def used_slots(self) -> int:
        """Sequences that were admitted and not released."""
        return len(self._rooms)

    def has_room(self, tokens: int) -> bool:
        """Whether there is a slot, and memory for so many tokens."""
        return len(self._rooms) < self.capacity.slots and tokens <= self._tokens_left

    def admit(self, prompt: Sequence[int], tokens: int) -> Admitted:
        """Give a slot. Raises OutOfMemory where there is none: the scheduler asks first."""
        if not self.has_room(tokens):
            raise OutOfMemory("there is no room for another sequence")
        slot = next(slot for slot in range(self.capacity.slots) if slot not in self._rooms)
        self._rooms[slot] = tokens
        self._tokens_left -= tokens
        self._fed[slot] = []
        return Admitted(slot, prompt)

    def step(self, feeds: Sequence[Feed]) -> NDArray[np.float32]:
        """Logits by digest. Raises ScriptedStepError and ModelDied as scripted."""
        self.steps += 1
        options, tokens = self._options, sum(len(feed.tokens) for feed in feeds)
        hangs = self.steps == options.hang_on_call or self._holds(feeds, options.hang_on)
        seconds = None if hangs else (options.delay_ms + options.delay_ms_per_row * tokens) / 1000
        if seconds != 0.0:
            self._wait(threading.Event(), seconds)
        if self._holds(feeds, options.dies_on):
            raise ModelDied(f"a token is {options.dies_on}, which is the end of the model as scripted")
        if self.steps == options.fail_on_call or self._holds(feeds, options.poison):
            raise ScriptedStepError(f"step {self.steps} fails as scripted")
        for feed in feeds:
            if len(self._fed[feed.slot]) + len(feed.tokens) > self._rooms[feed.slot]:
                raise OutOfMemory(f"slot {feed.slot} has room for {self._rooms[feed.slot]} tokens")
        for feed in feeds:
            self._fed[feed.slot] += feed.tokens
        wanted = [feed for feed in feeds if feed.wanted]
        logits = np.zeros((len(wanted), VOCABULARY), np.float32)
        for row, feed in enumerate(wanted):
            logits[row, next_token(self._fed[feed.slot])] = np.nan if self._nan(feed) else 10.0
        return logits

    def _nan(self, feed: Feed) -> bool:
        return self._options.nan_on is not None and self._options.nan_on in self._fed[feed.slot]

    def _holds(self, feeds: Sequence[Feed], marker: float | None) -> bool:
        return marker is not None and any(marker in feed.tokens for feed in feeds)

    def release(self, slot: int) -> None:
        """Take the slot back."""
        self._tokens_left += self._rooms.pop(slot)
        del self._fed[slot]


class ByteStream:
    """Implements `modelapp.generating.TextStream`."""

    def __init__(self) -> None:
        self._held = bytearray()

    def push(self, token: int) -> str:
        """The character that the byte completes, if it does."""
        if token < END:
            self._held.append(token)
        try:
            text = self._held.decode()
        except UnicodeDecodeError as error:
            if error.reason == "unexpected end of data":
                return ""
            text = self._held.decode(errors="replace")
        self._held.clear()
        return text

    def flush(self) -> str:
        """A character that was cut, as the mark of one."""
        text = self._held.decode(errors="replace")
        self._held.clear()
        return text


class ByteText:
    """Implements `modelapp.generating.Text`: a token is a byte."""

    def encode(self, text: str) -> list[int]:
        """The bytes."""
        return list(text.encode())

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of bytes."""
        stream = self.stream()
        return "".join([*map(stream.push, tokens), stream.flush()])

    def stream(self) -> ByteStream:
        """The text of an answer that is about to begin."""
        return ByteStream()

    def token_text(self, token: int) -> str:
        """A byte as people read it."""
        return "<end>" if token == END else bytes([token]).decode(errors="replace")

    def chat(self, messages: Sequence[Mapping[str, Any]]) -> list[int]:
        """ "role: content" in lines. Raises InvalidInput where a message lacks either."""
        for message in messages:
            if not isinstance(message.get("role"), str) or not isinstance(message.get("content"), str):
                raise InvalidInput("a message has a role and a content, both texts", field="messages")
        lines = [f"{message['role']}: {message['content']}\n" for message in messages]
        return self.encode("".join([*lines, "assistant: "]))


class NullTextModel:
    """Implements `modelapp.generating.TextModel`."""

    device = "cpu"
    signature = Signature(kind="records")

    def __init__(self, options: RuntimeOptions, placement: Placement, *, wait: Wait = threading.Event.wait) -> None:
        self.engine = NullEngine(options, placement, wait=wait)
        self.text = ByteText()
        self.closed = False

    def close(self) -> None:
        """There is nothing to give back."""
        self.closed = True

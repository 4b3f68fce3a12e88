"""The contract of models that answer token by token.

A runtime whose model generates hands back a `TextModel`. Its engine knows sequences, tokens and memory; who waits, who
joins a step and who leaves, sampling, stop texts and streams are the core's.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import attrs

from modelapp.signature import Signature

if TYPE_CHECKING:  # as in `modelapp.runtime`
    import numpy as np
    from numpy.typing import NDArray


@attrs.frozen(kw_only=True)
class Capacity:
    """What an engine can hold. `ends` are the tokens by which the model says that it has finished."""

    slots: int
    """Sequences at the same time."""
    context_tokens: int
    """Tokens of one sequence, prompt and answer together."""
    vocabulary: int
    """Tokens are 0 to `vocabulary` - 1."""
    ends: frozenset[int] = frozenset()
    source_tokens: int = 0
    """Encoder-decoder models: the most tokens of a prompt, which the encoder reads; 0: the answer goes on from it."""


class Admitted(NamedTuple):
    """A sequence that has its slot; `feed` is what `step` must be fed before the first token can be chosen.

    That is the prompt without what the engine knows already, and at least one token. An encoder-decoder model has read
    the prompt by then, and is fed its start token.
    """

    slot: int
    feed: Sequence[int]


class Feed(NamedTuple):
    """The next tokens of one slot, in order; `wanted`: whether the step answers what may come after the last one."""

    slot: int
    tokens: Sequence[int]
    wanted: bool = True


class Generates(Protocol):
    """An engine. Called from one thread at a time."""

    @property
    def capacity(self) -> Capacity:
        """What it can hold; fixed from the load on."""
        ...

    def has_room(self, tokens: int) -> bool:
        """Whether a sequence of so many tokens, prompt and answer together, can be admitted now.

        False promises that releasing others helps; a sequence that fits `capacity` fits an empty engine.
        """
        ...

    def admit(self, prompt: Sequence[int], tokens: int) -> Admitted:
        """Give a sequence a slot, and memory for `tokens` in all. Raises RequestError where there is no room."""
        ...

    def step(self, feeds: Sequence[Feed]) -> "NDArray[np.float32]":
        """Run the model once over all feeds: logits [wanted feeds, vocabulary], in their order, the caller's to keep.

        Where it raises no slot has moved on, so that the same tokens may be fed again. Raises OutOfMemory, ModelDied.
        """
        ...

    def release(self, slot: int) -> None:
        """The sequence is over; its slot and memory are free. What it knew may serve a later prompt."""
        ...


class TextStream(Protocol):
    """The text of one sequence, as its tokens come."""

    def push(self, token: int) -> str:
        """What the token adds: whole characters only, "" while one is incomplete."""
        ...

    def flush(self) -> str:
        """What is left at the end."""
        ...


class Text(Protocol):
    """A tokenizer. Safe to call from several threads."""

    def encode(self, text: str) -> list[int]:
        """The tokens of a prompt, with those that the model wants at its beginning."""
        ...

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of tokens; special ones are left out."""
        ...

    def stream(self) -> TextStream:
        """The text of an answer that is about to begin."""
        ...

    def token_text(self, token: int) -> str:
        """One token as people read it, also a special one."""
        ...

    def chat(self, messages: Sequence[Mapping[str, Any]]) -> list[int]:
        """The tokens of a conversation that waits for the assistant, by the model's chat template.

        Raises InvalidInput where it has none, or where the template refuses the messages.
        """
        ...


@runtime_checkable
class TextModel(Protocol):
    """A loaded model that generates. Its signature's kind is "records"; it has no `infer`."""

    @property
    def signature(self) -> Signature:
        """Kind "records": what goes in and comes out is told by its task."""
        ...

    @property
    def device(self) -> str:
        """The device in use, compared with the one that was asked for."""
        ...

    @property
    def engine(self) -> Generates:
        """Runs it."""
        ...

    @property
    def text(self) -> Text:
        """Its tokenizer."""
        ...

    def close(self) -> None:
        """Give memory back; called once, after the last step has ended."""
        ...


@attrs.frozen
class Piece:
    """A part of a streamed answer. The last one is `final`: its record is the whole answer, as without streaming."""

    record: Mapping[str, Any]
    final: bool = False


def join_pieces(pieces: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The whole answer that pieces make: texts of one key are put together, of all else the last one counts."""
    whole: dict[str, Any] = {}
    texts: dict[str, list[str]] = {}
    for piece in pieces:
        for key, value in piece.items():
            if isinstance(value, str):
                texts.setdefault(key, []).append(value)
            else:
                texts.pop(key, None)
            whole[key] = value
    return whole | {key: "".join(parts) for key, parts in texts.items()}

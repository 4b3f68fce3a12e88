"""One sequence on its way: waiting, read into the model, written token by token, over."""

from collections import deque
from collections.abc import Collection, Sequence
from itertools import islice
from typing import Any, Literal, TypeAlias

import attrs

from modelapp.batching import Part, Work
from modelapp.generating import Feed, Text
from modelapp.prompts import GenerationRequest
from modelapp.sampling import Chosen, Sampler
from modelapp.stopping import Answer

FinishReason: TypeAlias = Literal["stop", "length"]


@attrs.frozen
class Fragment:
    """What a step added to an answer: text that may be shown, and the tokens it came with, once they make any."""

    text: str
    chosen: Sequence[Chosen]
    finish_reason: FinishReason | None = None


class Decoding(Work):
    """One of the answers to a request. As a work of the queue it is one row."""

    __slots__ = (
        "_answer", "_ends", "_sampler", "_shown", "chosen", "finish_reason", "index", "last_s", "pending",
        "request", "room", "slot", "started_s", "texts", "ticket",
    )  # fmt: skip

    def __init__(
        self,
        request: GenerationRequest,
        index: int,
        *,
        text: Text,
        ends: Collection[int],
        room: int,
        seed: int,
        level: int = 1,
        arrived_s: float = 0.0,
        deadline_s: float | None = None,
        call: Any = None,
        ticket: Any = None,
    ) -> None:
        super().__init__(Part(None, 1), level=level, arrived_s=arrived_s, deadline_s=deadline_s, call=call)
        self.request = request
        self.index = index
        self.room = room
        """Tokens that the engine must have memory for."""
        self.ticket = ticket
        self.slot: int | None = None
        self.pending: deque[int] = deque()
        """Tokens that the engine has not been fed yet."""
        self.chosen: list[Chosen] = []
        self.texts: list[str] = []
        self.finish_reason: FinishReason | None = None
        self.started_s = self.last_s = 0.0
        """When it got its slot, and its last token."""
        self._ends = frozenset() if request.ignore_end else frozenset(ends)
        never = self._ends | request.stop_tokens  # before min_tokens
        self._sampler = Sampler(request.sampling, seed=seed, prompt=request.prompt, ends=never)
        self._answer = Answer(text.stream(), request.stop, min_tokens=request.sampling.min_tokens)
        self._shown = 0

    @property
    def reading(self) -> bool:
        """Whether the model still reads what was given to it: more than the one token chosen last is to be fed."""
        return not self.chosen

    def feed(self, slot: int, tokens: int) -> Feed:
        """The next so many tokens for the engine; `pending` keeps them until `fed`."""
        if tokens == len(self.pending):
            return Feed(slot, tuple(self.pending), wanted=True)
        return Feed(slot, tuple(islice(self.pending, tokens)), wanted=False)

    def fed(self, tokens: int) -> None:
        """The engine has taken so many."""
        for _ in range(tokens):
            self.pending.popleft()

    def choose(self, logits: Any) -> Chosen:
        """The next token, by the request's own dice. Raises ModelFailed where `logits` holds no number."""
        return self._sampler.choose(logits)

    def accept(self, chosen: Chosen, now_s: float) -> Fragment | None:
        """Go on with a token; what may be shown by now, if anything. `finish_reason` is set where it was the last."""
        self.last_s = now_s
        token = chosen.token
        if token in self._ends or token in self.request.stop_tokens:
            self.finish_reason = "stop"
            return self._fragment(self._answer.finish())
        self.chosen.append(chosen)
        self.pending.append(token)
        text = self._answer.push(token)
        if self._answer.stopped:
            self.finish_reason = "stop"
        elif len(self.chosen) >= self.request.max_tokens:
            self.finish_reason = "length"
            text += self._answer.finish()
            if self._answer.stopped:
                self.finish_reason = "stop"
        return self._fragment(text) if text or self.finish_reason else None

    def _fragment(self, text: str) -> Fragment:
        shown, self._shown = self._shown, len(self.chosen)
        self.texts.append(text)
        return Fragment(text, self.chosen[shown:], self.finish_reason)

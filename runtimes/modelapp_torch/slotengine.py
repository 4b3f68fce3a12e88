"""What the engines of transformers models share: slots with memory, and steps that happen whole or not at all."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import attrs
import torch

from modelapp.errors import OutOfMemory, is_out_of_memory
from modelapp.generating import Admitted, Capacity, Feed
from modelapp.runtime import Placement, Run
from modelapp.slots import SlotTable
from modelapp_torch.failures import run_failure
from modelapp_torch.modelfolder import ModelFolder
from modelapp_torch.packedlinear import can_pack, pack
from modelapp_torch.placing import keep_to
from modelapp_torch.pretrained import Pretrained
from modelapp_torch.slotattention import LayerShape, Memory, Turn

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@attrs.frozen(kw_only=True)
class Grounds:
    """What an engine stands on. `shapes` are those of the layers in the order in which they ask for attention."""

    model: Any
    shapes: Sequence[LayerShape]
    device: torch.device
    dtype: torch.dtype
    threads: int


@attrs.frozen(kw_only=True)
class Opening:
    """A loaded model on its way to an engine. `pack`: whether its layers may be given weights of this process's own."""

    folder: ModelFolder
    loaded: Pretrained
    placement: Placement
    threads: int
    pack: bool

    @property
    def model(self) -> Any:
        """The model."""
        return self.loaded.model

    @property
    def device(self) -> torch.device:
        """Where it lies."""
        return self.loaded.device

    def prepare(self) -> None:
        """Make it fast, once what it says as it is has been asked."""
        if self.pack and can_pack(self.model, self.device):
            pack(self.model, self.placement.slots)

    def grounds(self, shapes: Sequence[LayerShape]) -> Grounds:
        """What an engine over it stands on."""
        model = self.model
        return Grounds(model=model, shapes=shapes, device=self.device, dtype=model.dtype, threads=self.threads)


class SlotEngine:
    """Implements `modelapp.generating.Generates`, but for `_run`; `table` says who has which memory."""

    def __init__(self, grounds: Grounds, capacity: Capacity, table: SlotTable) -> None:
        self._grounds = grounds
        self._capacity = capacity
        self._table = table
        self._memories: dict[int, Memory] = {}
        self._shapes = [shape for shape in grounds.shapes if not shape.crossed]

    @property
    def capacity(self) -> Capacity:
        """What it can hold."""
        return self._capacity

    def has_room(self, tokens: int) -> bool:
        """Whether a sequence of so many tokens can be admitted."""
        return self._table.has_room(tokens)

    def admit(self, prompt: Sequence[int], tokens: int) -> Admitted:
        """Give it a slot; what is known of its prompt already is copied, not read. Raises RequestError."""
        place = self._table.admit(prompt, tokens)
        self._forget(place.dropped)
        grounds = self._grounds
        try:
            with torch.inference_mode():
                memory = Memory(self._shapes, tokens, grounds.dtype, grounds.device)
                if place.source is not None:
                    memory.copy(self._memories[place.source], place.known)
        except Exception as error:
            self._table.release(place.slot, keep=False)
            raise self._failure(error, 1) from error
        self._memories[place.slot] = memory
        return Admitted(place.slot, list(prompt[place.known :]))

    def step(self, feeds: Sequence[Feed]) -> "NDArray[np.float32]":
        """One pass over all feeds; slots move on when it has succeeded. Raises OutOfMemory, ModelDied."""
        turns = [self._turn(feed) for feed in feeds]
        keep_to(self._grounds.threads)
        try:
            with torch.inference_mode():
                logits = self._run(feeds, turns).float().cpu().numpy()
        except Exception as error:
            raise self._failure(error, len(feeds)) from error
        for feed in feeds:
            self._table.feed(feed.slot, feed.tokens)
        return logits

    def release(self, slot: int) -> None:
        """The sequence is over."""
        self._forget(self._table.release(slot))

    def forget(self) -> None:
        """Give up what is kept of earlier sequences."""
        self._forget(self._table.forget())

    def _run(self, feeds: Sequence[Feed], turns: Sequence[Turn]) -> torch.Tensor:
        """Logits [wanted feeds, vocabulary]."""
        raise NotImplementedError

    def _turn(self, feed: Feed) -> Turn:
        before, room = self._table.length(feed.slot), self._table.room(feed.slot)
        if not feed.tokens or before + len(feed.tokens) > room:
            raise OutOfMemory(f"slot {feed.slot} knows {before} of {room} tokens, and is fed {len(feed.tokens)}")
        return Turn(self._memories[feed.slot], before, len(feed.tokens))

    def _forget(self, holdings: Sequence[int]) -> None:
        for one in holdings:
            del self._memories[one]

    def _failure(self, error: Exception, rows: int) -> Exception:
        """What to raise for `error`; where memory is short, what was kept of earlier sequences is given up."""
        if is_out_of_memory(error):
            self.forget()
        return run_failure(error, Run(rows=rows)) or error


def packed(feeds: Sequence[Feed], turns: Sequence[Turn], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """The tokens of all feeds one after the other, and the place of each in its own sequence: both [1, tokens]."""
    tokens = [token for feed in feeds for token in feed.tokens]
    places = [place for turn in turns for place in range(turn.before, turn.total)]
    both = torch.tensor([tokens, places], device=device)
    return both[:1], both[1:]


def wanted_rows(feeds: Sequence[Feed], turns: Sequence[Turn], device: torch.device) -> torch.Tensor:
    """Which rows of a pass are the last of a feed whose logits are wanted."""
    rows, at = [], 0
    for feed, turn in zip(feeds, turns, strict=True):
        at += turn.count
        if feed.wanted:
            rows.append(at - 1)
    return torch.tensor(rows, dtype=torch.long, device=device)

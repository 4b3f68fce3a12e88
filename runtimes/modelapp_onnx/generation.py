"""Text generation on ONNX Runtime: an exported decoder behind the contract of models that generate."""

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
import onnxruntime  # type: ignore[import-untyped]  # the library ships no types
from numpy.typing import NDArray

from modelapp.errors import LoadError, OutOfMemory
from modelapp.generating import Admitted, Capacity, Feed, Text
from modelapp.runtime import Artefact, Placement, Run
from modelapp.signature import Signature
from modelapp.slots import SlotTable
from modelapp.tokenizer import Tokenizer
from modelapp_onnx import Options
from modelapp_onnx.caches import Caches
from modelapp_onnx.envelope import SHRINK, Envelope
from modelapp_onnx.failures import main_file, run_failure
from modelapp_onnx.flatruns import FlatRun, RowFeed, flat_runs, idle_chunk
from modelapp_onnx.generationfacts import GenerationFacts, facts_of
from modelapp_onnx.session import open_session

_MODEL = "model.onnx"
_NOT_HERE = ("batching", "optional_inputs")
"""Options that a model of steps has no use for."""
_BYTES_PER_MB = 1_000_000


class OnnxTextModel:
    """A loaded model that generates."""

    def __init__(self, engine: "OnnxEngine", text: Text) -> None:
        self.signature = Signature(kind="records", notes=engine.notes)
        self.device = "cpu"
        self.engine = engine
        self.text = text

    def close(self) -> None:
        """Free session and caches; the last step must have ended."""
        self.engine.close()


class OnnxEngine:
    """Implements `modelapp.generating.Generates`.

    Rows of the cache: those of sequences in progress first, since each step reads a range of them; then those that are
    kept for later prompts; then one that nobody owns, for groups of the graph that have nothing to do.
    """

    def __init__(
        self, session: Any, facts: GenerationFacts, capacity: Capacity, *, tokens: int, parked: int, shrinks: bool
    ) -> None:
        self.capacity = capacity
        self.notes: tuple[str, ...] = ()
        """For whoever starts the app."""
        self._session = session
        self._facts = facts
        self._table = SlotTable(capacity.slots, tokens, parked=parked)
        rows = capacity.slots + parked + 1
        self._spare = rows - 1
        # One place more than a sequence can have tokens: rows without a token in a run are written to behind them.
        self._caches = Caches(facts, rows=rows, capacity=capacity.context_tokens + 1)
        self._row: dict[int, int] = {}
        """Of each holding of the table."""
        self._known = np.zeros(rows, np.int32)
        """Tokens of each row that is in use."""
        self._free = set(range(capacity.slots))
        self._free_parked = set(range(capacity.slots, self._spare))
        self._envelope = Envelope() if shrinks else None
        self._binding: Any = session.io_binding()
        self._bound: dict[str, tuple[int, int]] = {}
        self._idle_values: dict[str, Any] = {}
        """What is bound to groups that have nothing to do: the library does not keep it alive."""
        for at in range(facts.chunks):
            self._idle(f"chunk{at}")

    def has_room(self, tokens: int) -> bool:
        """Whether there is a slot, and memory for so many tokens; what is kept for later prompts gives way."""
        return self._table.has_room(tokens)

    def admit(self, prompt: Sequence[int], tokens: int) -> Admitted:
        """Give a row. Raises OutOfMemory where there is no room."""
        if tokens > self.capacity.context_tokens:
            raise OutOfMemory(f"a sequence of {tokens} tokens is longer than {self.capacity.context_tokens}")
        place = self._table.admit(prompt, tokens)
        self._forget(place.dropped)
        row = min(self._free)
        self._free.remove(row)
        self._row[place.slot] = row
        self._known[row] = place.known
        if place.source is not None:
            self._caches.copy(self._row[place.source], row, place.known)
        return Admitted(place.slot, prompt[place.known :])

    def step(self, feeds: Sequence[Feed]) -> NDArray[np.float32]:
        """Run the graph over all feeds; see `Generates.step`. Raises OutOfMemory and ModelFailed."""
        runs = flat_runs(self._rows(feeds), self._known, chunks=self._facts.chunks, spare=self._spare)
        logits = np.empty((sum(feed.wanted for feed in feeds), self.capacity.vocabulary), np.float32)
        for run in runs:
            if len(runs) == 1:
                self._run(run, logits)
            else:
                part = np.empty((len(run.answers), self.capacity.vocabulary), np.float32)
                self._run(run, part)
                logits[run.answers] = part
        for feed in feeds:
            self._table.feed(feed.slot, feed.tokens)
            self._known[self._row[feed.slot]] += len(feed.tokens)
        return logits

    def release(self, slot: int) -> None:
        """The sequence is over; what it knew is kept where the memory allows it."""
        dropped = self._table.release(slot)
        self._forget(dropped)
        if slot not in dropped:
            self._park(slot)

    def close(self) -> None:
        """Free the session and the caches."""
        del self._binding, self._session, self._caches  # nothing is called any more

    def _rows(self, feeds: Sequence[Feed]) -> list[RowFeed]:
        """The feeds by row. Raises OutOfMemory: the graph itself would write beyond a row's end."""
        made, answers = [], 0
        for feed in feeds:
            known = self._table.length(feed.slot)
            if known + len(feed.tokens) > self._table.room(feed.slot):
                raise OutOfMemory(
                    f"slot {feed.slot} has memory for {self._table.room(feed.slot)} tokens, and was fed more"
                )
            made.append(RowFeed(self._row[feed.slot], known, feed.tokens, answers if feed.wanted else None))
            answers += feed.wanted
        return made

    def _run(self, run: FlatRun, logits: NDArray[np.float32]) -> None:
        for name in [name for name in self._bound if name not in run.bound and self._bound[name][0] != self._spare]:
            self._idle(name)
        for name, rows in run.bound.items():
            self._bind_rows(name, rows)
        kept = [self._bind(name, array) for name, array in run.arrays.items()]
        self._binding.bind_ortvalue_output("logits", onnxruntime.OrtValue.ortvalue_from_numpy(logits))
        options = onnxruntime.RunOptions()
        if self._envelope is not None and self._envelope.is_outsize(run.arrays):
            options.add_run_config_entry(*SHRINK)
        try:
            self._session.run_with_iobinding(self._binding, options)
        except Exception as error:
            raise run_failure(error, Run(len(run.arrays["tokens"]))) from error
        finally:
            del kept

    def _bind(self, name: str, array: Any) -> Any:
        value = onnxruntime.OrtValue.ortvalue_from_numpy(array)
        self._binding.bind_ortvalue_input(name, value)
        return value

    def _bind_rows(self, name: str, rows: tuple[int, int]) -> None:
        """Let a group of the graph work on these rows, in place."""
        if self._bound.get(name) == rows:
            return
        for layer, pair in enumerate(self._caches.view(*rows)):
            for what, value in zip(("keys", "values"), pair, strict=True):
                self._binding.bind_ortvalue_input(f"{name}_{what}_{layer}", value)
                self._binding.bind_ortvalue_output(f"{name}_{what}_{layer}_out", value)
        self._bound[name] = rows

    def _idle(self, name: str) -> None:
        self._bind_rows(name, (self._spare, self._spare + 1))
        self._idle_values[name] = [(array, self._bind(part, array)) for part, array in idle_chunk(name).items()]

    def _park(self, slot: int) -> None:
        """Move what a sequence knew out of the range that steps read."""
        source, target = self._row[slot], self._free_parked.pop()
        self._caches.copy(source, target, int(self._known[source]))
        self._vacate(source)
        self._row[slot] = target

    def _forget(self, holdings: Sequence[int]) -> None:
        for holding in holdings:
            self._vacate(self._row.pop(holding))

    def _vacate(self, row: int) -> None:
        self._caches.free(row)
        self._known[row] = 0
        (self._free if row < self.capacity.slots else self._free_parked).add(row)


def load_generating(artefact: Artefact, options: Options, placement: Placement) -> OnnxTextModel:
    """Open an exported folder, or the model.onnx in it. Raises LoadError, naming file and fix."""
    for key in _NOT_HERE:
        if getattr(options, key) != getattr(Options(), key):
            raise LoadError(
                f"models.{artefact.name}.onnx.{key} has no effect on a model that generates",
                model=artefact.name,
                help=f"leave {key} out of [models.{artefact.name}.onnx]",
            )
    source = main_file(artefact, _MODEL)
    engine, _ = engine_of(attrs.evolve(artefact, source=source), options, placement)
    return OnnxTextModel(engine, Tokenizer.from_folder(source.parent))


def engine_of(artefact: Artefact, options: Options, placement: Placement) -> tuple[OnnxEngine, GenerationFacts]:
    """The engine of an exported file, without a tokenizer, and what the file says of itself. Raises LoadError."""
    opened = open_session(artefact, options, placement)
    if not opened.on_cpu:
        raise LoadError(
            f"models.{artefact.name}: the onnx runtime generates on the CPU only, not with {opened.providers[0]}",
            model=artefact.name,
            help='device = "cpu", or runtime = "torch" with the model\'s own folder',
        )
    facts = facts_of(opened.session, artefact)
    capacity, tokens = _capacity(facts, artefact, placement)
    parked = placement.slots if placement.reuse_prefixes else 0
    engine = OnnxEngine(opened.session, facts, capacity, tokens=tokens, parked=parked, shrinks=options.arena_shrinkage)
    engine.notes = opened.notes
    return engine, facts


def _capacity(facts: GenerationFacts, artefact: Artefact, placement: Placement) -> tuple[Capacity, int]:
    """What the caches can hold: a sequence's bound, and the tokens of all together. Raises LoadError."""
    tokens = placement.cache_mb * _BYTES_PER_MB // facts.token_bytes
    asked, own = placement.context_tokens, facts.context_tokens
    table = f"models.{artefact.name}.generation"
    if asked and own and asked > own:
        raise LoadError(
            f"{table}.context_tokens is {asked}, and {artefact.source} knows {own} positions",
            model=artefact.name,
            help=f"context_tokens = {own}",
        )
    if asked > tokens or tokens < 2:
        needed = -(-max(asked, 2) * facts.token_bytes // _BYTES_PER_MB)
        raise LoadError(
            f"{table}.cache_mb is {placement.cache_mb}, which holds {tokens} tokens of {artefact.source}",
            model=artefact.name,
            help=f"cache_mb = {needed}, or a smaller context_tokens",
        )
    context = min(asked or own or tokens, tokens)
    return Capacity(slots=placement.slots, context_tokens=context, vocabulary=facts.vocabulary, ends=facts.ends), tokens

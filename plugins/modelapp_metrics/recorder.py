"""The observer that counts: it notes each request and each run in a tuple, and folds many of them at once."""

import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from time import monotonic

from modelapp.call import Call
from modelapp.observing import ModelRun
from modelapp.service import Host
from modelapp_metrics.ledger import REQUEST_NUMBERS, RUN_NUMBERS, TOKEN_NUMBERS, Ledger, RawKey
from modelapp_metrics.tally import MOST_EVENTS

KEPT_S = 600.0
"""How long a release that is served no more is still told of, so that its last requests are scraped."""
_NAN = float("nan")
_Note = tuple[str, RawKey, bytes]
"""A release, what happened in it, and the numbers of it: few objects, none of which is the request's."""
_pack_request = struct.Struct(f"{len(REQUEST_NUMBERS)}d").pack
_pack_run = struct.Struct(f"{len(RUN_NUMBERS)}d").pack
_pack_token = struct.Struct(f"{len(TOKEN_NUMBERS)}d").pack


class Recorder:
    """Counts what a replica does. Implements `modelapp.observing.Observer`.

    Noting happens on the replica's loop, folding there or on a thread that reads. `clock` tells seconds.
    """

    def __init__(self, host: Host, *, clock: Callable[[], float] = monotonic) -> None:
        self.host = host
        self._clock = clock
        self._requests: list[_Note] = []
        self._runs: list[_Note] = []
        self._tokens: list[_Note] = []
        self._ledgers: dict[str, Ledger] = {}
        self._lock = threading.Lock()

    def request_ended(self, call: Call) -> None:
        """Note a request."""
        notes, arrived_s, first_s = self._requests, call.arrived_s, call.first_s
        queue_ms = call.timings_ms.get("queue")
        notes.append((
            call.release,
            (call.endpoint, call.model or call.arm, call.protocol, call.outcome, call.token, call.status),
            _pack_request(
                call.ended_s - arrived_s,
                queue_ms / 1000 if queue_ms is not None else _NAN,
                first_s - arrived_s if first_s else _NAN,
                call.bytes_in,
                call.bytes_out,
                call.rows,
                call.device_s,
                call.cpu_s,
            ),
        ))  # fmt: skip
        if len(notes) >= MOST_EVENTS:
            self._fold_soon()

    def run_ended(self, run: ModelRun) -> None:
        """Note a run of a model."""
        notes, calls = self._runs, run.calls
        notes.append((
            calls[0].release if calls else "",
            (run.model, run.device, run.outcome),
            _pack_run(
                run.ended_s - run.started_s, run.held_s, run.infer_s, run.cpu_s, run.rows, run.cost, run.extra_runs
            ),
        ))  # fmt: skip
        if run.step:
            self._note_tokens(run)
        if len(notes) >= MOST_EVENTS or len(self._tokens) >= MOST_EVENTS:
            self._fold_soon()

    def _note_tokens(self, run: ModelRun) -> None:
        """Note what a step read, and each token that came of it."""
        release, key, notes = run.calls[0].release if run.calls else "", (run.model,), self._tokens
        if run.tokens_in:
            notes.append((release, key, _pack_token(run.tokens_in, 0, _NAN, _NAN)))
        for first_s in run.firsts_s:
            notes.append((release, key, _pack_token(0, 1, first_s, _NAN)))
        for gap_s in run.gaps_s:
            notes.append((release, key, _pack_token(0, 1, _NAN, gap_s)))

    def close(self) -> None:
        """Nothing is written anywhere: whoever scrapes has what it scraped."""

    @contextmanager
    def reading(self) -> Iterator[Mapping[str, Ledger]]:
        """Everything noted so far, by release, which nobody changes meanwhile."""
        with self._lock:
            self._fold()
            self._turn()
            yield self._ledgers

    def _fold_soon(self) -> None:
        # The loop waits for nobody: who reads holds the lock for milliseconds, and then it is another one's turn.
        if self._lock.acquire(blocking=False):
            try:
                self._fold()
            finally:
                self._lock.release()

    def _fold(self) -> None:
        for release, keys, numbers in _taken(self._requests):
            self._ledger(release).add_requests(keys, numbers)
        for release, keys, numbers in _taken(self._runs):
            self._ledger(release).add_runs(keys, numbers)
        for release, keys, numbers in _taken(self._tokens):
            self._ledger(release).add_tokens(keys, numbers)

    def _turn(self) -> None:
        """Begin with what is served now, and forget what was replaced long ago."""
        now_s, served = self._clock(), self.host.service.release
        self._ledger(served)
        for release, ledger in list(self._ledgers.items()):
            if release == served:
                ledger.retired_s = None
            elif ledger.retired_s is None:
                ledger.retired_s = now_s
            elif now_s - ledger.retired_s > KEPT_S:
                del self._ledgers[release]

    def _ledger(self, release: str) -> Ledger:
        """The counts of a release; those of the one that is served where none is named."""
        service = self.host.service
        name = release or service.release
        ledger = self._ledgers.get(name)
        if ledger is None:
            ledger = self._ledgers[name] = Ledger(service.app)
        return ledger


def _taken(notes: list[_Note]) -> Iterator[tuple[str, list[RawKey], bytes]]:
    """Take what is noted so far, by release and as much at once as may be counted.

    Another thread may go on noting: each of the two steps that take is one to it.
    """
    while some := notes[:MOST_EVENTS]:
        del notes[: len(some)]
        for release in {note[0] for note in some}:
            own = [note for note in some if note[0] == release]
            yield release, [note[1] for note in own], b"".join([note[2] for note in own])

"""The null runtime: answers its input, times a scale plus an offset, and fails as its options script it."""

import os
import signal
import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import attrs
import numpy as np
from numpy.typing import NDArray

from modelapp.errors import Cancelled, LoadError, ModelDied
from modelapp.generating import TextModel
from modelapp.nulloptions import RuntimeOptions
from modelapp.nulltext import NullTextModel
from modelapp.runtime import Arrays, Artefact, LoadedModel, Placement, Records, Rows, Run
from modelapp.signature import Signature, read_tensor
from modelapp.tasks import TASKS

Wait: TypeAlias = Callable[[threading.Event, float | None], object]
"""Waits until the event is set or the seconds (None: for ever) are over; a test passes one that moves its own clock."""


class ScriptedFailureError(Exception):
    """A failure that the options asked for."""


def signature_of(options: RuntimeOptions) -> Signature:
    """What the options declare. Raises LoadError."""
    if options.kind == "records":
        return Signature(kind="records", batched=options.batched)
    tensors = tuple(read_tensor(name, text) for name, text in options.inputs.items())
    for spec in tensors:
        if options.batched and not spec.shape:
            raise LoadError(f'input "{spec.name}" has no axis to count rows', help="add one, or write batched = false")
    return Signature(inputs=tensors, outputs=tensors, batched=options.batched)


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class NullModel:
    """One scripted model. It keeps no state but the number of its calls."""

    device = "cpu"

    def __init__(
        self, options: RuntimeOptions, *, wait: Wait = threading.Event.wait, crash: Callable[[], None] = _kill
    ) -> None:
        self.signature = signature_of(options)
        self.calls = 0
        self.closed = False
        self._options = options
        self._wait = wait
        self._crash = crash
        self._lock = threading.Lock()

    def infer(self, rows: Any, run: Run) -> Rows:
        """Answer as scripted. Raises ScriptedFailureError, ModelDied, and Cancelled when the run is cancelled."""
        with self._lock:
            self.calls += 1
            call = self.calls
        if call == self._options.crash_on_call:
            self._crash()
        self._take_time(call, run, rows)
        if self._hold(rows, self._options.dies_on):
            raise ModelDied(f"a row holds {self._options.dies_on}, which is the end of it as scripted")
        if call == self._options.fail_on_call:
            raise ScriptedFailureError(f"call {call} fails as scripted")
        if self.signature.kind == "records":
            return self._answer_records(rows)
        return self._answer_arrays(rows)

    def close(self) -> None:
        """There is nothing to give back."""
        self.closed = True

    def _hold(self, rows: Any, marker: float | None) -> bool:
        """Whether any row holds `marker`."""
        if marker is None:
            return False
        if self.signature.kind == "records":
            return any(_holds(row, marker) for row in rows)
        return any(_rows_holding(array, marker).any() for array in rows.values())

    def _take_time(self, call: int, run: Run, rows: Any) -> None:
        seconds: float | None = (self._options.delay_ms + self._options.delay_ms_per_row * run.rows) / 1000
        if call == self._options.hang_on_call or self._hold(rows, self._options.hang_on):
            seconds = None
        if seconds == 0.0:
            return
        stop = threading.Event()
        run.on_cancel(stop.set)
        self._wait(stop, seconds)
        if run.cancelled:
            raise Cancelled(f"call {call} was cancelled")

    def _answer_arrays(self, arrays: Arrays) -> Arrays:
        for name, array in arrays.items():
            self._refuse_poison([bool(held) for held in _rows_holding(array, self._options.poison)], name)
        return {name: self._answer_array(array) for name, array in arrays.items()}

    def _answer_array(self, array: NDArray[Any]) -> NDArray[Any]:
        options = self._options
        answer = array
        if array.dtype.kind in "iuf":
            answer = (array * options.scale + options.offset).astype(array.dtype)
        if array.dtype.kind == "f":
            answer[_rows_holding(array, options.nan_on)] = np.nan
        if options.wrong_dtype:
            answer = np.zeros(answer.shape, np.float32 if answer.dtype == np.float64 else np.float64)
        if options.extra_rows > 0:
            return np.concatenate([answer, np.repeat(answer[:1], options.extra_rows, axis=0)])
        return answer[: len(answer) + options.extra_rows] if options.extra_rows else answer

    def _answer_records(self, rows: Records) -> Records:
        options = self._options
        self._refuse_poison([_holds(row, options.poison) for row in rows], "record")
        answers = [
            {name: float("nan") if _holds(row, options.nan_on) else self._affine(value) for name, value in row.items()}
            for row in rows
        ]
        if options.extra_rows > 0:
            return answers + answers[:1] * options.extra_rows
        return answers[: len(answers) + options.extra_rows] if options.extra_rows else answers

    def _affine(self, value: Any) -> Any:
        if self._options.wrong_dtype:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            return value
        answer = value * self._options.scale + self._options.offset
        return type(value)(answer) if answer == int(answer) else answer

    def _refuse_poison(self, held: list[bool], name: str) -> None:
        if any(held):
            raise ScriptedFailureError(f'row {held.index(True)} of "{name}" holds the poison {self._options.poison}')


def _rows_holding(array: NDArray[Any], marker: float | None) -> NDArray[np.bool_]:
    """Which rows of `array` hold `marker` anywhere."""
    if marker is None or array.ndim == 0:
        return np.zeros(array.shape[:1], bool)
    return np.asarray(np.asarray(array == marker).reshape(len(array), -1).any(axis=1))


def _holds(row: Mapping[str, Any], marker: float | None) -> bool:
    return marker is not None and any(value == marker for value in row.values() if isinstance(value, int | float))


class NullRuntime:
    """Opens scripted models; it reads no file, so `source` may be any."""

    def __init__(self, *, wait: Wait = threading.Event.wait) -> None:
        self._wait = wait

    def describe(self, artefact: Artefact, options: RuntimeOptions) -> Signature:
        """What the options declare."""
        return Signature(kind="records") if artefact.task else signature_of(options)

    def load(self, artefact: Artefact, options: RuntimeOptions, placement: Placement) -> LoadedModel | TextModel:
        """A scripted model, after the scripted time. Raises LoadError where one is scripted."""
        if options.load_delay_ms:
            self._wait(threading.Event(), options.load_delay_ms / 1000)
        if options.load_error:
            raise LoadError(options.load_error, model=artefact.name)
        if artefact.task and TASKS[artefact.task].generates:
            return NullTextModel(options, placement, wait=self._wait)
        kind = "records" if artefact.task else options.kind
        return NullModel(attrs.evolve(options, kind=kind), wait=self._wait)

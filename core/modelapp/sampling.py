"""The next token of one sequence, chosen from what the model says of all of them. No sequence can change another's."""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import attrs

from modelapp.errors import ModelFailed

if TYPE_CHECKING:  # numpy is imported where a replica samples, not where the command line starts
    import numpy as np
    from numpy.typing import NDArray

_COLDEST = 1e-6
"""Below this temperature float32 cannot tell it from 0."""
_STEPS_PER_NAT = 32
_STEPS = 2048
_BLOCK = 256


@attrs.frozen(kw_only=True)
class Sampling:
    """How one request wants its tokens chosen: penalties first, then bias, temperature, top_k, top_p and min_p."""

    temperature: float = 0.0
    """0: the likeliest token, of equal ones that with the lowest id."""
    top_k: int = 0
    """0: all."""
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    """Of tokens in prompt and answer: divides a logit over 0, multiplies one below."""
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    """These two are taken off the logits of tokens in the answer, once, and for each time."""
    logit_bias: Mapping[int, float] = attrs.field(factory=dict)
    min_tokens: int = 0
    logprobs: int | None = None
    """None: no log probabilities; else those of so many of the likeliest tokens beside the chosen one's."""


class Chosen(NamedTuple):
    """A token, and what the model itself thought of it and of the likeliest ones, in natural logarithms.

    That is before penalties, bias, temperature and filters. 0.0 and () where nobody asked.
    """

    token: int
    logprob: float = 0.0
    top: tuple[tuple[int, float], ...] = ()


class Sampler:
    """Chooses the tokens of one sequence, by dice of its own: PCG64 from `seed`, thrown once a token.

    `prompt` counts for the repetition penalty; `ends` cannot be chosen before `min_tokens` others have been.
    """

    def __init__(self, sampling: Sampling, *, seed: int, prompt: Sequence[int], ends: Collection[int]) -> None:
        import numpy as np

        self._np = np
        self._sampling = sampling
        self._dice = np.random.Generator(np.random.PCG64(seed)) if sampling.temperature > 0.0 else None
        self._chosen = 0
        self._ends = np.fromiter(ends, np.int64) if sampling.min_tokens and ends else None
        bias = sampling.logit_bias
        self._bias = (np.fromiter(bias, np.int64), np.fromiter(bias.values(), np.float32, len(bias))) if bias else None
        penalized = sampling.presence_penalty or sampling.frequency_penalty
        repeats = sampling.repetition_penalty != 1.0
        self._repeating = (prompt if repeats else ()) if penalized or repeats else None
        self._tally: _Tally | None = None  # made by the first choice: of a long prompt it takes milliseconds

    def choose(self, logits: "NDArray[np.float32]") -> Chosen:
        """The next token, from logits [vocabulary], which stay as they are. Raises ModelFailed where they hold NaN or
        infinity, or rule every token out."""
        adjusted = self._adjusted(logits)
        best = int(adjusted.argmax())  # NaN, where there is one
        peak = float(adjusted[best])
        if not -float("inf") < peak < float("inf"):
            raise ModelFailed(_complaint(peak, adjusted is logits))
        token = best
        if self._dice is not None:
            with self._np.errstate(over="ignore"):  # far below the peak, at a low temperature: no chance at all
                token = self._draw(adjusted, peak, float(self._dice.random()))
        self._chosen += 1
        if self._tally is not None:
            self._tally.add(token)
        if self._sampling.logprobs is None:
            return Chosen(token)
        return self._told(logits, token, self._sampling.logprobs)

    def _adjusted(self, logits: "NDArray[np.float32]") -> "NDArray[np.float32]":
        """With penalties, bias and what may not end yet: the same array where there are none."""
        if self._repeating is not None:
            self._tally, self._repeating = _Tally(self._repeating), None
        early = self._ends is not None and self._chosen < self._sampling.min_tokens
        if self._tally is None and self._bias is None and not early:
            return logits
        adjusted = logits.copy()
        if self._tally is not None:
            self._tally.penalize(adjusted, self._sampling)
        if self._bias is not None:
            ids, values = self._bias
            adjusted[ids] += values
        if early:
            adjusted[self._ends] = -self._np.inf
        return adjusted

    def _draw(self, logits: "NDArray[np.float32]", peak: float, thrown: float) -> int:
        """A token by temperature and filters; `thrown` is what the dice say, 0 <= thrown < 1."""
        np, sampling = self._np, self._sampling
        top_k = sampling.top_k if 0 < sampling.top_k < logits.size else 0
        if top_k == 1:
            return int(logits.argmax())
        ids = largest(logits, top_k) if top_k else None
        below = (logits if ids is None else logits[ids]) - np.float32(peak)
        below *= np.float32(1.0 / max(sampling.temperature, _COLDEST))
        weights = np.exp(below)
        if sampling.top_p < 1.0:
            weights = _nucleus(below, weights, sampling.top_p)
        if sampling.min_p > 0.0:
            weights = np.where(weights < sampling.min_p, np.float32(0), weights)  # the likeliest one's is 1
        at = _pick(weights, thrown)
        return at if ids is None else int(ids[at])

    def _told(self, logits: "NDArray[np.float32]", token: int, count: int) -> Chosen:
        np = self._np
        peak = logits.max()
        if not np.isfinite(peak):  # at a token that could not be chosen
            raise ModelFailed(_complaint(float(peak), True))
        log_sum = float(peak) + float(np.log(np.exp(logits - peak).sum(dtype=np.float64)))
        likeliest = largest(logits, min(count, logits.size)) if count else ()
        top = tuple((int(one), float(logits[one]) - log_sum) for one in likeliest if logits[one] > -np.inf)
        return Chosen(token, float(logits[token]) - log_sum, top)


class _Tally:
    """Which tokens have been, and how often in the answer. It doubles to grow: a token costs no pass over all."""

    def __init__(self, prompt: Sequence[int]) -> None:
        import numpy as np

        self._np = np
        self._ids = np.unique(np.asarray(prompt, np.int64))
        self._counts = np.zeros(self._ids.size, np.float32)
        self._places = {int(token): place for place, token in enumerate(self._ids)}

    def add(self, token: int) -> None:
        """One more of the answer."""
        place = self._places.setdefault(token, len(self._places))
        if place == self._ids.size:
            more = max(64, place)
            self._ids = self._np.concatenate([self._ids, self._np.zeros(more, self._np.int64)])
            self._counts = self._np.concatenate([self._counts, self._np.zeros(more, self._np.float32)])
        self._ids[place] = token
        self._counts[place] += 1

    def penalize(self, logits: "NDArray[np.float32]", sampling: Sampling) -> None:
        """Make what has been less likely, in place."""
        np = self._np
        ids, counts = self._ids[: len(self._places)], self._counts[: len(self._places)]
        values = logits[ids]
        if sampling.repetition_penalty != 1.0:
            penalty = np.float32(sampling.repetition_penalty)
            values = np.where(values > 0, values / penalty, values * penalty)
        values -= np.float32(sampling.presence_penalty) * (counts > 0)
        values -= np.float32(sampling.frequency_penalty) * counts
        logits[ids] = values


def _pick(weights: "NDArray[np.float32]", thrown: float) -> int:
    """Where the sum of the weights reaches `thrown` of all: the block first, for running sums of all are slow."""
    import numpy as np

    blocks = np.add.reduceat(weights, np.arange(0, weights.size, _BLOCK), dtype=np.float64)
    sums = blocks.cumsum()
    wanted = thrown * float(sums[-1])
    block = min(int(sums.searchsorted(wanted, side="right")), int(np.flatnonzero(blocks)[-1]))
    inside = weights[block * _BLOCK : (block + 1) * _BLOCK].astype(np.float64)
    reached = inside.cumsum() + (float(sums[block - 1]) if block else 0.0)
    place = min(int(reached.searchsorted(wanted, side="right")), int(np.flatnonzero(inside)[-1]))  # sums are rounded
    return block * _BLOCK + place


def _nucleus(below: "NDArray[np.float32]", weights: "NDArray[np.float32]", share: float) -> "NDArray[np.float32]":
    """The fewest of the largest weights that hold `share` of their sum, of equal ones the first; the others are 0.

    `below` are the weights' logarithms, none over 0. Sorting them all takes ten times as long as sums over steps of
    `below`, and a sort within the step where the share is reached.
    """
    import numpy as np

    steps = np.minimum(below * np.float32(-_STEPS_PER_NAT), np.float32(_STEPS - 1)).astype(np.int64)
    sums = np.bincount(steps, weights=weights).cumsum()
    wanted = share * float(sums[-1])
    step = int(sums.searchsorted(wanted))
    inside = np.flatnonzero(steps == step)
    inside = inside[np.argsort(-weights[inside], kind="stable")]
    reached = weights[inside].astype(np.float64).cumsum() + (float(sums[step - 1]) if step else 0.0)
    last = inside[: int(reached.searchsorted(wanted)) + 1]
    kept = np.where(steps < step, weights, np.float32(0))
    kept[last] = weights[last]
    return kept


def largest(values: "NDArray[np.float32]", count: int) -> "NDArray[np.int64]":
    """Where the `count` largest stand, the largest first, of equal ones the first ones. `values` hold no NaN."""
    import numpy as np

    least = np.partition(values, values.size - count)[values.size - count]
    found = _places_of(values, least, count)
    return found[np.argsort(-values[found], kind="stable")]


def _places_of(values: "NDArray[np.float32]", least: "np.float32", count: int) -> "NDArray[np.int64]":
    """Where the `count` largest stand, of which `least` is the least: all over it, and the first ones equal to it."""
    import numpy as np

    found = np.flatnonzero(values >= least)
    if found.size > count:
        equal = found[values[found] == least]
        found = np.setdiff1d(found, equal[count - (found.size - equal.size) :], assume_unique=True)
    return found


def _complaint(peak: float, untouched: bool) -> str:
    if peak == -float("inf"):
        return "the model rules every token out" if untouched else "min_tokens or logit_bias rule every token out"
    return "the model answered NaN or infinity where the next token should come from"

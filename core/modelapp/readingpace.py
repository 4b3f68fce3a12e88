"""How much of prompts a step reads beside the answers that it writes, so that nobody waits long for the next token.

Measured, not modelled: what steps take that only write, and what each token of a prompt has added to those that also
read. What is learned of a token rises at once and falls slowly, and a share grows twofold at most, so that a guess from
little never stalls everybody.
"""

from math import isfinite

from modelapp.costs import Floor

MOST_SLOWER = 0.6
"""How much longer a step may take for reading prompts than without."""
_FORGET = 0.1


class ReadingPace:
    """Of one model."""

    __slots__ = ("_alone", "_per_token_s", "_share")

    def __init__(self) -> None:
        self._alone = Floor()
        self._per_token_s: float | None = None
        self._share = 0

    def share(self, writing: int, room: int) -> int:
        """Tokens of prompts in a step beside `writing` sequences, `room` at most and 1 at least."""
        if not writing:
            return max(1, room)
        most, alone_s = 2 * self._share or writing, self._alone.at_s(writing)
        if self._per_token_s and isfinite(alone_s):
            most = int(min(most, MOST_SLOWER * alone_s / self._per_token_s))
        return max(1, min(most, room))

    def learn(self, writing: int, reading: int, seconds: float) -> None:
        """A step has gone well: `writing` sequences got a token, and `reading` tokens of prompts were read."""
        if not writing:
            return
        if not reading:
            self._alone.add(writing, seconds)
            return
        self._share = reading
        alone_s = self._alone.at_s(writing)
        # Where nobody was ever written for without a prompt beside, nothing can be said.
        found_s = max(0.0, seconds - alone_s) / reading
        known_s = self._per_token_s
        if known_s is None or found_s > known_s:
            self._per_token_s = found_s
        else:
            self._per_token_s = known_s + _FORGET * (found_s - known_s)

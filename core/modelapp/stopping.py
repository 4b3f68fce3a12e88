"""The text of an answer that ends before a stop text: what may be shown as soon as it may be."""

from collections.abc import Sequence

from modelapp.generating import TextStream


class Answer:
    """Holds back the longest end of the text that may be the beginning of a stop text.

    What is given is the text up to the stop text that is complete first, of those complete at the same character the
    longest: the same however the text comes in tokens. A stop text complete before token `min_tokens` is passed over.
    """

    __slots__ = ("_held", "_left", "_stops", "_stream", "stopped")

    def __init__(self, stream: TextStream, stops: Sequence[str] = (), *, min_tokens: int = 0) -> None:
        self.stopped = False
        """Whether a stop text has appeared: nothing is given any more."""
        self._stream = stream
        self._stops = stops
        self._left = min_tokens
        self._held = ""

    def push(self, token: int) -> str:
        """What may be shown now that this token has come."""
        text = self._stream.push(token)
        if not self._stops:
            return text
        self._left -= 1
        return self._take(text, self._left < 0) if text and not self.stopped else ""

    def finish(self) -> str:
        """What was held back, at the end."""
        text = self._stream.flush()
        if self._stops and not self.stopped:
            shown = self._take(text, self._left <= 0)
            shown, self._held = shown + self._held, ""
            return shown
        return "" if self.stopped else text

    def _take(self, text: str, searched: bool) -> str:
        whole = self._held + text
        if searched and (cut := self._cut(whole, len(self._held))) is not None:
            self.stopped, self._held = True, ""
            return whole[:cut]
        kept = max(_beginning(whole, stop) for stop in self._stops)
        shown, self._held = whole[: len(whole) - kept], whole[len(whole) - kept :]
        return shown

    def _cut(self, whole: str, old: int) -> int | None:
        """Where the stop text begins that is complete first, somewhere after `old`."""
        found = []
        for stop in self._stops:
            at = whole.find(stop, max(0, old - len(stop) + 1))
            if at >= 0:
                found.append((at + len(stop), at))
        return min(found)[1] if found else None


def _beginning(text: str, stop: str) -> int:
    """How many characters at the end of `text` are the beginning of `stop`, not the whole of it."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0

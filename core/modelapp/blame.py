"""Where in an app's own code an exception came from: what its author needs, without a frame of anybody else's."""

import logging
import traceback
from pathlib import Path

from modelapp.errors import ModelFailed

log = logging.getLogger("modelapp")
_MOST_CHARS = 1000  # a message may hold a whole array


def blame(error: BaseException, root: Path, *, private: bool = False) -> str:
    """ "TypeError: text (handlers.py:12)"; the place is the deepest line below `root`, left out where there is none.

    `private`: without the text, which may hold any part of what it failed on, changed in any way.
    """
    told = type(error).__name__ if private else _told(error)
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = Path(frame.filename)
        if file.is_relative_to(root):
            return f"{told} ({file.relative_to(root).as_posix()}:{frame.lineno})"
    return told


def failure(what: str, error: BaseException, root: Path, *, private: bool = False) -> ModelFailed:
    """The outcome of a request whose model or function, `what`, raised `error`; the log gets it too.

    `private`: the request has sensitive fields.
    """
    withheld = "; its text is withheld, since a field is sensitive" if private else ""
    failed = ModelFailed(f"{what} raised {blame(error, root, private=private)}{withheld}")
    log.error("%s", failed.message)
    if log.isEnabledFor(logging.DEBUG):
        log.debug("in full:\n%s", told_in_full(error, private))
    return failed


def told_in_full(error: BaseException, private: bool) -> str:
    """An exception with its traceback; `private`: without its words."""
    if not private:
        return "".join(traceback.format_exception(error)).rstrip()
    return "".join([*traceback.format_tb(error.__traceback__), type(error).__name__])


def _told(error: BaseException) -> str:
    kind = type(error).__name__
    try:
        text = str(error)
    except Exception:  # an exception class of the app's own may fail at that too
        return kind
    if len(text) > _MOST_CHARS:
        text = f"{text[:_MOST_CHARS]}..."
    return f"{kind}: {text}" if text else kind

"""Where in an app's own code an exception came from: what its author needs, without a frame of anybody else's."""

import traceback
from pathlib import Path


def blame(error: BaseException, root: Path) -> str:
    """ "TypeError: text (handlers.py:12)"; the place is the deepest line below `root`, left out where there is none."""
    told = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = Path(frame.filename)
        if file.is_relative_to(root):
            return f"{told} ({file.relative_to(root).as_posix()}:{frame.lineno})"
    return told

"""What torch's exporters say beside their errors, which is of torch's own insides and as long as a page."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Without any of it, unless the logger "modelapp" is at DEBUG: then whoever exports wants to see all."""
    if logging.getLogger("modelapp").isEnabledFor(logging.DEBUG):
        yield
        return
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)  # torch has loggers by the dozen, each with a handler of its own
    try:
        printed = io.StringIO()  # the graph that it had when it gave up
        with warnings.catch_warnings(), contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)

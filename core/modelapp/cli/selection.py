"""Which tests a command line means."""

from collections.abc import Sequence

from modelapp.app import App, AppTest
from modelapp.errors import InconclusiveError
from modelapp.suggestions import did_you_mean


def select(app: App, names: Sequence[str], tags: Sequence[str]) -> list[AppTest]:
    """The tests of these names that have one of these tags; nothing given means all.

    Raises InconclusiveError where nothing is left, or a name is none: a test that was asked for and not run proves
    nothing.
    """
    known = [test.name for test in app.tests]
    if not known:
        raise InconclusiveError("app.toml has no [[tests]]", help="add one: name, input, and what you expect")
    for name in names:
        if name not in known:
            advice = did_you_mean(name, known, otherwise=f"tests: {', '.join(known)}")
            raise InconclusiveError(f'no test is called "{name}"', help=advice)
    found = [
        test for test in app.tests if (not names or test.name in names) and (not tags or set(tags) & set(test.tags))
    ]
    if not found:
        used = sorted({tag for test in app.tests for tag in test.tags})
        raise InconclusiveError(f"no test is tagged {' or '.join(tags)}", help=f"tags: {', '.join(used) or 'none'}")
    return found

"""What recorded outputs came from: whether a file is still the recorded one, and what has changed since."""

import hashlib
from collections.abc import Callable, Iterable, Iterator

import attrs

from modelapp.app import App, AppTest
from modelapp.lockfile import Lock
from modelapp.verdicts import Outcome


def changed_files(app: App, lock: Lock, tests: Iterable[AppTest]) -> Iterator[str]:
    """A sentence for each test whose `expect_file` is another than the one that app.lock says was recorded."""
    digests = {one.test: one.sha256 for one in lock.recorded}
    for test in tests:
        if test.expect_file and test.name in digests:
            try:
                digest = hashlib.sha256((app.root / test.expect_file).read_bytes()).hexdigest()
            except OSError:
                continue  # the test itself tells of it
            if digest != digests[test.name]:
                yield f'{test.expect_file} is not the file that was recorded for test "{test.name}" (app.lock)'


def with_origin(outcome: Outcome, lock: Lock, made_with: Callable[[AppTest], tuple[str, ...]]) -> Outcome:
    """A failed outcome that says first that what it compares with was made by something else."""
    made = next((one.made_with for one in lock.recorded if one.test == outcome.test.name), ())
    if outcome.verdict != "fail" or not outcome.test.expect_file or not made:
        return outcome
    now = made_with(outcome.test)
    before, after = (", ".join(one for one in mine if one not in other) for mine, other in ((made, now), (now, made)))
    if not before and not after:
        return outcome
    reason = f"recorded with {before or ', '.join(made)}, this is {after or ', '.join(now)}"
    return attrs.evolve(outcome, reason=reason)

"""How a replica's end is put into words."""

import pytest

from modelapp.replicaprocess import how_it_ended


@pytest.mark.parametrize(
    ("status", "words"),
    [(-11, "SIGSEGV (-11)"), (-9, "SIGKILL (-9)"), (3, "exit status 3"), (0, "exit status 0"), (-99, "signal 99")],
)
def test_an_exit_status_in_words(status: int, words: str) -> None:
    """Signals by their names, everything else by its number."""
    assert how_it_ended(status) == words

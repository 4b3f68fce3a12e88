"""How much of prompts a step reads beside answers."""

from hypothesis import given
from hypothesis import strategies as st

from modelapp.readingpace import MOST_SLOWER, ReadingPace


def test_nobody_to_write_for_is_room_for_reading() -> None:
    """Then a step takes all it may."""
    assert ReadingPace().share(0, 256) == 256


def test_it_begins_with_little_and_grows_twofold() -> None:
    """A guess from nothing never stalls everybody."""
    pace = ReadingPace()
    pace.learn(8, 0, 0.050)
    shares = []
    for _ in range(5):
        shares.append(pace.share(8, 256))
        pace.learn(8, shares[-1], 0.050)  # reading costs nothing that could be seen
    assert shares == [8, 16, 32, 64, 128]


@given(
    alone_ms=st.floats(1, 200), per_token_ms=st.floats(0.01, 20), writing=st.integers(1, 32),
    noise=st.lists(st.floats(0.9, 1.1), min_size=30, max_size=30),
)  # fmt: skip
def test_a_step_takes_so_much_longer_and_no_more(
    alone_ms: float, per_token_ms: float, writing: int, noise: list[float]
) -> None:
    """Whatever a token costs: after the first steps the time is within the bound, but for one token and the noise."""
    pace = ReadingPace()
    for one in noise[:10]:
        pace.learn(writing, 0, alone_ms / 1000 * one)
    for at, one in enumerate(noise):
        share = pace.share(writing, 512)
        taken_ms = alone_ms + per_token_ms * share
        if at > 2:
            assert taken_ms <= alone_ms * (1 + MOST_SLOWER) * 1.25 + per_token_ms
        pace.learn(writing, share, taken_ms / 1000 * one)


def test_a_slower_token_is_believed_at_once() -> None:
    """A prompt grows dearer as it is read; a single slow step is forgotten in time."""
    pace = ReadingPace()
    pace.learn(4, 0, 0.1)
    for _ in range(20):
        pace.learn(4, pace.share(4, 512), 0.1 + 0.001 * pace.share(4, 512))
    quick = pace.share(4, 512)
    pace.learn(4, quick, 0.1 + 0.010 * quick)
    assert pace.share(4, 512) <= quick / 8
    for _ in range(60):
        share = pace.share(4, 512)
        pace.learn(4, share, 0.1 + 0.001 * share)
    assert pace.share(4, 512) > quick / 2


def test_it_learns_nothing_of_steps_that_only_read() -> None:
    """They have nobody to slow down."""
    pace = ReadingPace()
    pace.learn(0, 256, 1.0)
    assert pace.share(4, 512) == 4

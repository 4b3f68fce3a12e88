"""Who may come in."""

import pytest

from modelapp.admission import Admission
from modelapp.call import Call
from modelapp.errors import NotReady, QueueFull
from modelapp.lifecycle import Lifecycle


def test_nobody_comes_in_before_it_is_ready_but_for_health() -> None:
    """503, with the reason."""
    admission = Admission(Lifecycle())
    with pytest.raises(NotReady, match="starting"):
        admission.enter(Call(0.0), "endpoint", "score")
    admission.enter(Call(0.0), "open", always=True)


def test_one_more_than_the_most_in_flight_is_refused_with_a_time_to_come_back() -> None:
    """The lifecycle counts every request, also the one that is refused."""
    lifecycle = Lifecycle()
    lifecycle.ready()
    admission = Admission(lifecycle, max_in_flight=1)
    lifecycle.enter()
    admission.enter(Call(0.0), "endpoint", "score")
    lifecycle.enter()
    with pytest.raises(QueueFull) as caught:
        admission.enter(Call(0.0), "endpoint", "score")
    assert caught.value.retry_after_s

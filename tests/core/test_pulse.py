"""A replica's beats, and what their absence means."""

from modelapp.pulse import SILENT_S, Pulse


def test_silence_is_told_once_and_its_end_too() -> None:
    """However often it is looked at."""
    pulse = Pulse()
    assert pulse.beat(10.0) == ""
    assert pulse.look(10.0 + SILENT_S / 2) == ""
    assert pulse.wait_s(10.0) == SILENT_S
    said = pulse.look(10.0 + SILENT_S)
    assert said.startswith(f"the replica answers nobody since {SILENT_S:.1f} s")
    assert "modelapp dump" in said
    assert (pulse.silent, pulse.look(20.0), pulse.wait_s(20.0)) == (True, "", None)
    assert pulse.beat(13.5) == "the replica answers again, after 3.5 s"
    assert (pulse.silent, pulse.beat(13.75)) == (False, "")


def test_nothing_is_told_of_one_that_never_beat() -> None:
    """It loads: there is nobody who could be kept waiting."""
    pulse = Pulse()
    assert (pulse.look(1000.0), pulse.wait_s(1000.0), pulse.silent) == ("", None, False)

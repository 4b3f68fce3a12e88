"""Where plugins come from, and how their failures are put into one line."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelapp.discovery import Origin, cause_of, contained, disabled_names, is_disabled, origins


def origin(name="acme", distribution="modelapp-acme"):
    return Origin(name, distribution, "1", "acme", object)


def test_origins_are_sorted_by_name_whatever_their_source():
    """The order on sys.path differs from machine to machine."""
    names = [found.name for found in origins({"zzz": sys, "aaa": sys})]
    assert names == sorted(names)
    assert {"aaa", "null", "zzz"} <= set(names)


def test_an_object_handed_over_is_its_own_plugin():
    """It is not imported, and has no distribution."""
    found = next(found for found in origins({"acme": sys}) if found.name == "acme")
    assert (found.import_it(), found.distribution, str(found)) == (sys, "", 'plugin "acme"')


@given(st.lists(st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True)), st.sampled_from([",", " , ", ",,", ", "]))
def test_disabled_names_are_separated_by_commas(names, separator):
    """Blanks and empty places do not count."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MODELAPP_DISABLE_PLUGINS", separator.join(names))
        assert disabled_names() == set(names)


def test_a_plugin_is_disabled_by_its_name_or_its_distribution():
    """And one without a distribution not by the empty word."""
    assert is_disabled(origin(), {"acme"})
    assert is_disabled(origin(), {"modelapp-acme"})
    assert not is_disabled(origin(), {"modelapp"})
    assert not is_disabled(origin(distribution=""), {""})


def raised(error):
    """What comes out when a plugin raises `error`."""

    def plugin():
        raise error

    try:
        contained(plugin)
    except Exception as caught:
        return caught
    raise AssertionError("nothing came out")


def test_the_cause_is_one_line_with_its_place():
    """Type, text, file and line of the frame that raised."""
    line = raised.__code__.co_firstlineno + 4
    assert cause_of(raised(ValueError("half written"))) == f"ValueError: half written ({__file__}:{line})"
    assert cause_of(raised(KeyError())) == f"KeyError ({__file__}:{line})"
    assert cause_of(raised(SystemExit(3))) == f"it tried to end the process: SystemExit: 3 ({__file__}:{line})"


def test_an_exception_without_a_place_is_told_without_one():
    """Nothing is made up."""
    assert cause_of(ValueError("x")) == "ValueError: x"


def test_a_keyboard_interrupt_is_not_contained():
    """The user's own wish is no failure of a plugin."""

    def plugin():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        contained(plugin)

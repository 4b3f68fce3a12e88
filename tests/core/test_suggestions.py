"""What was most likely meant: words, units, and values written as TOML."""

from typing import Any

import pytest
import tomli
from hypothesis import given
from hypothesis import strategies as st

from modelapp.suggestions import Twin, closest, closest_value, tidy, toml, toml_key, unit_twin

KEYS = ("max_wait_ms", "max_batch_size", "timeout_s", "max_body_mb", "name")


@pytest.mark.parametrize(
    ("word", "meant"),
    [("max_bach_size", "max_batch_size"), ("max-batch-size", "max_batch_size"), ("NAME", "name"), ("zzz", None)],
)
def test_a_misspelt_word_finds_the_one_it_is_close_to(word: str, meant: str | None) -> None:
    """Dashes for underscores and capitals are misspellings too; an unrelated word is none."""
    assert closest(word, KEYS) == meant


@pytest.mark.parametrize(
    ("word", "meant"),
    [("paded", "padded_tokens"), ("token", "tokens"), ("basik", "basic"), ("tale", None), ("zzz", None)],
)
def test_a_part_of_a_value_tells_which_is_meant(word: str, meant: str | None) -> None:
    """Unless several have it, as the two do that end in tail."""
    assert closest_value(word, ("rows", "tokens", "padded_tokens", "basic", "head_tail", "torso_tail")) == meant


@pytest.mark.parametrize(
    ("key", "twin"),
    [
        ("max_wait_s", Twin("max_wait_ms", 1000)),
        ("timeout_ms", Twin("timeout_s", 0.001)),
        ("timeout_min", Twin("timeout_s", 60)),
        ("max_body_kb", Twin("max_body_mb", 0.001)),
        ("max_body_s", None),
        ("max_wait", None),
        ("timeout_s", None),
    ],
)
def test_a_key_in_another_unit_finds_its_twin(key: str, twin: Twin | None) -> None:
    """Only a key with the same stem and a unit of the same kind is a twin."""
    found = unit_twin(key, KEYS)
    assert (found is None) == (twin is None)
    if found and twin:
        assert found.key == twin.key
        assert found.factor == pytest.approx(twin.factor)


def test_conversions_leave_no_noise() -> None:
    """0.015 s are 15 ms."""
    assert toml(tidy(0.015 * 1000)) == "15"
    assert toml(tidy(0.1 * 3)) == "0.3"


VALUES = st.recursive(
    st.one_of(st.booleans(), st.integers(-(2**63), 2**63 - 1), st.text(), st.floats(allow_nan=False)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(VALUES)
def test_a_value_written_as_toml_reads_back_as_itself(value: Any) -> None:
    """Every plain value survives, whatever its characters."""
    assert tomli.loads(f"x = {toml(value)}")["x"] == value


@given(st.text())
def test_a_key_written_as_toml_reads_back_as_itself(key: str) -> None:
    """Keys are quoted where they must be."""
    assert tomli.loads(f"{toml_key(key)} = 1") == {key: 1}

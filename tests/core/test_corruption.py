"""A key of a valid app file that is broken at random is an error at that key: whichever key, and however broken."""

import random
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelapp.plugins import Plugins

BENCH = Path(__file__).parents[2] / "bench"
KINDS = (
    "renamed_near",
    "renamed_far",
    "other_type",
    "out_of_bounds",
    "deleted",
    "moved",
    "duplicated",
    "strange_table",
)


@pytest.fixture(scope="module")
def broken() -> Any:
    """bench/corruptions.py, whose ways to break a file are tried here too."""
    sys.path.insert(0, str(BENCH))
    try:
        import corruptions
    finally:
        sys.path.remove(str(BENCH))
    return corruptions


@pytest.fixture(scope="module")
def victims(broken: Any) -> list[Any]:
    """The example apps, and five apps of other kinds."""
    plugins = Plugins.load(warn=False)
    return [broken.Victim(file, plugins) for file in broken.app_files()]


def test_the_files_that_are_broken_are_valid(broken: Any, victims: list[Any]) -> None:
    """So that each error is its corruption's; and there are hundreds of keys to break."""
    for victim in victims:
        untouched = broken.Corruption("none", "", victim.text, 1)
        assert broken.missed(victim, untouched) == "no error"
    assert len(victims) >= 6
    assert sum(len(victim.sites) for victim in victims) > 400


def test_every_way_to_break_a_file_is_tried(broken: Any) -> None:
    """A new one has its test here."""
    assert tuple(kind.__name__ for kind in broken.KINDS) == KINDS


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_a_broken_key_is_an_error_where_it_stands(broken: Any, victims: list[Any], kind: str, seed: int) -> None:
    """On its line, and at its column where that is one."""
    chance = random.Random(seed)
    victim = chance.choice(victims)
    made = None
    while made is None:
        made = getattr(broken, kind)(victim, chance.choice(victim.sites), chance)
    told = made.text.splitlines()[made.line - 1]
    assert broken.missed(victim, made) == "", f"{victim.file.parent.name}:{made.line}: {made.key}: {told}"

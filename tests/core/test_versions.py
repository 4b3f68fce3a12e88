"""Version requirements of app.toml."""

import pytest

from modelapp.versions import satisfies


@pytest.mark.parametrize(
    ("requirement", "holds"),
    [
        (">=0.1", True),
        (">=0.3,<0.4", True),
        ("<0.3", False),
        ("==0.3", False),
        ("==0.3.2", True),
        ("== 0.3.2.0", True),
        ("!=0.3.2", False),
        ("~=0.3", True),
        ("~=0.3.1", True),
        ("~=0.4", False),
        ("~=0.2.9", False),
        (">0.3.2", False),
        ("<=0.3.2", True),
        (">=0.10", False),
    ],
)
def test_a_requirement_holds_or_not(requirement: str, holds: bool) -> None:
    """Parts are compared as numbers, all clauses must hold, and missing parts are zeros."""
    assert satisfies("0.3.2", requirement) is holds


@pytest.mark.parametrize("requirement", ["latest", "1.0", "=>1", ">=1,", ">=1.x", ">9,latest"])
def test_what_is_no_requirement_is_refused(requirement: str) -> None:
    """The error holds the clause."""
    with pytest.raises(ValueError, match=r"^(latest|1\.0|=>1||>=1\.x)$"):
        satisfies("0.3.2", requirement)


def test_a_development_version_counts_as_its_release() -> None:
    """0.3.dev1 is asked as 0.3."""
    assert satisfies("0.3.dev1", ">=0.3")

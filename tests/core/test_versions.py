"""Version requirements of app.toml."""

import pytest

from modelapp.versions import is_python, satisfies


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


@pytest.mark.parametrize(
    ("version", "wanted", "fits"),
    [
        ("3.11.7", "3.11", True),
        ("3.11.7", "3.11.7", True),
        ("3.11.7", "3.1", False),
        ("3.12.1", "3.11", False),
        ("3.12.1", "3", True),
        ("3.12.1", ">=3.11,<3.13", True),
        ("3.13.0", ">=3.11,<3.13", False),
    ],
)
def test_a_bare_version_of_python_means_all_that_begin_with_it(version, wanted, fits):
    """Part by part, not letter by letter; bounds as everywhere."""
    assert is_python(version, wanted) is fits

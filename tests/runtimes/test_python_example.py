"""The app that docs/runtimes.md shows."""

import re
from pathlib import Path

import pytest

from modelapp.testing import AppProject

PAGE = Path(__file__).parents[2] / "docs/runtimes.md"
BLOCK = re.compile(r"^```\w+ file=(\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def apps() -> list[dict[str, str]]:
    """The files of each app of the page: one begins with its app.toml."""
    found: list[dict[str, str]] = []
    for name, text in BLOCK.findall(PAGE.read_text()):
        if name == "app.toml" or not found:
            found.append({})
        found[-1][name] = text
    return found


@pytest.mark.parametrize(("number", "passed"), [(0, "2 passed"), (1, "1 passed")])
def test_app_of_the_page_passes_its_own_tests(tmp_path: Path, number: int, passed: str) -> None:
    """What a reader copies is served and proven as it stands."""
    files = apps()[number]
    project = AppProject(tmp_path).write(files.pop("app.toml"), files)
    tested = project.run("test")
    assert tested.exit_code == 0, tested
    assert passed in tested.stdout + tested.stderr

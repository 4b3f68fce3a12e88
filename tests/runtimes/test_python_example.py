"""The app that docs/runtimes.md shows."""

import re
from pathlib import Path

from modelapp.testing import AppProject

PAGE = Path(__file__).parents[2] / "docs/runtimes.md"
BLOCK = re.compile(r"^```\w+ file=(\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_app_of_the_page_passes_its_own_tests(tmp_path: Path) -> None:
    """What a reader copies is served and proven as it stands."""
    files = dict(BLOCK.findall(PAGE.read_text()))
    project = AppProject(tmp_path).write(files.pop("app.toml"), files)
    tested = project.run("test")
    assert tested.exit_code == 0, tested
    assert "2 passed" in tested.stdout + tested.stderr

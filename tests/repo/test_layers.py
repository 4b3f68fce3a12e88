"""Who may import whom is a rule that is run, not a drawing."""

import re
import subprocess
import sys
from pathlib import Path


def test_the_import_rules_hold(root):
    """Every contract of [tool.importlinter]; a module that is in no layer breaks one too."""
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([program, "--no-cache"], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_module_is_public_or_protected(project, root):
    """docs/plugins.md lists the modules plugins may use; every other one is closed to them by a rule."""
    page = (root / "docs" / "plugins.md").read_text().split("## What a plugin may import", 1)[1].split("\n## ", 1)[0]
    public = set(re.findall(r"`(modelapp\.\w+)`", page))
    contracts = {contract["name"]: contract for contract in project["tool"]["importlinter"]["contracts"]}
    protected = set(contracts["plugins use the public core"]["protected_modules"])
    folder = root / "core" / "modelapp"
    modules = {
        f"modelapp.{path.stem}" for path in folder.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert public & protected == set()
    assert public | protected == modules - {"modelapp.__init__", "modelapp.__main__"}

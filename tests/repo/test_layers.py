"""Who may import whom is a rule that is run, not a drawing."""

import subprocess
import sys
from pathlib import Path


def test_the_import_rules_hold(root):
    """Every contract of [tool.importlinter]; a module that is in no layer breaks one too."""
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([program, "--no-cache"], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

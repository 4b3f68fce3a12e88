"""Environments made for apps, from within: the marker, the Python, and the variables of a process in one."""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MARKER = "modelapp-environment.json"
"""The file in such an environment that says it is whole; it is written last."""
FORMAT = 1
LEAK = (
    "PYTHONPATH",
    "PYTHONHOME",
    "PYTHONEXECUTABLE",
    "__PYVENV_LAUNCHER__",
    "VIRTUAL_ENV",
    "VIRTUAL_ENV_PROMPT",
    "CONDA_PREFIX",
)
"""Variables that would lead a Python of one environment into another."""
OUTSIDE = "MODELAPP_OUTSIDE"
"""Names the Python that a process in an environment was started by; it may have an installer."""


def made(folder: Path | None = None) -> dict[str, Any] | None:
    """What is kept about a whole environment, the one of this process by default; None where it is none.

    `file` and `asked` are the requirements it was made from, the other keys are told to people.
    """
    try:
        found = json.loads(((folder or Path(sys.prefix)) / MARKER).read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and found.get("format") == FORMAT else None


def remedy(fix: str) -> str:
    """The advice for a missing package: `fix`, a command, or in an app's own environment to pin it."""
    found = made()
    return fix if found is None else f"pin it in {found.get('file')}, for the app has an environment of its own"


def interpreter(folder: Path) -> Path:
    """The Python of an environment."""
    return folder / "bin" / "python"


def variables(environ: Mapping[str, str], folder: Path) -> dict[str, str]:
    """The variables of a process in the environment at `folder`, which is first on its PATH."""
    kept = {name: value for name, value in environ.items() if name not in LEAK}
    path = os.pathsep.join(filter(None, [str(folder / "bin"), environ.get("PATH", "")]))
    return kept | {"VIRTUAL_ENV": str(folder), "PATH": path}

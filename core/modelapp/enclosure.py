"""The environment this process runs in, where it was made for an app: what is kept in its marker."""

import json
import sys
from pathlib import Path
from typing import Any

MARKER = "modelapp-environment.json"
"""The file in such an environment that says it is whole; it is written last."""
FORMAT = 1


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
    """The advice for a missing package: `fix`, a command, or in an app's own environment where to pin the package."""
    found = made()
    if found is None:
        return fix
    instead = f", instead of {fix}" if fix else ""
    return f"pin it in {found.get('file', 'the requirements file')}: the app has an environment of its own{instead}"

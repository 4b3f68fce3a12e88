"""The plugins of this distribution that come with an extra, and what to type for one that is not there."""

import attrs

EXTRAS = ("onnx", "torch", "tensorrt")
"""Runtimes whose library is an extra of the same name."""


@attrs.frozen
class NotInstalled:
    """What to say of a plugin that is known and absent, and the command that brings it."""

    message: str
    command: str


def not_installed(name: str) -> NotInstalled | None:
    """For a runtime of ours that is not installed; None for any other name."""
    if name not in EXTRAS:
        return None
    return NotInstalled(f'runtime "{name}" is not installed', f"pip install 'modelapp[{name}]'")

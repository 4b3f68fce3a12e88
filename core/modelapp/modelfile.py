"""A model's file, looked at before a library is: what is plainly none is told in words that no library has."""

import hashlib
from pathlib import Path

from modelapp.errors import LoadError

_LFS = b"version https://git-lfs"


def head(path: Path, model: str) -> bytes:
    """The first bytes of the file; raises LoadError where it is a folder, empty, unreadable or a Git LFS pointer."""
    if path.is_dir():
        raise LoadError(f"{path} is a folder, not a model file", model=model, help="name the file in that folder")
    try:
        with path.open("rb") as file:
            begins = file.read(len(_LFS))
    except OSError as error:
        raise LoadError(f"{path} cannot be read: {error.strerror}", model=model) from None
    if not begins:
        raise LoadError(f"{path} is empty", model=model, help="copy or export the model again")
    if begins == _LFS:
        raise LoadError(f"{path} is a Git LFS pointer, not the model", model=model, help="git lfs pull")
    return begins


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

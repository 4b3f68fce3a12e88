"""What is plainly no model file is told before a library looks at it."""

from pathlib import Path

import pytest

from modelapp.errors import LoadError
from modelapp.modelfile import head


def test_the_first_bytes_of_a_file(tmp_path: Path) -> None:
    """Enough to tell kinds apart."""
    file = tmp_path / "net.bin"
    file.write_bytes(b"PK\x03\x04" + bytes(100))
    assert head(file, "m").startswith(b"PK\x03\x04\x00")


@pytest.mark.parametrize(
    ("content", "says", "fix"),
    [
        (None, "cannot be read: No such file or directory", ""),
        (b"", "is empty", "copy or export the model again"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "is a Git LFS pointer", "git lfs pull"),
    ],
)
def test_what_is_no_file_of_a_model(tmp_path: Path, content: bytes | None, says: str, fix: str) -> None:
    """Each has its words, with the model's name and what to do."""
    file = tmp_path / "net.bin"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(LoadError, match=says) as told:
        head(file, "m")
    assert (told.value.model, told.value.help) == ("m", fix)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    """The file in it is what is wanted."""
    with pytest.raises(LoadError, match="is a folder, not a model file"):
        head(tmp_path, "m")

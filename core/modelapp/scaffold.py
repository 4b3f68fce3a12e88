"""A new app: the files of a template, under the name of the folder they go into."""

import contextlib
import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path

import attrs

from modelapp.document import Document
from modelapp.errors import SurroundingsError, UsageError
from modelapp.problems import shown
from modelapp.spans import index
from modelapp.writeback import Draft

APP_FILE = "app.toml"
_PLACE = Path(__file__).parent / "templates"
_EVERYWHERE = {".gitignore": "gitignore", "conformance/test_app.py": "conformance.txt"}
_PENGUINS = {"models/penguins.onnx": "penguins.onnx", "models/penguins.md": "penguins.md"}
_DIGITS = {"models/digits.onnx": "digits.onnx", "models/digits.md": "digits.md"}
_WORDS = {"models/words.onnx": "words.onnx", "models/words.txt": "words.txt", "models/words.md": "words.md"}
_TOO_LONG = 41
_SHOWN = 3


@attrs.frozen
class Template:
    """`does`: what its app does. `shared`: its files that other templates have too, path in the app -> file."""

    does: str
    shared: Mapping[str, str]


TEMPLATES: Mapping[str, Template] = {
    "image": Template("a picture in, what it shows out", {"handlers.py": "digits.py", **_DIGITS}),
    "tensor": Template("numbers in, numbers out: a model file behind an endpoint, no code", _PENGUINS),
    "text": Template("a text in, a verdict out", {"handlers.py": "words.py", **_WORDS}),
    "pipeline": Template(
        "two models and a function behind one endpoint",
        {"digits.py": "digits.py", "words.py": "words.py", **_DIGITS, **_WORDS},
    ),
    "batch": Template("the rows of a file through an endpoint", _PENGUINS),
}
"""The first is the one that is taken where none is named."""


def app_name(folder: Path) -> str:
    """The name of an app in `folder`, made from the folder's."""
    plain = unicodedata.normalize("NFKD", folder.resolve().name).encode("ascii", "ignore").decode().lower()
    words = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    if not re.match(r"[a-z].", words):
        words = f"app-{words}".rstrip("-")
    return words[:_TOO_LONG].rstrip("-")


def files_of(template: str, name: str) -> dict[str, bytes]:
    """Path -> content of every file of a new app but its schema, app.toml first."""
    own, shared = _PLACE / template, {**TEMPLATES[template].shared, **_EVERYWHERE}
    paths = [path for path in own.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    found = {path.relative_to(own).as_posix(): path.read_bytes() for path in paths}
    found |= {path: (_PLACE / "shared" / file).read_bytes() for path, file in shared.items()}
    found["README.md"] = _titled(found["README.md"], name)
    app = {APP_FILE: _named(found.pop(APP_FILE), name)}
    return app | dict(sorted(found.items(), key=lambda item: (item[0].startswith("."), item[0].casefold())))


def require_room(folder: Path) -> None:
    """Raise UsageError where `folder` is no folder, or holds something else than a git repository."""
    if not folder.is_dir():
        if folder.exists() or folder.is_symlink():
            raise UsageError(f"{shown(folder)} is not a folder", help="name another: modelapp init DIR")
        return
    try:
        found = sorted(path.name for path in folder.iterdir() if path.name != ".git")
    except OSError as error:
        raise SurroundingsError(f"{shown(folder)} cannot be read: {error.strerror}") from None
    if not found:
        return
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    advice = "name a folder that does not exist yet: modelapp init DIR"
    if APP_FILE in found:
        advice = f"there is an app in it already; {advice}"
    raise UsageError(f"{shown(folder)} is not empty: it holds {', '.join(found[:_SHOWN])}{more}", help=advice)


def write_all(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write all files below `folder`, or none. Raises SurroundingsError."""
    made: list[Path] = []
    try:
        for name, content in files.items():
            path = folder / name
            _make_folder(path.parent, made)
            with path.open("xb") as file:  # never over a file that came meanwhile
                made.append(path)
                file.write(content)
    except BaseException as error:
        for path in reversed(made):
            with contextlib.suppress(OSError):
                path.rmdir() if path.is_dir() else path.unlink()
        if isinstance(error, OSError):
            where = shown(Path(error.filename)) if error.filename else shown(folder)
            raise SurroundingsError(f"{where} cannot be written: {error.strerror}") from None
        raise


def _make_folder(folder: Path, made: list[Path]) -> None:
    if folder.is_dir():
        return
    _make_folder(folder.parent, made)
    folder.mkdir()
    made.append(folder)


def _named(content: bytes, name: str) -> bytes:
    text = content.decode()
    draft = Draft(Document(Path(APP_FILE), text, index(text)))
    draft.set(("app", "name"), name)
    return draft.text.encode()


def _titled(content: bytes, name: str) -> bytes:
    _, _, rest = content.partition(b"\n")
    return f"# {name}\n".encode() + rest

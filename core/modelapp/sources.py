"""Where a model's files lie: turns the `source` and `files` of a model into paths on this machine."""

import difflib
import importlib.metadata
import importlib.util
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import attrs

from modelapp.app import Model
from modelapp.enclosure import remedy
from modelapp.errors import LoadError
from modelapp.requirements import canonical
from modelapp.runtime import Artefact

PACKAGE = "package:"
_SYMBOL = re.compile(r"(?P<file>[^:]+\.py):(?P<symbol>[A-Za-z_]\w*)")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_LOOKED_AT = 2000
"""How many files are looked at for near names; a folder of data may hold millions."""


@attrs.frozen
class Place:
    """One source found on this machine: a file or folder, and the class in it for `file.py:Class`."""

    path: Path
    symbol: str = ""


def artefact(root: Path, model: Model) -> Artefact:
    """The files of `model` in the app folder `root`, and in installed packages.

    Raises LoadError naming the key, what is missing, and names that come near.
    """
    main = locate(root, model.source, key=f"models.{model.name}.source")
    files = {}
    for name, source in model.files.items():
        place = locate(root, source, key=f"models.{model.name}.files.{name}")
        if place.symbol:
            raise LoadError(
                f'models.{model.name}.files.{name}: "{source}" names a class, and files are paths',
                model=model.name,
                help=f'files = {{ {name} = "{source.split(":")[0]}" }}',
            )
        files[name] = place.path
    return Artefact(
        name=model.name, source=main.path, symbol=main.symbol, root=root.resolve(), files=files, task=model.task
    )


def labels(root: Path, model: Model) -> tuple[str, ...]:
    """The class names that `labels` of `model` holds, one a line; none where it names no file. Raises LoadError."""
    if not model.labels:
        return ()
    path = locate(root, model.labels, key=f"models.{model.name}.labels").path
    try:
        return tuple(path.read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        told = f"models.{model.name}.labels: {path} cannot be read as text: {error}"
        raise LoadError(told, model=model.name, help="write one class name a line, in UTF-8") from None


def is_remote(source: str) -> bool:
    """Whether `source` is a URL rather than something on this machine."""
    return _URL.match(source) is not None


def locate(root: Path, source: str, *, key: str) -> Place:
    """One source on this machine; `key` is its place in app.toml, for the error. Raises LoadError."""
    try:
        return _find(root, source)
    except LoadError as error:
        model = key.split(".")[1] if key.startswith("models.") else ""
        raise LoadError(f"{key}: {error.message}", model=model, help=error.help) from None


def _find(root: Path, source: str) -> Place:
    if is_remote(source):
        raise LoadError(
            f'"{source}" is a remote source, which this version of modelapp does not read',
            help="put the file beside app.toml and write its relative path",
        )
    if source.startswith(PACKAGE):
        return Place(_in_package(source))
    if symbol := _SYMBOL.fullmatch(source):
        return Place(_in_folder(root, symbol["file"]), symbol["symbol"])
    return Place(_in_folder(root, source))


def _in_folder(root: Path, source: str) -> Path:
    """`source` below the app's folder, also after every symbolic link is followed."""
    home = root.resolve()
    inside = "models and files lie in the folder of app.toml or below it: copy the file there"
    if not source or Path(source).is_absolute():
        raise LoadError(f'"{source}" is not a path relative to app.toml', help=inside)
    path = home / source
    try:
        real = path.resolve()
        exists = real.exists()
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a name too long, a NUL
        raise LoadError(f'"{source}" cannot be followed: {error}') from None
    if not real.is_relative_to(home):
        via = "" if ".." in PurePosixPath(source).parts else ", through a symbolic link"
        raise LoadError(f'"{source}" leads out of the app\'s folder{via}, to {real}', help=inside)
    if not exists:
        raise _missing(source, home)
    return real


def _in_package(source: str) -> Path:
    """`package:NAME/relative/path`, found without importing NAME."""
    name, _, relative = source.removeprefix(PACKAGE).partition("/")
    if not name or not relative:
        raise LoadError(f'"{source}" names no file', help='write "package:NAME/path/of/the/file"')
    if ".." in PurePosixPath(relative).parts or PurePosixPath(relative).is_absolute():
        raise LoadError(f'"{source}" leads out of the package', help='write the path without ".." or a leading "/"')
    package, *folders = name.split(".")
    homes = [home.joinpath(*folders) for home in _package_folders(package)]
    found = next((home / relative for home in homes if (home / relative).exists()), None)
    if found is None:
        raise _missing(relative, homes[0], package=name)
    return found


def _package_folders(package: str) -> Sequence[Path]:
    try:
        spec = importlib.util.find_spec(package) if package.isidentifier() else None
    except (ImportError, ValueError):  # a half-imported module has no spec
        spec = None
    if spec is None:
        raise _not_installed(package)
    folders = [Path(folder) for folder in spec.submodule_search_locations or () if Path(folder).is_dir()]
    if not folders:
        raise LoadError(
            f'"{package}" is a single module, not a package with files beside it',
            help="name the package that ships the model file",
        )
    return folders


def _not_installed(package: str) -> LoadError:
    """The error for a package that cannot be found; distributions are often spelt otherwise than what they install."""
    installs = [
        module
        for module, distributions in importlib.metadata.packages_distributions().items()
        if any(canonical(package) == canonical(distribution) for distribution in distributions)
    ]
    if installs:
        return LoadError(
            f'there is no package "{package}", though a distribution has that name',
            help="it installs " + " and ".join(f'"{module}"' for module in sorted(installs)[:3]),
        )
    return LoadError(
        f'the package "{package}" is not installed',
        help=remedy(f"pip install {canonical(package)}"),
    )


def _missing(source: str, folder: Path, *, package: str = "") -> LoadError:
    where = f'the package "{package}"' if package else str(folder)
    near = _near(source, folder)
    shown = " or ".join(f'"{PACKAGE}{package}/{name}"' if package else f'"{name}"' for name in near)
    fallback = "write the path as it is below that folder, with the same upper and lower case"
    return LoadError(f'there is no "{source}" in {where}', help=f"did you mean {shown}?" if near else fallback)


def _near(source: str, folder: Path) -> list[str]:
    """Paths below `folder` that look like `source`, or end in the same file name."""
    paths = list(_walk(folder))
    same_name = [path for path in paths if PurePosixPath(path).name == PurePosixPath(source).name]
    close = difflib.get_close_matches(source, paths, n=3, cutoff=0.6)
    suffix = PurePosixPath(source).suffix
    same_kind = [path for path in paths if suffix and PurePosixPath(path).suffix == suffix]
    return list(dict.fromkeys([*same_name, *close, *same_kind]))[:3]


def _walk(folder: Path) -> Iterator[str]:
    """Files below `folder` as relative posix paths, hidden and cached ones left out."""
    seen = 0
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__")))
        for name in sorted(files):
            if name.startswith("."):
                continue
            yield (Path(parent) / name).relative_to(folder).as_posix()
            seen += 1
            if seen >= _LOOKED_AT:
                return

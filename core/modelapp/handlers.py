"""Functions and classes of the app's own Python files, named "file.py:name": found by syntax tree, loaded by import."""

import ast
import importlib.util
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any, Literal

import attrs

from modelapp.enclosure import remedy
from modelapp.errors import HandlerError
from modelapp.suggestions import did_you_mean

_PREFIX = "modelapp_app_"
_lock = threading.RLock()
_roots: set[Path] = set()
"""The folders of all apps that this process has imported files of."""


@attrs.frozen(kw_only=True)
class Definition:
    """A name at the top level of a file. "other": it is imported or assigned, so its parameters cannot be told."""

    name: str
    kind: Literal["function", "class", "other"]
    line: int
    parameters: tuple[str, ...] = ()
    """Those that can be given by position; of a class, those of its `__init__` after self."""
    required: int = 0
    """How many of them have no default."""
    variadic: bool = False
    keyword_only: tuple[str, ...] = ()
    """Those without a default that can only be given by name."""
    is_async: bool = False

    def takes(self, count: int) -> bool:
        """Whether it can be called with so many positional arguments."""
        if self.kind == "other":
            return True
        fits = self.required <= count and (self.variadic or count <= len(self.parameters))
        return fits and not self.keyword_only


def split_ref(ref: str) -> tuple[str, str] | None:
    """The file and the name of "file.py:name"; None for anything else."""
    file, colon, name = ref.rpartition(":")
    return (file, name) if colon and file.endswith(".py") and name.isidentifier() else None


def find(root: Path, ref: str) -> Definition:
    """What "file.py:name" names, without importing it. Raises HandlerError: no such file or name, or broken syntax."""
    file, name = _parts(ref)
    found = definitions(root, file)
    if name in found:
        return found[name]
    advice = did_you_mean(name, found, otherwise=f"it defines: {', '.join(found) or 'nothing'}")
    raise HandlerError(f'{file} has no function or class "{name}"', place=file, help=advice)


def definitions(root: Path, file: str) -> Mapping[str, Definition]:
    """Everything that a file defines at its top level. Raises HandlerError where there is no such file or syntax."""
    path = _file(root, file)
    try:
        stat = path.stat()
        return _definitions(path, stat.st_mtime_ns, stat.st_size)
    except SyntaxError as error:
        place = f"{file}:{error.lineno or 1}"
        raise HandlerError(f"{type(error).__name__}: {error.msg}", place=place) from error
    except (OSError, ValueError) as error:  # ValueError: bytes that are not UTF-8, or null bytes
        raise HandlerError(f"{file} cannot be read: {error}", place=file) from error


def load(root: Path, ref: str) -> Callable[..., Any]:
    """Import the file of "file.py:name" once and give what it names.

    Raises HandlerError whose message is the last line of the file's own traceback and whose place is file:line in it.
    """
    file, name = _parts(ref)
    module = _module(root.resolve(), file)
    loaded = getattr(module, name, None)
    if loaded is None:
        find(root, ref)  # says what it defines, and raises where the syntax tree has no such name either
        raise HandlerError(f"{file} does not define {name} when it is imported", place=file)
    if not callable(loaded):
        raise HandlerError(f"{name} in {file} is no function or class", place=file)
    return loaded  # type: ignore[no-any-return] # getattr is open by nature


def _parts(ref: str) -> tuple[str, str]:
    parts = split_ref(ref)
    if parts is None:
        raise HandlerError(f'"{ref}" names no function', place=ref, help='write "file.py:function"')
    return parts


def _file(root: Path, file: str) -> Path:
    """The path of a file below the app's folder."""
    pure = PurePosixPath(file)
    if pure.is_absolute() or ".." in pure.parts or "\\" in file:
        raise HandlerError(f"{file} must lie in the app's folder", place=file, help="use a path beside app.toml")
    path = root / pure
    if not path.is_file():
        near = did_you_mean(file, [path.name for path in root.glob("*.py")], otherwise=f"create {file}")
        raise HandlerError(f"there is no {file} beside app.toml", place=file, help=near)
    return path


@lru_cache(maxsize=32)
def _definitions(path: Path, mtime_ns: int, size: int) -> Mapping[str, Definition]:
    return dict(_defined(ast.parse(path.read_bytes(), str(path)).body))


def _defined(body: list[ast.stmt]) -> Iterator[tuple[str, Definition]]:
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name, _function(node)
        elif isinstance(node, ast.ClassDef):
            yield node.name, _class(node)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            for alias in node.names:
                name = (alias.asname or alias.name).split(".")[0]
                yield name, Definition(name=name, kind="other", line=node.lineno)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                if isinstance(target, ast.Name):
                    yield target.id, Definition(name=target.id, kind="other", line=node.lineno)
        elif isinstance(node, (ast.If, ast.Try, ast.With)):
            for block in ("body", "orelse", "finalbody"):
                yield from _defined(getattr(node, block, []))
            for handler in getattr(node, "handlers", []):
                yield from _defined(handler.body)


def _function(node: "ast.FunctionDef | ast.AsyncFunctionDef", *, bound: bool = False) -> Definition:
    names = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args)]
    skipped = 1 if bound and names else 0
    pairs = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
    return Definition(
        name=node.name,
        # A decorator may change what the function takes.
        kind="other" if node.decorator_list and not bound else "function",
        line=node.lineno,
        parameters=tuple(names[skipped:]),
        required=max(len(names) - len(node.args.defaults) - skipped, 0),
        variadic=node.args.vararg is not None,
        keyword_only=tuple(argument.arg for argument, default in pairs if default is None),
        is_async=isinstance(node, ast.AsyncFunctionDef),
    )


def _class(node: ast.ClassDef) -> Definition:
    own = next((one for one in node.body if isinstance(one, ast.FunctionDef) and one.name == "__init__"), None)
    made = _function(own, bound=True) if own else Definition(name=node.name, kind="class", line=node.lineno)
    return attrs.evolve(made, name=node.name, kind="class", line=node.lineno)


def imports(root: Path, file: str) -> frozenset[str]:
    """The app's own Python files that a file imports, and those they import, as paths below `root`.

    Told by the syntax trees; a file that is broken or not there imports nothing.
    """
    found: set[str] = set()
    waiting = [file]
    while waiting:
        for module in _imported(root, waiting.pop()):
            stem = module.replace(".", "/")
            for path in (f"{stem}.py", f"{stem}/__init__.py"):
                if path not in found and (root / path).is_file():
                    found.add(path)
                    waiting.append(path)
    return frozenset(found)


def _imported(root: Path, file: str) -> Iterator[str]:
    """The modules a file names in its import statements, with the packages around them."""
    try:
        tree = ast.parse((root / file).read_bytes(), file)
    except (OSError, SyntaxError, ValueError):
        return
    package = PurePosixPath(file).parent.parts
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            around = package[: len(package) + 1 - node.level] if node.level else ()
            module = ".".join([*around, *([node.module] if node.module else [])])
            names = [module, *(f"{module}.{alias.name}" for alias in node.names)] if module else []
        for name in names:
            parts = name.split(".")
            yield from (".".join(parts[: length + 1]) for length in range(len(parts)))


@contextmanager
def imported_afresh(root: Path) -> Iterator[None]:
    """Within, the app's files are imported again as they are now. Where that raises, the old modules are back."""
    root = root.resolve()
    # A compiled file knows whole seconds, and edits may be quicker.
    written, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    with _lock:
        old = {name: module for name, module in list(sys.modules.items()) if _lies_in(module, root)}
        for name, module in old.items():
            del sys.modules[name]
            if cached := getattr(module, "__cached__", None):
                Path(cached).unlink(missing_ok=True)
        importlib.invalidate_caches()
    try:
        yield
    except BaseException:
        with _lock:
            for name in [name for name, module in list(sys.modules.items()) if _lies_in(module, root)]:
                del sys.modules[name]
            sys.modules.update(old)
        raise
    finally:
        sys.dont_write_bytecode = written


def _module(root: Path, file: str) -> ModuleType:
    import hashlib  # 4 ms, spent only where a file is imported

    path = _file(root, file).resolve()
    # The name is the app's own, so that two apps in one process may both have a handlers.py.
    name = f"{_PREFIX}{hashlib.sha256(str(path).encode()).hexdigest()[:16]}"
    with _lock:
        if name in sys.modules:
            return sys.modules[name]
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise HandlerError(f"{file} is no Python file", place=file)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            with _importing(root):
                spec.loader.exec_module(module)
        except (Exception, SystemExit) as error:
            del sys.modules[name]
            raise _failure(root, file, error) from error
        return module


@contextmanager
def _importing(root: Path) -> Iterator[None]:
    """Files beside app.toml can be imported, and those of another app loaded here do not stand in for them."""
    _roots.add(root)
    others = _roots - {root}
    strangers = {
        name: module
        for name, module in list(sys.modules.items())
        if any(_lies_in(module, other) for other in others) and not name.startswith(_PREFIX)
    }
    for name in strangers:
        del sys.modules[name]
    sys.path.insert(0, str(root))
    try:
        yield
    finally:
        sys.path.remove(str(root))
        # It stays at the end, for imports inside functions.
        if str(root) not in sys.path:
            sys.path.append(str(root))
        for name, module in strangers.items():
            sys.modules.setdefault(name, module)


def _lies_in(module: ModuleType, root: Path) -> bool:
    """Whether it is the app's own: a file below `root`, or a package of such files without one of its own."""
    file = getattr(module, "__file__", None)
    try:
        places = [file] if file else list(getattr(module, "__path__", ()))
    except KeyError:  # the package around it is gone
        return False
    inside = f"{root}/"  # told by its text first: there are thousands of modules
    return any(str(place).startswith(inside) and _is_own(Path(place), root) for place in places)


def _is_own(path: Path, root: Path) -> bool:
    """Whether a file is written for the app, and not installed in a virtual environment that lies in its folder."""
    if not path.is_relative_to(root):
        return False
    folders = path.relative_to(root).parts[:-1]
    return not any(name.startswith(".") or name == "site-packages" for name in folders)


def _failure(root: Path, file: str, error: BaseException) -> HandlerError:
    """What went wrong, without the frames that are not the user's."""
    place = f"{file}:1"
    for frame in traceback.extract_tb(error.__traceback__):
        if Path(frame.filename).is_relative_to(root):
            place = f"{Path(frame.filename).relative_to(root)}:{frame.lineno}"
    if isinstance(error, SyntaxError) and error.filename and Path(error.filename).is_relative_to(root):
        place = f"{Path(error.filename).relative_to(root)}:{error.lineno or 1}"
    lines = traceback.format_exception_only(error)
    advice = ""
    if isinstance(error, ModuleNotFoundError) and error.name:
        bring = remedy(f"install it for {sys.executable}")
        advice = f"{bring}, or put {error.name}.py beside app.toml"
    return HandlerError(lines[-1].strip(), place=place, help=advice)

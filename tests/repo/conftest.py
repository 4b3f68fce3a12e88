"""What the tests of the repo itself share: where things lie, and the project's metadata."""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("core", "runtimes", "schedulers", "plugins", "conformance")


@pytest.fixture(scope="session")
def root() -> Path:
    """The folder of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def project() -> dict:
    """pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="session")
def packages() -> list[Path]:
    """The import packages, each a folder in a room."""
    return sorted(folder for room in ROOMS for folder in (ROOT / room).glob("modelapp*") if folder.is_dir())


@pytest.fixture(scope="session")
def modules(packages) -> list[Path]:
    """Every module of the product."""
    return sorted(file for package in packages for file in package.rglob("*.py"))


@pytest.fixture(scope="session")
def trees(modules) -> dict[Path, ast.Module]:
    """The syntax tree of every module."""
    return {file: ast.parse(file.read_text()) for file in modules}


@pytest.fixture(scope="session")
def functions():
    """A function that yields the functions and methods below a syntax tree, nested ones included."""

    def of(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
        return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))

    return of

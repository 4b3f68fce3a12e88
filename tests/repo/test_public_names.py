"""The public names are pinned, and each says what it is."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import modelapp

PUBLIC = [
    "Arrays",
    "Artefact",
    "Availability",
    "BadRequest",
    "Call",
    "Cancelled",
    "DeadlineExceeded",
    "Forbidden",
    "HandlerError",
    "Host",
    "HttpRequest",
    "HttpResponse",
    "HttpStream",
    "InvalidInput",
    "LoadError",
    "LoadedModel",
    "ModelAppError",
    "ModelDied",
    "ModelFailed",
    "ModelRun",
    "ModelService",
    "NoOptions",
    "NotFound",
    "NotReady",
    "Observer",
    "OutOfMemory",
    "Placement",
    "PluginError",
    "ProtocolRoutes",
    "QueueFull",
    "RateLimited",
    "RawOptions",
    "Readiness",
    "Records",
    "Replica",
    "ReplicaState",
    "RequestError",
    "Route",
    "Rows",
    "Run",
    "Runtime",
    "RuntimeSpec",
    "Scheduler",
    "SchedulerSpec",
    "Service",
    "SideServer",
    "Signature",
    "TensorSpec",
    "TooLarge",
    "Unauthorized",
    "UnsupportedMedia",
    "__version__",
    "hookimpl",
]


def test_the_public_names_are_these():
    """A name that is added here is kept; a name that leaves breaks someone."""
    assert sorted(modelapp.__all__) == sorted(PUBLIC)
    assert sorted(dir(modelapp)) == sorted(PUBLIC)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_can_be_imported(name):
    """The lists behind the lazy import agree."""
    assert getattr(modelapp, name) is not None


def test_an_unknown_name_is_an_attribute_error():
    """As with any module."""
    with pytest.raises(AttributeError, match='module "modelapp" has no name "nonsense"'):
        modelapp.nonsense  # noqa: B018 - the access is the test


def test_every_public_thing_has_a_docstring(trees, root):
    """Modules, classes, functions and methods whose names do not start with an underscore."""
    missing = []
    for file, tree in trees.items():
        for where, node in _public(tree, file.relative_to(root).as_posix()):
            if ast.get_docstring(node) is None:
                missing.append(where)
    assert missing == []


def test_every_function_is_fully_typed(trees, functions, root):
    """Arguments and result, private ones and nested ones too."""
    untyped = []
    for file, tree in trees.items():
        for node in functions(tree):
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            bare = [argument.arg for argument in arguments if argument.annotation is None]
            if node.returns is None or set(bare) - {"self", "cls"}:
                untyped.append(f"{file.relative_to(root)}:{node.lineno} {node.name}")
    assert untyped == []


def test_the_typed_interface_is_what_its_users_see(root):
    """tests/typed_api is checked, never run."""
    folder = root / "tests" / "typed_api"
    program = Path(sys.executable).with_name("mypy")
    done = subprocess.run([program, "--strict", folder], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def _public(node, where):
    yield where, node
    for child in node.body:
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not child.name.startswith("_"):
            place = f"{where}:{child.lineno} {child.name}"
            if isinstance(child, ast.ClassDef):
                yield from _public(child, place)
            elif not any(isinstance(mark, ast.Name) and mark.id == "overload" for mark in child.decorator_list):
                yield place, child

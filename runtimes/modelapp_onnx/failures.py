"""What ONNX Runtime's exceptions say, in one line and in the product's own error classes."""

import re
from importlib.metadata import version
from pathlib import Path

from modelapp.errors import Cancelled, LoadError, ModelFailed, OutOfMemory, RequestError, is_out_of_memory
from modelapp.modelfile import head
from modelapp.runtime import Artefact, Run

_PREFIX = re.compile(r"\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : ")
_SOURCE = re.compile(r"\S*\.(?:cc|h|cpp):\d+ ")
_NODE = re.compile(
    r"Non-zero status code returned while running (?P<op>\w+) node\. Name:'(?P<name>[^']*)' Status Message: (?P<why>.*)"
)
_FUNCTION = re.compile(r"^[\w:~<>*&, ]*\([^)]*\)(?: const)? ")


def reason(error: BaseException) -> str:
    """The library's own words on one line, without codes, source lines and C++ names."""
    text = " ".join(str(error).split())
    text = _PREFIX.sub("", text)
    if node := _NODE.search(text):
        why = _FUNCTION.sub("", _SOURCE.sub("", node["why"]))
        named = f' "{node["name"]}"' if node["name"] else ""
        return f"{node['op']} node{named}: {why}"
    return _SOURCE.sub("", text) or type(error).__name__


def run_failure(error: Exception, run: Run) -> RequestError:
    """The outcome of a run that raised `error`: stopped, out of memory, or the model's fault."""
    if run.cancelled:
        return Cancelled("the run was stopped before it ended")
    if is_out_of_memory(error):
        return OutOfMemory(f"a run over {run.rows} row{'s' * (run.rows != 1)} did not fit into memory: {reason(error)}")
    return ModelFailed(f"ONNX Runtime: {reason(error)}")


def load_failure(error: Exception, artefact: Artefact) -> LoadError:
    """The error for a file that ONNX Runtime refused; what the file is instead is said where that can be seen."""
    path = artefact.source
    why = reason(error).replace(f"Load model from {path} failed:", "").rstrip(".")
    return LoadError(f"{path} cannot be loaded: {why}", model=artefact.name, help=_fix(artefact, why))


def check_file(artefact: Artefact) -> None:
    """Raise LoadError where the source is plainly no ONNX file, in words that the library does not have."""
    path = artefact.source
    if artefact.symbol:
        raise LoadError(
            f"{path}:{artefact.symbol} is a Python class, which the onnx runtime cannot open",
            model=artefact.name,
            help='runtime = "python", or name an .onnx file',
        )
    if path.is_dir():
        raise _no_file(f"{path} is a folder, not a model file", artefact)
    head(path, artefact.name)


def main_file(artefact: Artefact, name: str) -> Path:
    """The file `name` of the folder that is the source, or the source where it is a file. Raises LoadError."""
    path = artefact.source
    if not path.is_dir():
        return path
    if not (path / name).is_file():
        raise _no_file(f"{path} holds no {name}", artefact)
    return path / name


def _no_file(why: str, artefact: Artefact) -> LoadError:
    """The error for a folder where a file is needed: which one to name, or what makes one."""
    folder, name = artefact.source, artefact.name
    found = sorted(path.relative_to(folder).as_posix() for path in (*folder.glob("*.onnx"), *folder.glob("*/*.onnx")))
    if found:
        fix = f"name the file in that folder as source: {', '.join(found[:5])}{', ...' if len(found) > 5 else ''}"
    elif (folder / "config.json").is_file() and artefact.task:
        fix = f'set runtime = "torch", which opens such a folder, and write it anew: modelapp export {name} --to onnx'
    elif (folder / "config.json").is_file():
        fix = 'runtime = "torch" and a `task` open such a folder'
    else:
        fix = "name the file in that folder"
    return LoadError(why, model=name, help=fix)


def _fix(artefact: Artefact, why: str) -> str:
    with artefact.source.open("rb") as file:
        head = file.read(8)
    kinds = {b"PK\x03\x04": "a zip archive (a PyTorch checkpoint is one)", b"\x89PNG": "a PNG image", b"GGUF": "GGUF"}
    known = next((kind for magic, kind in kinds.items() if head.startswith(magic)), "")
    if known:
        return f"the file is {known}; export the model to ONNX"
    if "protobuf" in why.lower():
        return "check that it is an ONNX model and that its copy is complete (compare size and digest)"
    return f"export the model for onnxruntime {version('onnxruntime')}, or install the version it was made for"

"""Writes models of the torch runtime as ONNX: those over tensors here, those that generate by `onnxgraph`."""

import contextlib
import importlib.util
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import torch

from modelapp.errors import LoadError
from modelapp.runtime import Artefact, Placement
from modelapp.signature import Signature, TensorSpec
from modelapp.tasks import TASKS
from modelapp.trialrows import made_up, trials
from modelapp_torch import Options
from modelapp_torch.failures import reason
from modelapp_torch.outputs import named
from modelapp_torch.program import Program
from modelapp_torch.quiet import quietly
from modelapp_torch.tensors import TensorModel, load_tensors

FORMATS = ("onnx",)
_INLINE_BYTES = 1_500_000_000
"""Larger weights lie beside the file: a protobuf message holds 2 GB at most."""
_SCRIPT_OPSET = 17
"""The newest opset that the TorchScript exporter writes all of."""
_TEXT_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "generation_config.json",
)


def export(artefact: Artefact, options: Options, placement: Placement, target: Path, format: str) -> Sequence[str]:
    """Write the model into the empty folder `target`; notes. Raises LoadError."""
    _check(artefact, options, format)
    if not artefact.task:
        return _export_tensors(artefact, options, placement, target / "model.onnx")
    if artefact.task != "text-generation":
        generates = TASKS[artefact.task].generates
        raise LoadError(
            f'models.{artefact.name}: a model with task = "{artefact.task}" cannot be exported',
            model=artefact.name,
            help="serve it with the torch runtime"
            if generates
            else "its forward pass can be, as a model over tensors: a class in handlers.py without `task`, with what"
            " the task does before and after it in functions",
        )
    return _export_generating(artefact, options, placement, target)


def _check(artefact: Artefact, options: Options, format: str) -> None:
    if format not in FORMATS:
        raise LoadError(f'the torch runtime does not export to "{format}"', help=f"it does to {', '.join(FORMATS)}")
    for package in ("onnx", "onnxscript"):
        if importlib.util.find_spec(package) is None:
            raise LoadError(
                f"exporting needs the package {package}", model=artefact.name, help="pip install 'modelapp[export]'"
            )
    if options.quantize != "off":
        raise LoadError(
            f'models.{artefact.name}.torch.quantize = "{options.quantize}" cannot be exported',
            model=artefact.name,
            help=f"modelapp export {artefact.name} --precision int8"
            f" --set 'models.{artefact.name}.torch.quantize=\"off\"'",
        )


def _export_generating(artefact: Artefact, options: Options, placement: Placement, target: Path) -> Sequence[str]:
    import transformers

    from modelapp_torch.architectures import class_for
    from modelapp_torch.modelfolder import opened
    from modelapp_torch.onnxgraph import export_generating
    from modelapp_torch.pretrained import load_part, load_pretrained

    folder = opened(artefact)
    kind = transformers.AutoModelForCausalLM if folder.gguf else class_for(folder, artefact.task)
    loaded = load_pretrained(folder, kind, attrs.evolve(options, dtype="float32"), placement)
    try:
        notes = list(export_generating(loaded.model, target))
    except LoadError as error:
        raise LoadError(f"{folder.path}: {error.message}", model=artefact.name, help=error.help) from error
    if folder.gguf or not (folder.path / "tokenizer.json").is_file():
        load_part(folder, transformers.AutoTokenizer, "tokenizer").save_pretrained(target)
    else:
        for name in _TEXT_FILES:
            if (folder.path / name).is_file():
                shutil.copyfile(folder.path / name, target / name)
    loaded.model.config.save_pretrained(target)
    if options.dtype != "float32":
        notes.append("the export computes in float32")
    return [*loaded.notes, _described(target / "model.onnx", "torch.export"), *notes]


def _export_tensors(artefact: Artefact, options: Options, placement: Placement, path: Path) -> Sequence[str]:
    model = load_tensors(artefact, attrs.evolve(options, compile="off"), placement)
    if not isinstance(model.program.target, torch.nn.Module):
        raise LoadError(
            f"{model.program.where} is machine code, which cannot be exported",
            model=artefact.name,
            help="export the class or the program that it was compiled from",
        )
    example = _example(model)
    if example is None:
        raise LoadError(
            f"{model.program.where} runs over no made-up input, so there is no example to export it by",
            model=artefact.name,
        )
    names = _Names(model.signature, example)
    whole = _Whole(model.program, [spec.name for spec in model.signature.inputs], names.outputs)
    large = sum(weight.nbytes for weight in model.program.target.parameters()) > _INLINE_BYTES
    scripted = isinstance(model.program.target, torch.jit.ScriptModule)
    failures: list[Exception] = []
    ways: list[tuple[str, Callable[[], Any]]] = [
        ("torch.export", lambda: _by_export(whole, example, names, path, names.named(), large=large)),
        ("torch.export", lambda: _by_export(whole, example, names, path, names.loose(), large=large)),
        ("TorchScript", lambda: _by_script(whole, example, names, path)),
    ]
    for exporter, way in ways[2 * scripted :]:
        try:
            with quietly():
                way()
        except Exception as error:  # whatever the exporters make of a model's code
            failures.append(error)
            continue
        note = [f"torch.export could not: {_cause(failures[0])}"] if failures and exporter == "TorchScript" else []
        return [_described(path, exporter), *note]
    raise LoadError(
        f"{model.program.where} cannot be exported: {_cause(failures[0])}",
        model=artefact.name,
        help="what the exporters refuse is often code that looks at values, as `if x.sum() > 0`; -vv shows all",
    ) from failures[0]


class _Whole(torch.nn.Module):
    """The program as a module: tensors in the signature's order in, a tuple in that of its outputs out."""

    def __init__(self, program: Program, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        super().__init__()
        self.target = program.target
        self._program, self._inputs, self._outputs = program, inputs, outputs
        self.training = False  # not by eval(): the target is in that mode, and an exported program cannot be told

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """As `TensorModel.infer` runs it."""
        floats = self._program.floats
        cast = [one.to(floats) if floats is not None and one.is_floating_point() else one for one in tensors]
        answer = named(self._program.run(dict(zip(self._inputs, cast, strict=True))), self._outputs)
        return tuple(answer[name] for name in self._outputs)


def _example(model: TensorModel) -> tuple[torch.Tensor, ...] | None:
    """Two rows that the model runs over: sizes of 1 would be taken for fixed. None where nothing runs."""
    for trial in trials(model.signature):
        if 1 in trial.sizes.values():
            continue
        first = made_up(model.signature, trial)
        arrays = first
        if model.signature.batched:
            second = made_up(model.signature, trial, 1)
            arrays = {
                name: torch.cat([torch.from_numpy(array), torch.from_numpy(second[name])]).numpy()
                for name, array in first.items()
            }
        with contextlib.suppress(Exception):
            model.trial(arrays)
            return tuple(torch.from_numpy(array).to(model.program.device) for array in arrays.values())
    return None


class _Names:
    """The names of inputs, outputs and open dimensions."""

    def __init__(self, signature: Signature, example: Sequence[torch.Tensor]) -> None:
        self._signature = signature
        self.inputs = [spec.name for spec in signature.inputs]
        self.outputs = [spec.name for spec in signature.outputs]
        self.axes = {spec.name: dict(self._axes(spec)) for spec in (*signature.inputs, *signature.outputs)}

    def _axes(self, spec: TensorSpec) -> Iterator[tuple[int, str]]:
        """The open axes; the row axis of a batched signature is one, whatever it is called."""
        for axis, dim in enumerate(spec.shape):
            if self._signature.batched and not axis:
                yield axis, dim if isinstance(dim, str) else "batch"
            elif not isinstance(dim, int):
                yield axis, dim or f"{spec.name}_{axis}"

    def named(self) -> Any:
        """Each open dimension as a named one, shared where the signature shares it."""
        dims: dict[str, Any] = {}
        return self._shapes(lambda name: dims.setdefault(name, torch.export.Dim(name)))

    def loose(self) -> Any:
        """The same, where the exporter itself finds out how they hang together."""
        return self._shapes(lambda name: name)

    def _shapes(self, made: Callable[[str], Any]) -> Any:
        return (tuple({axis: made(dim) for axis, dim in self.axes[name].items()} for name in self.inputs),)


def _by_export(
    whole: torch.nn.Module, example: tuple[torch.Tensor, ...], names: _Names, path: Path, shapes: Any, *, large: bool
) -> None:
    torch.onnx.export(
        whole,
        example,
        path,
        dynamo=True,
        dynamic_shapes=shapes,
        input_names=names.inputs,
        output_names=names.outputs,
        external_data=large,
        verbose=False,
    )


def _by_script(whole: torch.nn.Module, example: tuple[torch.Tensor, ...], names: _Names, path: Path) -> None:
    inputs, module, target = names.inputs, whole, whole.target
    if isinstance(target, torch.jit.ScriptModule):  # it cannot be traced from outside, and needs no trace
        module = target
        forward: Any = target.forward
        takes = [one.name for one in forward.schema.arguments]
        given = dict(zip(inputs, example, strict=True))
        inputs = sorted(inputs, key=takes.index)
        example = tuple(given[name] for name in inputs)
    torch.onnx.export(
        module,
        example,
        path,
        dynamo=False,
        dynamic_axes={name: axes for name, axes in names.axes.items() if axes},
        input_names=inputs,
        output_names=names.outputs,
        opset_version=_SCRIPT_OPSET,
        verbose=False,
    )


def _described(path: Path, exporter: str) -> str:
    """Write into the file what made it; the same as a note."""
    import onnx

    model = onnx.load(path, load_external_data=False)
    opset = next(one.version for one in model.opset_import if not one.domain)
    facts = {"modelapp.exporter": exporter, "modelapp.opset": str(opset), "modelapp.torch": torch.__version__}
    for key, value in facts.items():
        model.metadata_props.add(key=key, value=value)
    onnx.save(model, path)
    return f"written by {exporter} of torch {torch.__version__}, opset {opset}"


def _cause(error: BaseException) -> str:
    """The innermost cause in one line: the exporters wrap it in pages of advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {text[0].strip()}" if text[0].strip() else reason(error)

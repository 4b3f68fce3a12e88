"""Smaller, less precise models: matrices of weights as 8 bit numbers, with a scale for each of their columns."""

import importlib.util
import json
import logging
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from modelapp.errors import LoadError
from modelapp_onnx.blockwise import generates, write_blockwise
from modelapp_onnx.failures import reason
from modelapp_onnx.generationfacts import METADATA

PRECISIONS = ("int8",)
MAIN_FILE = "model.onnx"
_KINDS = ("MatMul", "Gemm", "Gather", "Attention", "LSTM")
"""The operators whose weights are made smaller. Conv is not among them: ONNX Runtime runs an 8 bit convolution whose
inputs are scaled at each run slower than one in float32, or not at all."""
_INLINE_BYTES = 1_500_000_000
"""Larger weights lie beside the file: a protobuf message holds 2 GB at most."""


def quantize(source: Path, target: Path, precision: str) -> Sequence[str]:
    """Write the file `source`, or the folder with a model.onnx, into the folder `target`; notes. Raises LoadError."""
    if precision not in PRECISIONS:
        raise LoadError(f'"{precision}" is no precision', help=f"one of {', '.join(PRECISIONS)}")
    if importlib.util.find_spec("onnx") is None:
        raise LoadError("making a model smaller needs the package onnx", help="pip install 'modelapp[export]'")
    main = source / MAIN_FILE if source.is_dir() else source
    if not main.is_file():
        raise LoadError(f"there is no {MAIN_FILE} in {source}")
    if source.is_dir():
        _copy_rest(source, target)
    before, made = _weight_bytes(main), target / MAIN_FILE
    try:
        with _quietly():
            _write(main, made, large=before > _INLINE_BYTES)
            _label(made, precision)
    except Exception as error:  # whatever the library makes of an odd graph
        raise LoadError(f"{main} cannot be made {precision}: {reason(error)}") from error
    return list(_notes(made, before))


def _write(main: Path, made: Path, *, large: bool) -> None:
    import onnx

    model = onnx.load(main)
    if generates(model):
        write_blockwise(model, made, large=large)
        return
    from onnxruntime.quantization import QuantType, quantize_dynamic  # type: ignore[import-untyped]  # it has no types

    quantize_dynamic(
        main,
        made,
        op_types_to_quantize=list(_KINDS),
        per_channel=True,
        weight_type=QuantType.QInt8,
        use_external_data_format=large,
        extra_options={"MatMulConstBOnly": True},
    )


def _label(made: Path, precision: str) -> None:
    """Let a graph that generates say its precision, among what it says of itself."""
    import onnx

    model = onnx.load(made, load_external_data=False)
    for entry in model.metadata_props:
        if entry.key == METADATA:
            entry.value = json.dumps({**json.loads(entry.value), "precision": precision})
            onnx.save(model, made)


def _copy_rest(source: Path, target: Path) -> None:
    for path in source.iterdir():
        if path.is_file() and not path.name.startswith(MAIN_FILE):
            shutil.copyfile(path, target / path.name)


def _weight_bytes(path: Path) -> int:
    return sum(one.stat().st_size for one in path.parent.glob(f"{path.name}*"))


def _notes(made: Path, before: int) -> Iterator[str]:
    import onnx

    graph: Any = onnx.load(made, load_external_data=False).graph
    kinds = Counter(node.op_type for node in graph.node)
    small = (
        kinds["MatMulInteger"]
        + kinds["DynamicQuantizeLSTM"]
        + kinds["QAttention"]
        + kinds["DequantizeLinear"]
        + kinds["MatMulNBits"]
    )
    if not small:
        raise LoadError("the model has no matrix of weights that could be 8 bit numbers")
    yield f"8 bit weights: {_weight_bytes(made) / 1e6:.3g} MB, before {before / 1e6:.3g} MB"
    if kinds["Conv"]:
        yield f"{kinds['Conv']} convolutions stay as they are"


@contextmanager
def _quietly() -> Iterator[None]:
    """Without the library's advice to prepare the graph by a step of its own, written to the root logger."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)

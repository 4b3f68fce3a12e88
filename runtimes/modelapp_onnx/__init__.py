"""ONNX Runtime as a runtime of modelapp: its options and its record. The library is imported in `runtime.py`."""

import importlib.util
from collections.abc import Iterable
from typing import Literal

import attrs

from modelapp.hookspecs import hookimpl
from modelapp.keys import key
from modelapp.runtime import Availability, Runtime, RuntimeSpec


@attrs.frozen(kw_only=True)
class Options:
    """[models.NAME.onnx]"""

    providers: tuple[str, ...] = key(
        'execution providers in order of preference, e.g. "CPUExecutionProvider"; default: the one of `device`',
        default=(),
    )
    threads: int = key("threads of one run; 0: all that [models.NAME] threads allows", default=0, min=0)
    graph_optimization: Literal["off", "basic", "extended", "all"] = key(
        "how far the graph is rewritten when it is loaded", default="all"
    )
    cache_optimized: bool = key("keep the rewritten graph on disk, so that the next start loads it", default=False)
    arena_shrinkage: bool = key("give memory back after a run larger than the usual ones", default=True)
    batching: Literal["auto", "always", "never"] = key(
        "whether rows of different requests share a run: found by trial runs, taken as the file declares it, or never",
        default="auto",
    )
    optional_inputs: tuple[str, ...] = key(
        "initializers of the graph that a request may replace; every other one is a constant", default=()
    )


def probe() -> Availability:
    """Whether the library is installed, without importing it."""
    if importlib.util.find_spec("onnxruntime") is None:
        return Availability(ok=False, missing="the package onnxruntime", fix="pip install 'modelapp[onnx]'")
    return Availability(ok=True)


def _open() -> Runtime:
    from modelapp_onnx.runtime import OnnxRuntime

    return OnnxRuntime()


SPEC = RuntimeSpec(
    name="onnx",
    open=_open,
    options=Options,
    capabilities=frozenset({"tensors", "cancel", "concurrent", "generate"}),
    environment={"OMP_NUM_THREADS": "{threads}", "OMP_WAIT_POLICY": "PASSIVE"},
    probe=probe,
    numeric_stack=("onnxruntime", "onnxruntime-gpu", "tokenizers"),
    tasks=frozenset({"text-generation"}),
)


@hookimpl
def modelapp_runtimes() -> Iterable[RuntimeSpec]:
    """The runtime "onnx"."""
    return [SPEC]

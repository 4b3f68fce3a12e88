"""PyTorch and transformers as a runtime of modelapp: its options and its record. torch is imported in `runtime.py`."""

import importlib.util
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import attrs

from modelapp.hookspecs import hookimpl
from modelapp.keys import key
from modelapp.runtime import Availability, Runtime, RuntimeSpec
from modelapp.tasks import TASKS


@attrs.frozen(kw_only=True)
class Options:
    """[models.NAME.torch]"""

    architecture: str = key(
        'the class of an installed package whose weights `source` holds, e.g. "package.module:Class"', default=""
    )
    arguments: Mapping[str, Any] = key("keywords for the constructor of the class", factory=dict)
    inputs: Mapping[str, str] = key(
        'input -> "dtype[sizes]", e.g. "float32[batch, 3, 224, 224]"; default: as the program or the class says',
        factory=dict,
    )
    outputs: Mapping[str, str] = key(
        "the same of the outputs, in their order or by their names; default: found by trial runs", factory=dict
    )
    batching: Literal["auto", "always", "never"] = key(
        "whether rows of different requests share a run: found by trial runs, taken as declared, or never",
        default="auto",
    )
    dtype: Literal["float32", "bfloat16", "float16"] = key("the type that the model computes in", default="float32")
    compile: Literal["off", "default"] = key(
        "compile the model when it is loaded: minutes then, and a faster run for some models", default="off"
    )
    threads: int = key("threads of one run; 0: all that [models.NAME] threads allows", default=0, min=0)
    attention: Literal["sdpa", "eager"] = key("which code computes attention in a transformers model", default="sdpa")
    quantize: Literal["off", "int8"] = key(
        "int8: weights of linear layers as 8 bit numbers, activations scaled at each run", default="off"
    )


def probe() -> Availability:
    """Whether the libraries are installed, without importing them."""
    for package in ("torch", "transformers", "safetensors"):
        if importlib.util.find_spec(package) is None:
            return Availability(ok=False, missing=f"the package {package}", fix="pip install 'modelapp[torch]'")
    return Availability(ok=True)


def _open() -> Runtime:
    from modelapp_torch.runtime import TorchRuntime

    return TorchRuntime()


SPEC = RuntimeSpec(
    name="torch",
    open=_open,
    options=Options,
    capabilities=frozenset({"tensors", "records", "generate"}),
    environment={
        "OMP_NUM_THREADS": "{threads}",
        "OMP_WAIT_POLICY": "PASSIVE",
        "AOTI_RUNTIME_CHECK_INPUTS": "1",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "TQDM_DISABLE": "1",  # bars of loads: nobody sees them, and they fill the log
    },
    probe=probe,
    numeric_stack=("torch", "transformers", "tokenizers", "safetensors"),
    tasks=frozenset(TASKS),
)


@hookimpl
def modelapp_runtimes() -> Iterable[RuntimeSpec]:
    """The runtime "torch"."""
    return [SPEC]

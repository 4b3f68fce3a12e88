"""A Python class of the app's own as a model. Its options are the class's own, checked when it is loaded."""

from collections.abc import Iterable

from modelapp.hookspecs import hookimpl
from modelapp.runtime import RawOptions, Runtime, RuntimeSpec


def _open() -> Runtime:
    from modelapp_python.runtime import PythonRuntime

    return PythonRuntime()


SPEC = RuntimeSpec(
    name="python",
    open=_open,
    options=RawOptions,
    capabilities=frozenset({"tensors", "records", "stream"}),
    # What the class imports is unknown here; these are the pools of numpy's, torch's and scikit-learn's libraries.
    environment={
        "OMP_NUM_THREADS": "{threads}",
        "OMP_WAIT_POLICY": "PASSIVE",
        "OPENBLAS_NUM_THREADS": "{threads}",
        "MKL_NUM_THREADS": "{threads}",
    },
    numeric_stack=("numpy",),
    tasks=frozenset({"*"}),
)


@hookimpl
def modelapp_runtimes() -> Iterable[RuntimeSpec]:
    """The runtime "python"."""
    return [SPEC]

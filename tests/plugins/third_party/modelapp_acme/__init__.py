"""The acme runtime: multiplies by a gain."""

from importlib.util import find_spec

import attrs
from modelapp import Availability, RuntimeSpec, hookimpl


@attrs.frozen(kw_only=True)
class Options:
    """[models.NAME.acme]"""

    gain: float = 1.0


def probe():
    """Cheap: looks for the library, does not import it."""
    if find_spec("numpy") is None:
        return Availability(ok=False, missing="the package numpy", fix="pip install numpy")
    return Availability(ok=True)


def open_runtime():
    from modelapp_acme.runtime import AcmeRuntime

    return AcmeRuntime()


@hookimpl
def modelapp_runtimes():
    return [
        RuntimeSpec(
            name="acme",
            open=open_runtime,
            options=Options,
            capabilities=frozenset({"tensors"}),
            environment={"ACME_THREADS": "{threads}"},
            probe=probe,
        )
    ]

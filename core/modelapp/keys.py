"""How a key of app.toml is declared: an attribute of an attrs class, and what the reference, checks and schema say."""

from typing import Any

import attrs


def key(
    doc: str,
    *,
    default: Any = attrs.NOTHING,
    factory: Any = None,
    name: str = "",
    pending: bool = False,
    **bounds: Any,
) -> Any:
    """A key of app.toml: an attribute with its documentation and, for numbers, `min` and `max`.

    `name` is the key where Python has the word for itself. `pending`: read and checked, and not acted on yet.
    """
    metadata = {"doc": doc, **bounds}
    if name:
        metadata["key"] = name
    if pending:
        metadata["pending"] = True
    if factory is not None:
        return attrs.field(factory=factory, metadata=metadata)
    return attrs.field(default=default, metadata=metadata)

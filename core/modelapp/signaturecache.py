"""What is known of a model from when it last ran here: its inputs and outputs, and how long a run took.

A replica writes it once it is ready, `check` reads it, so that nothing is loaded to judge an app file. One small file
a model in the user's cache folder, named by a digest of the model's files, runtime, task, device and options.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import attrs

from modelapp import sources
from modelapp.app import Model
from modelapp.digests import SIGNATURES, Digests, cache_dir
from modelapp.errors import ModelAppError
from modelapp.signature import Signature, TensorSpec

FORMAT = 1
_QUICKLY_READ_BYTES = 8_000_000
"""Files up to this size are read for their digest; of larger ones only a remembered digest counts."""


@attrs.frozen
class Measured:
    """A model as it ran: `run_ms` is the least that a run took, without any waiting; None: not known."""

    signature: Signature
    run_ms: float | None = None


def write(root: Path, model: Model, measured: Measured) -> None:
    """Keep what a model with the files that are there now showed; see `keep`."""
    if (path := place(root, model)) is not None:
        keep(path, measured)


def place(root: Path, model: Model) -> Path | None:
    """Where to keep what a model with the files that are there now shows; None where they cannot be read."""
    return _path(root, model, Digests())


def keep(path: Path, measured: Measured) -> None:
    """Keep what a model showed; a time of before is kept where there is no new one.

    A cache that cannot be written is no reason to stop.
    """
    if measured.run_ms is None and (before := _read(path)) is not None:
        measured = attrs.evolve(measured, run_ms=before.run_ms)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(json.dumps({"format": FORMAT, **attrs.asdict(measured)}), encoding="utf-8")
        draft.replace(path)


def read(root: Path, model: Model) -> Measured | None:
    """What was kept about a model with these very files; None where it never ran here."""
    return known(root, [model]).get(model.name)


def known(root: Path, models: Iterable[Model]) -> dict[str, Measured]:
    """Model name -> what was kept about it, of those that ran here."""
    digests = Digests(most_bytes=_QUICKLY_READ_BYTES)
    found = {}
    for model in models:
        # Of a file that is not there `sources` would look for near names, which takes its time.
        here = "://" not in model.source and not model.source.startswith(sources.PACKAGE)
        if here and not os.path.exists(root / model.source.partition(":")[0]):  # noqa: PTH110 (never raises)
            continue
        path = _path(root, model, digests)
        if path and (one := _read(path)) is not None:
            found[model.name] = one
    return found


def _read(path: Path) -> Measured | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return _measured(found) if found["format"] == FORMAT else None
    except (OSError, ValueError, TypeError, KeyError, ModelAppError):
        return None


def _folder() -> Path:
    return cache_dir() / SIGNATURES


def _path(root: Path, model: Model, digests: Digests) -> Path | None:
    """The file about a model; None where its own files cannot be read."""
    try:
        found = sources.artefact(root, model)
        files = {name: digests.tree(path) for name, path in {"": found.source, **found.files}.items()}
    except (ModelAppError, OSError):
        return None
    digests.save()
    known = [FORMAT, model.runtime, model.task, model.device, found.symbol, repr(model.options), sorted(files.items())]
    return _folder() / f"{hashlib.sha256(json.dumps(known).encode()).hexdigest()[:32]}.json"


def _measured(found: dict[str, Any]) -> Measured:
    signature = found["signature"]
    inputs, outputs = (tuple(map(_tensor, signature[key])) for key in ("inputs", "outputs"))
    run_ms = found["run_ms"]
    known = Signature(inputs, outputs, kind=signature["kind"], batched=signature["batched"])
    return Measured(known, None if run_ms is None else float(run_ms))


def _tensor(found: dict[str, Any]) -> TensorSpec:
    return TensorSpec(found["name"], found["dtype"], tuple(found["shape"]), found["optional"])

"""Optimised graphs kept on disk: rewriting a graph costs about as much as loading it."""

import contextlib
import hashlib
import mmap
import os
import platform
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs

from modelapp.modelfile import sha256_of

# A StringStringEntryProto with the key "location", up to the length of its value (a varint of one or two bytes).
_LOCATION = re.compile(rb"\x0a\x08location\x12(?:([\x00-\x7f])|([\x80-\xff])([\x00-\x7f]))", re.DOTALL)


@attrs.frozen
class GraphCache:
    """The entry of one model, library version, processor and level, in `folder`.

    An entry is one file whose name ends in its own digest, so that a rename publishes it whole and a damaged one is
    seen before it is loaded: a flipped bit in the weights would load, and answer wrongly.
    """

    folder: Path
    key: str

    @classmethod
    def of(cls, model: Path, folder: Path, facts: Sequence[str]) -> "GraphCache":
        """The entry for `model`, its weights in further files included; `facts` are all else that shapes the graph."""
        digest = hashlib.sha256()
        for part in (_processor(), *facts):
            digest.update(part.encode() + b"\0")
        for path in (model, *_external_data(model)):
            digest.update(sha256_of(path).encode())
        return cls(folder, digest.hexdigest()[:32])

    def load(self, create: Callable[[Path], Any]) -> Any:
        """What `create` makes of the entry, or None where there is none; a damaged entry is removed."""
        for path in sorted(self.folder.glob(f"{self.key}-*.onnx")):
            try:
                if path.stem.endswith("-" + sha256_of(path)):
                    return create(path)
            except Exception:  # noqa: S110 -- whatever is wrong with it, the graph is made anew
                pass
            with contextlib.suppress(OSError):
                path.unlink()
        return None

    @contextlib.contextmanager
    def writing(self) -> Iterator[Path]:
        """A path to write a new entry to, published when the block ends; left out where it cannot be written."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".writing-", dir=self.folder) as workshop:
            path = Path(workshop) / "graph.onnx"
            yield path
            if path.is_file():
                path.replace(self.folder / f"{self.key}-{sha256_of(path)}.onnx")


def _external_data(model: Path) -> list[Path]:
    """The files beside `model` that hold weights of its, as its tensors' `external_data` entries name them."""
    names = set()
    with model.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for entry in _LOCATION.finditer(content):
            short, low, high = entry.groups()
            size = short[0] if short else (low[0] & 0x7F) | high[0] << 7
            names.add(os.fsdecode(content[entry.end() : entry.end() + size]))
    return [path for name in sorted(names) if "\0" not in name and (path := model.parent / name).is_file()]


def _processor() -> str:
    """What the processor can do: an optimised graph may use instructions that another one lacks."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    flags = next((line for line in lines if line.lower().startswith(("flags", "features"))), "")
    return platform.machine() + " " + (" ".join(sorted(flags.split()[2:])) or platform.processor())

"""What an exported file says of itself: the shape of its caches, its vocabulary and its bounds."""

import json
from typing import Any

import attrs

from modelapp.errors import LoadError
from modelapp.runtime import Artefact

METADATA = "modelapp.generation"
"""The key of the file's metadata; its value is a JSON object with the fields below."""
VERSION = 1
"""The graph's inputs and outputs as docs/runtimes.md tells them."""
_FLOAT_BYTES = 4


@attrs.frozen(kw_only=True)
class GenerationFacts:
    """A decoder's own bounds. `ends` are the tokens by which it says that it has finished."""

    layers: int
    kv_heads: int
    head_size: int
    vocabulary: int
    context_tokens: int
    """The most tokens of one sequence; 0: the file does not say."""
    chunks: int
    """Sequences that may be fed several tokens in one run."""
    ends: frozenset[int] = frozenset()
    architecture: str = ""
    precision: str = "float32"

    @property
    def token_bytes(self) -> int:
        """Memory for the keys and values of one token."""
        return 2 * self.layers * self.kv_heads * self.head_size * _FLOAT_BYTES


def facts_of(session: Any, artefact: Artefact) -> GenerationFacts:
    """What the file of `session` says. Raises LoadError where it was not exported to generate."""
    told = session.get_modelmeta().custom_metadata_map.get(METADATA)
    if told is None:
        raise LoadError(
            f"{artefact.source} was not made to generate text: it has no metadata {METADATA}",
            model=artefact.name,
            help="write it from the model's own folder: modelapp export MODEL --to onnx",
        )
    try:
        values = json.loads(told)
        version = values.pop("version")
        if version != VERSION:
            raise LoadError(
                f"{artefact.source} has version {version} of the generation graph, and this is version {VERSION}",
                model=artefact.name,
                help="export it again: modelapp export MODEL --to onnx",
            )
        known = {field.name for field in attrs.fields(GenerationFacts)}
        named: dict[str, Any] = {name: value for name, value in values.items() if name in known}
        named["ends"] = frozenset(named.get("ends", ()))
        return GenerationFacts(**named)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise LoadError(
            f"{artefact.source}: its metadata {METADATA} cannot be read: {error}",
            model=artefact.name,
            help="export it again: modelapp export MODEL --to onnx",
        ) from error

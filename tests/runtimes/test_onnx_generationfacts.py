"""What an exported file says of itself, and what is said of files that do not."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from modelapp.errors import LoadError
from modelapp.runtime import Artefact
from modelapp_onnx.generationfacts import METADATA, VERSION, facts_of

ARTEFACT = Artefact("story", Path("story/model.onnx"))
GOOD = {"version": VERSION, "layers": 12, "kv_heads": 12, "head_size": 64, "vocabulary": 50257, "context_tokens": 1024}
GOOD |= {"chunks": 4, "ends": [50256], "architecture": "GPT2LMHeadModel"}


def session(**metadata: str) -> SimpleNamespace:
    """A session whose file has this metadata."""
    return SimpleNamespace(get_modelmeta=lambda: SimpleNamespace(custom_metadata_map=metadata))


def test_reads_what_the_file_says() -> None:
    """Bounds come from the file; a word that a later version adds is passed over."""
    facts = facts_of(session(**{METADATA: json.dumps(GOOD | {"later": 1})}), ARTEFACT)
    assert (facts.layers, facts.vocabulary, facts.context_tokens, facts.ends) == (12, 50257, 1024, {50256})
    assert facts.token_bytes == 2 * 12 * 12 * 64 * 4
    assert facts.precision == "float32"


def test_other_files_are_told_how_they_are_made() -> None:
    """A file without the metadata is refused, and the command that writes one is named."""
    with pytest.raises(LoadError, match="was not made to generate text") as caught:
        facts_of(session(), ARTEFACT)
    assert "modelapp export" in caught.value.help
    assert "story/model.onnx" in caught.value.message


@pytest.mark.parametrize(
    "told",
    ["{", "[]", "{}", json.dumps(GOOD | {"version": VERSION + 1}), json.dumps({"version": VERSION, "layers": 1})],
)
def test_metadata_that_cannot_be_read(told: str) -> None:
    """Damaged, foreign or future metadata is a LoadError that says to export again."""
    with pytest.raises(LoadError, match=r"story/model\.onnx") as caught:
        facts_of(session(**{METADATA: told}), ARTEFACT)
    assert "modelapp export" in caught.value.help

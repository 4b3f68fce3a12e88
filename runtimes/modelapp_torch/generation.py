"""Models that generate, out of a folder of transformers or a GGUF file: loaded, proven, and given to the core."""

from collections.abc import Callable
from typing import Any

import attrs
import transformers

from modelapp.generating import Generates, Text
from modelapp.runtime import Artefact, Placement
from modelapp.signature import Signature
from modelapp.tokenizer import Tokenizer
from modelapp_torch import Options
from modelapp_torch.architectures import class_for
from modelapp_torch.decoderengine import open_decoder
from modelapp_torch.generationproof import step_once
from modelapp_torch.ggufcache import GgufCache
from modelapp_torch.modelfolder import ModelFolder, opened
from modelapp_torch.packedlinear import straighten
from modelapp_torch.placing import threads_of
from modelapp_torch.pretrained import Pretrained, load_part, load_pretrained
from modelapp_torch.program import refuse
from modelapp_torch.quantizing import check_quantize, quantized
from modelapp_torch.sequenceengine import open_sequence
from modelapp_torch.slotengine import Opening, SlotEngine

_GGUF_CLASSES = {
    "text-generation": transformers.AutoModelForCausalLM,
    "text-to-text": transformers.AutoModelForSeq2SeqLM,
}
_OTHER_TOKENIZERS = (
    "vocab.json",
    "vocab.txt",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "source.spm",
)
_OPENED_BY: dict[str, Callable[[Opening], SlotEngine]] = {
    "text-generation": open_decoder,
    "text-to-text": open_sequence,
}
_NOT_HERE = ("architecture", "arguments", "inputs", "outputs", "batching", "compile")
"""Options that a model of steps has no use for."""


@attrs.define
class GeneratingModel:
    """Implements `modelapp.generating.TextModel`."""

    engine: Generates
    text: Text
    device: str
    signature: Signature

    def close(self) -> None:
        """Give memory back."""
        del self.engine


def load_generating(artefact: Artefact, options: Options, placement: Placement) -> GeneratingModel:
    """Load a model that answers token by token. Raises LoadError, also where its answers would be wrong here."""
    refuse(options, artefact, "a model that generates", *_NOT_HERE)
    check_quantize(options, artefact)
    threads = threads_of(artefact, options, placement)
    text, loaded, folder = _loaded(opened(artefact), attrs.evolve(options, quantize="off"), placement)
    opening = Opening(
        folder=folder,
        loaded=loaded,
        placement=placement,
        threads=threads,
        pack=options.quantize == "off" and placement.slots > 1,
    )
    engine = _OPENED_BY[artefact.task](opening)
    if options.quantize == "int8":
        # After the proof, which asks for more than 8 bits can promise: one scale is found for all tokens of a step, so
        # that an answer depends on its neighbours.
        straighten(loaded.model)
        quantized(loaded.model, loaded.device, str(folder.path), artefact)
        step_once(engine, folder, f'models.{artefact.name}.torch.quantize = "int8"')
        engine.forget()
    return GeneratingModel(engine, text, str(loaded.device), Signature(kind="records", notes=loaded.notes))


def _loaded(folder: ModelFolder, options: Options, placement: Placement) -> tuple[Text, Pretrained, ModelFolder]:
    """Tokenizer and model, and the folder that they came from: of a GGUF file what is kept of it, if anything is."""
    cache = GgufCache.of(folder, options, placement)
    kept = None if cache is None else cache.load()
    if cache is None or kept is not None:
        folder = kept or folder
        kind = _GGUF_CLASSES[folder.artefact.task] if folder.gguf else class_for(folder, folder.artefact.task)
        return read_text(folder), load_pretrained(folder, kind, options, placement), folder
    tokenizer = _tokenizer(folder)
    loaded = load_pretrained(folder, _GGUF_CLASSES[folder.artefact.task], options, placement)
    note = cache.keep(loaded.model, tokenizer)
    return _text_of(tokenizer, folder), attrs.evolve(loaded, notes=(*loaded.notes, note)), folder


def read_text(folder: ModelFolder) -> Text:
    """The tokenizer: tokenizer.json as it is, or else what transformers makes of the other files. Raises LoadError."""
    if not folder.gguf and (folder.path / "tokenizer.json").is_file():
        return Tokenizer.from_folder(folder.path)
    if not folder.gguf and not any((folder.path / name).is_file() for name in _OTHER_TOKENIZERS):
        raise folder.failure(  # transformers would make one up that knows no word
            "it holds no tokenizer (tokenizer.json)",
            help="copy the tokenizer's files beside config.json, as save_pretrained() of the tokenizer writes them",
        )
    return _text_of(_tokenizer(folder), folder)


def _tokenizer(folder: ModelFolder) -> Any:
    return load_part(folder, transformers.AutoTokenizer, "tokenizer")


def _text_of(found: Any, folder: ModelFolder) -> Text:
    """What transformers made, as the core reads it. Raises LoadError."""
    backend = getattr(found, "backend_tokenizer", None)
    if backend is None:
        raise folder.failure(
            f"its tokenizer, {type(found).__name__}, has no tokenizer.json and cannot be made one",
            help="save it as tokenizer.json, by the package tokenizers",
        )
    special = {name: str(text) for name, text in found.special_tokens_map.items() if isinstance(text, str)}
    return Tokenizer(backend, chat_template=found.chat_template or "", special=special)

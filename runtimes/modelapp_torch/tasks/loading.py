"""From a folder and the word of a task to a model over records."""

from collections.abc import Callable, Mapping
from typing import Any

from modelapp.errors import LoadError
from modelapp.runtime import Artefact, Placement
from modelapp_torch import Options
from modelapp_torch.modelfolder import opened
from modelapp_torch.placing import keep_to, threads_of
from modelapp_torch.program import refuse
from modelapp_torch.tasks.adapter import Adapter, TaskModel
from modelapp_torch.tasks.embeddings import Embeddings
from modelapp_torch.tasks.image_classification import ImageClassification
from modelapp_torch.tasks.object_detection import ObjectDetection
from modelapp_torch.tasks.speech_to_text import hearing
from modelapp_torch.tasks.text_to_speech import speaking
from modelapp_torch.tasks.token_classification import TokenClassification

ADAPTERS: Mapping[str, Callable[[Any, Options, Placement], Adapter]] = {
    "embeddings": Embeddings,
    "image-classification": ImageClassification,
    "object-detection": ObjectDetection,
    "token-classification": TokenClassification,
    "text-to-speech": speaking,
    "speech-to-text": hearing,
}
"""Task -> what adapts a folder to it."""
_SPEECH = ("text-to-speech", "speech-to-text")


def load_task(artefact: Artefact, options: Options, placement: Placement) -> TaskModel:
    """Open the folder for `artefact.task`. Raises LoadError, naming the file, the reason and the fix."""
    refuse(
        options, artefact, "a folder served by its task", "architecture", "arguments", "inputs", "outputs", "batching"
    )
    if artefact.task in _SPEECH:
        refuse(options, artefact, f'task = "{artefact.task}", whose loops are Python', "compile")
    threads = threads_of(artefact, options, placement)
    keep_to(threads)
    folder = opened(artefact)
    if folder.gguf:
        raise LoadError(
            f'{artefact.source}: a GGUF file holds a text model, which does not fit task = "{artefact.task}"',
            model=artefact.name,
            help='task = "text-generation"',
        )
    model = TaskModel(ADAPTERS[artefact.task](folder, options, placement), threads)
    if options.compile != "off":
        model.compile(artefact.name)
    return model

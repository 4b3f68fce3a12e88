"""Text to speech: which of the two ways a folder's model speaks."""

from modelapp.runtime import Placement
from modelapp_torch import Options
from modelapp_torch.architectures import class_for
from modelapp_torch.modelfolder import ModelFolder
from modelapp_torch.tasks.adapter import Adapter
from modelapp_torch.tasks.speecht5 import SpeechT5
from modelapp_torch.tasks.vits import Vits


def speaking(folder: ModelFolder, options: Options, placement: Placement) -> Adapter:
    """VITS, or SpeechT5 with its vocoder. Raises LoadError for any other."""
    kind = class_for(folder, "text-to-speech")
    if kind.__name__ == "VitsModel":
        return Vits(folder, kind, options, placement)
    if kind.__name__ == "SpeechT5ForTextToSpeech":
        return SpeechT5(folder, kind, options, placement)
    raise folder.failure(
        f'task = "text-to-speech" adapts VITS and SpeechT5, and this is {kind.__name__}',
        help="name such a folder, or serve the model by a class of your own",
    )

"""Speech to text: which of the two ways a folder's model writes down what it hears."""

from modelapp.runtime import Placement
from modelapp_torch import Options
from modelapp_torch.architectures import class_for
from modelapp_torch.modelfolder import ModelFolder
from modelapp_torch.tasks.adapter import Adapter
from modelapp_torch.tasks.ctc import Ctc
from modelapp_torch.tasks.whisper import Whisper


def hearing(folder: ModelFolder, options: Options, placement: Placement) -> Adapter:
    """Whisper, or a model that names a letter for every moment (CTC). Raises LoadError for any other."""
    kind = class_for(folder, "speech-to-text")
    if kind.__name__ == "WhisperForConditionalGeneration":
        return Whisper(folder, kind, options, placement)
    if kind.__name__.endswith("ForCTC"):
        return Ctc(folder, kind, options, placement)
    raise folder.failure(
        f'task = "speech-to-text" adapts Whisper and models for CTC, and this is {kind.__name__}',
        help="name such a folder, or serve the model by a class of your own",
    )

"""The engine of encoder-decoder models: a source text is read at admission, and the decoder writes from its start."""

from modelapp.generating import Generates
from modelapp.runtime import Placement
from modelapp_torch.generationproof import refusal
from modelapp_torch.modelfolder import ModelFolder
from modelapp_torch.pretrained import Pretrained


def open_sequence(folder: ModelFolder, loaded: Pretrained, placement: Placement, threads: int) -> Generates:
    """The engine of a loaded model. Raises LoadError."""
    raise refusal(folder, "encoder-decoder models have no engine yet")

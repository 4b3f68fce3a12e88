"""PyTorch behind the contract of a runtime: by its task or its files a model becomes tensors, records or text."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from modelapp.generating import TextModel
from modelapp.runtime import Artefact, LoadedModel, Placement
from modelapp.signature import Signature
from modelapp.tasks import TASKS


class TorchRuntime:
    """Opens classes with their weights, programs, and folders of transformers by task."""

    def describe(self, artefact: Artefact, options: Any) -> Signature | None:
        """What a task says; None where only loading can tell."""
        return Signature(kind="records") if artefact.task else None

    def load(self, artefact: Artefact, options: Any, placement: Placement) -> LoadedModel | TextModel:
        """Load for `placement`. Raises LoadError, naming file and reason."""
        return _loader(artefact)(artefact, options, placement)

    formats = ("onnx",)

    def export(
        self, artefact: Artefact, options: Any, placement: Placement, target: Path, format: str
    ) -> Sequence[str]:
        """Write the model into the empty folder `target`, as `modelapp.runtime.Exports` says. Raises LoadError."""
        from modelapp_torch.export import export

        return export(artefact, options, placement, target, format)


def _loader(artefact: Artefact) -> Callable[[Artefact, Any, Placement], LoadedModel | TextModel]:
    # Each is imported where it is needed: transformers takes seconds.
    if not artefact.task:
        from modelapp_torch.tensors import load_tensors

        return load_tensors
    if TASKS[artefact.task].generates:
        from modelapp_torch.generation import load_generating

        return load_generating
    from modelapp_torch.tasks import load_task

    return load_task

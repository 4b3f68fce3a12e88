"""Folders of transformers by their task: records in, records out, the rows of a batch through the model together."""

from modelapp_torch.tasks.loading import load_task

__all__ = ["load_task"]

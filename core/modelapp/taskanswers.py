"""What a model over records answered, row by row: an answer, a failure in its place, or less than its task says."""

from collections.abc import Sequence
from typing import Any

from modelapp.errors import ModelFailed
from modelapp.tasks import TASKS


class AnswerCheck:
    """Looks at the answers of the model `name`, whose task is `task` or ""."""

    def __init__(self, name: str, task: str) -> None:
        self._name, self._task = name, task
        found = TASKS.get(task)
        # A class of the app's own that generates may leave it at the text.
        self._keys = () if found is None else ("text",) if found.generates else tuple(found.gives)

    def fault(self, records: Sequence[Any]) -> Exception | None:
        """The first failure among the answers of a request: one that the model put there, or a missing key."""
        for record in records:
            if isinstance(record, Exception):
                return record
            for key in self._keys:
                if key not in record:
                    return ModelFailed(
                        f'model "{self._name}" answered without "{key}", which task = "{self._task}" gives'
                    )
        return None

"""What a model over records answered, row by row."""

from collections.abc import Mapping
from typing import Any

import pytest

from modelapp.errors import InvalidInput, ModelFailed
from modelapp.taskanswers import AnswerCheck
from modelapp.tasks import TASKS


@pytest.mark.parametrize("task", [name for name, task in TASKS.items() if not task.generates])
def test_each_key_of_the_task_must_be_there(task: str) -> None:
    """An answer with every key is right, and without any one of them the model failed, which is named."""
    check = AnswerCheck("m", task)
    whole: Mapping[str, Any] = dict.fromkeys(TASKS[task].gives)

    assert check.fault([whole, {**whole, "more": 1}]) is None
    for key in whole:
        fault = check.fault([whole, {name: value for name, value in whole.items() if name != key}])
        assert isinstance(fault, ModelFailed)
        assert fault.message == f'model "m" answered without "{key}", which task = "{task}" gives'


def test_a_class_that_generates_needs_the_text_alone() -> None:
    """Tokens and choices are the core's to tell; a class of the app's own may not know them."""
    assert AnswerCheck("m", "text-generation").fault([{"text": "so"}]) is None
    assert isinstance(AnswerCheck("m", "text-generation").fault([{"answer": "so"}]), ModelFailed)


def test_without_a_task_any_keys_will_do() -> None:
    """What the keys are is then the app's to say."""
    assert AnswerCheck("m", "").fault([{}, {"y": 1}]) is None


@pytest.mark.parametrize("task", ["", "embeddings"])
def test_a_failure_in_place_of_an_answer_is_the_request_s(task: str) -> None:
    """The first one counts."""
    first, second = InvalidInput("too long", field="text"), InvalidInput("too short")
    whole = dict.fromkeys(TASKS["embeddings"].gives)
    assert AnswerCheck("m", task).fault([whole, first, second]) is first

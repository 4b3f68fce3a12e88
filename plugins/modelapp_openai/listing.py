"""The models of an app as these routes know them: by their task, and by what the caller's token may do."""

from collections.abc import Collection

import msgspec

from modelapp.call import Call
from modelapp.errors import Forbidden, InvalidInput, NotFound
from modelapp.service import ModelService, Service

GENERATING = ("text-generation", "text-to-text")
CHATTING = ("text-generation",)
EMBEDDING = ("embeddings",)
SPEAKING = ("text-to-speech",)
WRITING_DOWN = ("speech-to-text",)
_SHOWN_CHARS = 80


class ListedModel(msgspec.Struct, tag_field="object", tag="model"):
    """A model as /v1/models tells of it. `task` is no word of the protocol; clients pass over it."""

    id: str
    created: int
    owned_by: str
    task: str


class ModelList(msgspec.Struct, tag_field="object", tag="list"):
    """What /v1/models answers."""

    data: list[ListedModel]


class Listing:
    """The models of `service`; `since_s` is the Unix time that they are said to be from."""

    def __init__(self, service: Service, since_s: int) -> None:
        self._models = service.models
        self._owner = service.app.name
        self._since_s = since_s

    def doing(self, tasks: Collection[str]) -> list[str]:
        """The names of the models with one of those tasks."""
        return [name for name, model in self._models.items() if model.model.task in tasks]

    def find(self, name: str, tasks: Collection[str], call: Call) -> ModelService:
        """The model that a request names, which is then that of its call. Raises NotFound, InvalidInput, Forbidden."""
        call.check_model(name)
        model = self._models.get(name)
        if model is not None and model.model.task in tasks:
            call.model = name
            return model
        there = self._there(tasks, call)
        if model is None:
            raise NotFound(f'there is no model "{name[:_SHOWN_CHARS]}"; models for this route: {there}', field="model")
        what = f'its task is "{model.model.task}"' if model.model.task else "it has no task in app.toml"
        raise InvalidInput(
            f'model "{name}" does not answer here: {what}; models for this route: {there}', field="model"
        )

    def told(self, tasks: Collection[str], call: Call) -> ModelList:
        """Those with one of the tasks that the caller may call."""
        return ModelList([self._listed(name) for name in self.doing(tasks) if _may_call(call, name)])

    def one(self, name: str, tasks: Collection[str], call: Call) -> ListedModel:
        """One of them. Raises NotFound."""
        if name not in self.doing(tasks):
            there = self._there(tasks, call)
            raise NotFound(f'there is no model "{name[:_SHOWN_CHARS]}"; models: {there}', field="model")
        return self._listed(name)

    def _there(self, tasks: Collection[str], call: Call) -> str:
        return ", ".join(one for one in self.doing(tasks) if _may_call(call, one)) or "none"

    def _listed(self, name: str) -> ListedModel:
        return ListedModel(name, self._since_s, self._owner, self._models[name].model.task)


def _may_call(call: Call, name: str) -> bool:
    try:
        call.check_model(name)
    except Forbidden:
        return False
    return True

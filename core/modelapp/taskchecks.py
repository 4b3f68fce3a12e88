"""What models do and how they generate: words that a runtime knows, numbers that fit, endpoints that can stream and
declare what a task takes and gives."""

from collections.abc import Collection, Mapping

import attrs

from modelapp import handlers
from modelapp.app import Endpoint, Field, Model
from modelapp.document import At, table_name
from modelapp.examination import Examination
from modelapp.fieldtype import FieldType, parse
from modelapp.problems import Edit
from modelapp.runtime import RuntimeSpec
from modelapp.spans import KeyPath
from modelapp.suggestions import closest, toml, toml_key
from modelapp.tasks import TASKS, Task

_OF_BATCHES = ("max_wait_ms", "max_batch_cost", "cost", "pad", "buckets", "concurrency")
"""Keys of a model that only whole requests in batches obey."""
_INT, _FLOAT, _LIST = ("int", "float"), ("float", "int"), ("list[json]", "json")
_TYPES: Mapping[str, tuple[str, ...]] = {
    "prompt": ("str", "list[int]", "json"),
    "messages": _LIST,
    **dict.fromkeys(("max_tokens", "min_tokens", "top_k", "seed", "logprobs", "n", "tokens"), _INT),
    **dict.fromkeys(("prompt_tokens", "completion_tokens"), _INT),
    **dict.fromkeys(("temperature", "top_p", "min_p", "min_score", "speed", "score"), _FLOAT),
    **dict.fromkeys(("repetition_penalty", "presence_penalty", "frequency_penalty"), _FLOAT),
    "logit_bias": ("json", "record"),
    "stop": ("str", "list[str]", "json"),
    "ignore_end": ("bool",),
    "text": ("str", "list[int]", "json"),
    **dict.fromkeys(("finish_reason", "label", "voice", "language"), ("str",)),
    **dict.fromkeys(("stop_tokens", "choices", "classes", "objects", "entities"), _LIST),
    "embedding": ("list[float]", "tensor", "json"),
    "image": ("image", "tensor", "list[json]"),
    "audio": ("audio",),
}
"""Key of a task -> the types that can hold it, the likeliest first; of lists any will do. No other can be meant."""


def check_model(exam: Examination, model: Model) -> None:
    """`task` and [models.NAME.generation] of one model."""
    path = ("models", model.name)
    if not (exam.is_sound((*path, "task")) and exam.is_sound((*path, "runtime"))):
        return
    spec = exam.plugins.runtimes.get(model.runtime)
    if model.task and not _task(exam, model.task, spec, (*path, "task")):
        return
    if spec is None:
        return  # it is told of elsewhere, or in an environment that was not looked at
    if generates(model, spec):
        _without_effect(exam, model, path)
        if exam.is_sound((*path, "generation")):
            _numbers(exam, model, path)
    elif "generation" in exam.data["models"][model.name]:
        _not_generating(exam, model, spec, path)


def generates(model: Model, spec: RuntimeSpec) -> bool:
    """Whether a model answers token by token under the core's scheduler."""
    return model.task in TASKS and TASKS[model.task].generates and "generate" in spec.capabilities


def _task(exam: Examination, task: str, spec: RuntimeSpec | None, path: KeyPath) -> bool:
    """Whether a task is one that the model's runtime knows."""
    if _has(spec, task):
        return True
    if spec is None or task not in TASKS:
        notes = (f"tasks: {', '.join(TASKS)}",)
        exam.unknown("MA074", f'no task is called "{task}"', path, "unknown task", task, TASKS, notes=notes)
        return False
    known = [word for word in TASKS if word in spec.tasks]
    others = sorted(name for name, one in exam.plugins.runtimes.items() if {task, "*"} & one.tasks)
    message = f'runtime "{spec.name}" does not adapt models to "{task}"'
    label = f"its tasks: {', '.join(known)}" if known else "it knows no tasks"
    notes = (f"runtimes that do: {', '.join(others) or 'none is installed'}",)
    exam.add("MA075", message, path, label, "leave task out", edit=exam.sources.remove(path), notes=notes)
    return False


def _has(spec: RuntimeSpec | None, task: str) -> bool:
    """Whether a runtime, where it is known, adapts models to a task that there is."""
    return task in TASKS and (spec is None or bool({task, "*"} & spec.tasks))


def _without_effect(exam: Examination, model: Model, path: KeyPath) -> None:
    for key in _OF_BATCHES:
        place = (*path, key)
        if key in exam.data["models"][model.name] and exam.is_sound(place):
            at: At = "key" if exam.sources.written(place, "key") else "header"
            message = f'"{key}" has no effect on a model that generates'
            label = "sequences join and leave at every step"
            edit = exam.sources.remove(place)
            exam.add("MA077", message, place, label, "remove it", at=at, edit=edit, severity="warning")


def _numbers(exam: Examination, model: Model, path: KeyPath) -> None:
    """Whether every sequence gets a token at each step, and a prompt has room beside its answer."""
    generation, table = model.generation, (*path, "generation")
    if generation.step_tokens < model.max_batch_size:
        message = "a step cannot give every sequence a token"
        label = f"step_tokens is {generation.step_tokens}, and max_batch_size is {model.max_batch_size}"
        _set(exam, message, label, (*table, "step_tokens"), model.max_batch_size, (*path, "max_batch_size"))
    if 0 < generation.context_tokens <= generation.max_tokens:
        message = "an answer leaves no room for its prompt"
        label = f"context_tokens is {generation.context_tokens}, and max_tokens is {generation.max_tokens}"
        fitting = max(1, generation.context_tokens // 2)
        _set(exam, message, label, (*table, "max_tokens"), fitting, (*table, "context_tokens"))


def _set(exam: Examination, message: str, label: str, key: KeyPath, value: int, other: KeyPath) -> None:
    """A problem that another value of `key` mends; told at `other` where `key` is not written."""
    table, line = key[:-1], f"{key[-1]} = {value}"
    sources = exam.sources
    edit = sources.replace(key, str(value)) or sources.insert(table, line)
    if edit is None:  # the table is not there yet
        edit = sources.insert(table[:-1], f"{table[-1]}.{line}")
    place = key if sources.holds(key) else other
    exam.add("MA076", message, place, label, f"write {line} in {table_name(table)}", edit=edit)


def _not_generating(exam: Examination, model: Model, spec: RuntimeSpec, path: KeyPath) -> None:
    table = (*path, "generation")
    at: At = "header" if exam.sources.written(table, "header") else "key"
    words = _streaming_tasks(spec)
    advice, edit = "remove it", exam.sources.remove(table)
    if not model.task and words:
        line = f"task = {toml(words[0])}"
        advice, edit = f"add {line} to [models.{model.name}], or remove this", exam.sources.insert(path, line)
    elif "generate" not in spec.capabilities:
        advice = f"remove it: the {spec.name} runtime leaves how it generates to the model"
    label = f'a model whose task is "{model.task}" reads none of it' if model.task else "the model has no task"
    exam.add("MA077", f'model "{model.name}" does not generate token by token', table, label, advice, at=at, edit=edit)


@attrs.frozen
class Obstacle:
    """Why an endpoint cannot stream, and the place in the file that says so."""

    why: str
    place: KeyPath
    at: At = "value"
    notes: tuple[str, ...] = ()


def check_stream(exam: Examination, endpoint: Endpoint) -> None:
    """Whether an endpoint with `stream = true` ends with a model that streams, with nothing behind it."""
    found = obstacle(exam, endpoint)
    if found is None:
        return
    key = ("endpoints", endpoint.name, "stream")
    message, advice, edit = f'endpoint "{endpoint.name}" cannot stream', "leave stream out", exam.sources.remove(key)
    related = exam.sources.related(found.place, found.why, found.at)
    exam.add("MA078", message, key, found.why, advice, edit=edit, related=related, notes=found.notes)


def obstacle(exam: Examination, endpoint: Endpoint) -> Obstacle | None:
    """What keeps an endpoint from streaming; None where nothing does, or where that cannot be told."""
    path: KeyPath = ("endpoints", endpoint.name)
    name, place = endpoint.model, (*path, "model")
    if endpoint.steps:
        name, place = endpoint.steps[-1].run, (*path, "steps", len(endpoint.steps) - 1, "run")
    if endpoint.split is not None:
        return Obstacle("its arms answer in one piece", (*path, "split"), "key")
    if endpoint.postprocess:
        return Obstacle("it works on whole answers", (*path, "postprocess"))
    if name in exam.app.models:
        return _of_model(exam, exam.app.models[name], place)
    return Obstacle("a function answers in one piece", place) if ":" in name else None


def _of_model(exam: Examination, model: Model, place: KeyPath) -> Obstacle | None:
    spec = exam.plugins.runtimes.get(model.runtime)
    if model.postprocess:
        return Obstacle("it works on whole answers", ("models", model.name, "postprocess"))
    if spec is None or generates(model, spec) or "stream" in spec.capabilities:
        return None
    if not exam.is_sound(("models", model.name, "task")) or (model.task and not _has(spec, model.task)):
        return None  # what it does is told to be wrong, so whether it streams is not known
    words = ", ".join(map(toml, _streaming_tasks(spec)))
    notes = (f"of the {spec.name} runtime, models of these tasks stream: {words or 'none'}",)
    return Obstacle(f'model "{model.name}" answers in one piece', place, notes=notes)


def _streaming_tasks(spec: RuntimeSpec) -> list[str]:
    """The tasks by which a runtime's models answer token by token."""
    if "generate" not in spec.capabilities:
        return []
    return [name for name, task in TASKS.items() if task.generates and {name, "*"} & spec.tasks]


def check_fields(exam: Examination, endpoint: Endpoint) -> None:
    """Whether an endpoint over one model declares what the model's task takes and gives, where no function is between.

    A class of the app's own may take and give more than its task.
    """
    model = exam.app.models.get(endpoint.model)
    if model is None or not _has(exam.plugins.runtimes.get(model.runtime), model.task):
        return
    task, declared = TASKS[model.task], exam.data["endpoints"][endpoint.name]
    own = handlers.split_ref(model.source) is not None
    if endpoint.input and not (endpoint.preprocess or model.preprocess or _is_whole(endpoint.input, task)):
        needed: Collection[str] = task.needs
        if task.generates and not own and not task.needs and not {"prompt", "messages"} & {*declared["input"]}:
            needed = ("prompt",)
        _Side(exam, endpoint, model, "input", task.takes, [] if own and task.generates else needed).check()
    if endpoint.output and not (endpoint.postprocess or model.postprocess):
        _Side(exam, endpoint, model, "output", task.gives, ()).check()


def _is_whole(fields: Mapping[str, Field], task: Task) -> bool:
    """Whether the only input is the record itself, or a list of them."""
    name = next(iter(fields))
    return len(fields) == 1 and name not in task.takes and fields[name].type.innermost in ("record", "json")


@attrs.frozen
class _Side:
    """The declared inputs, or outputs, of an endpoint beside those of its model's task."""

    exam: Examination
    endpoint: Endpoint
    model: Model
    side: str
    known: Mapping[str, str]
    needed: Collection[str]

    @property
    def _verb(self) -> str:
        return "takes" if self.side == "input" else "gives"

    def check(self) -> None:
        """Names that the task does not have, those that it needs, and types that cannot hold what it has."""
        table: KeyPath = ("endpoints", self.endpoint.name, self.side)
        declared = self.exam.data["endpoints"][self.endpoint.name][self.side]
        free = [name for name in self.known if name not in declared]
        missing = [name for name in self.needed if name not in declared]
        strangers = [name for name in declared if name not in self.known]
        alone = missing[0] if len(missing) == len(strangers) == 1 else None
        for name in declared:
            if name in self.known:
                self._type(name, table)
            elif (meant := self._stranger(name, table, free, alone)) is not None:
                free.remove(meant)
                missing = [one for one in missing if one != meant]
        for name in missing:
            self._missing(name, table)

    def _stranger(self, name: str, table: KeyPath, free: Collection[str], alone: str | None) -> str | None:
        """Tell of a name that the task does not have; the one that is meant. `alone` is the only one it can be."""
        exam, place = self.exam, (*table, name)
        meant = closest(name, free)
        if handlers.split_ref(self.model.source):
            if meant is None or TASKS[self.model.task].generates:
                return None
        elif meant is None:
            meant = alone
        message = f'"{name}" is nothing that task = "{self.model.task}" {self._verb}'
        advice, edit = "remove it", exam.sources.remove(place)
        if meant is not None:
            advice, edit = f'did you mean "{meant}"?', exam.sources.replace(place, toml_key(meant), "key")
        self._add(message, place, f"no {self.side} of its model", advice, edit=edit, at="key")
        return meant

    def _missing(self, name: str, table: KeyPath) -> None:
        line = f"{name} = {toml(_TYPES[name][0])}"
        message = f'task = "{self.model.task}" needs "{name}", which endpoint "{self.endpoint.name}" does not declare'
        at: At = "header" if self.exam.sources.written(table, "header") else "key"
        advice, edit = f"add {line} to {table_name(table)}", self.exam.sources.insert(table, line)
        self._add(message, table, f"no {name} here", advice, edit=edit, at=at)

    def _type(self, name: str, table: KeyPath) -> None:
        field = getattr(self.endpoint, self.side).get(name)
        if field is None or name not in _TYPES or _shape(field.type) in {_shape(parse(word)) for word in _TYPES[name]}:
            return
        place, word = (*table, name), toml(_TYPES[name][0])
        bare = isinstance(self.exam.data["endpoints"][self.endpoint.name][self.side][name], str)
        place = place if bare else (*place, "type")
        what = self.known[name].partition(";")[0]
        message = f'"{name}" cannot be {field.type}; task = "{self.model.task}" {self._verb} {what}'
        edit = self.exam.sources.replace(place, word) if bare else None  # its bounds are of the other type
        self._add(message, place, "another type", f"write {word}", edit=edit)

    def _add(
        self, message: str, place: KeyPath, label: str, advice: str, *, at: At = "value", edit: Edit | None
    ) -> None:
        related = self.exam.sources.related(("models", self.model.name, "task"), "the task", "value")
        notes = (f"{self._verb}: {', '.join(self.known)}",)
        self.exam.add("MA079", message, place, label, advice, at=at, edit=edit, related=related, notes=notes)


def _shape(type_: FieldType) -> str:
    return "list" if type_.item else type_.word

"""What a changed app costs: which models keep their weights, and whether it can be taken over while serving."""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Literal

import attrs

from modelapp.app import Generation, Model
from modelapp.handlers import split_ref
from modelapp.release import Footprint
from modelapp.suggestions import toml
from modelapp.tasks import TASKS

Action = Literal["keep", "tune", "load"]
"""For a model: nothing to do; new bounds for its batcher; to be loaded beside the old one."""

_TUNED = (
    "max_batch_size", "max_wait_ms", "max_queue", "concurrency", "rerun", "max_batch_cost", "cost", "priority_levels",
)  # fmt: skip
"""Keys of a model that its batcher alone obeys; of one that generates `max_batch_size` are its slots, laid out too."""
_TUNED_GENERATION = ("max_tokens", "temperature", "step_tokens")
"""Keys of [models.NAME.generation] that requests and steps obey; by all others memory is laid out."""
_AROUND = ("preprocess", "postprocess", "required", "preload", "warmup_calls", "idle_unload_s", "memory_mb")
"""Keys of a model that are obeyed outside of it. Every other key decides how it is loaded."""
_RESTART = {
    "app": ("plugins", "env", "requirements", "python"),
    "server": ("host", "port", "grpc_port", "metrics_port", "log_format", "tls_cert", "tls_key"),
}
"""Keys that only a new process can obey, by table."""


@attrs.frozen(kw_only=True)
class Plan:
    """How to get from the app that is served to the one in the files.

    `restart` says why it cannot be done in place, "" where it can. `models` are those of the new app.
    """

    restart: str = ""
    models: Mapping[str, Action] = attrs.Factory(dict)
    removed: tuple[str, ...] = ()
    code: bool = False
    """Whether Python files have changed, so that functions are imported again."""
    same_release: bool = False
    """Whether all that decides an answer is as it was."""

    @property
    def sentences(self) -> tuple[str, ...]:
        """What is done, for people."""
        return tuple(self._sentences())

    def _sentences(self) -> Iterator[str]:
        for action, words in (("load", "loaded"), ("tune", "new batching, weights kept")):
            if names := [name for name, one in self.models.items() if one == action]:
                yield f"{words}: {', '.join(names)}"
        if self.removed:
            yield f"removed: {', '.join(self.removed)}"
        if self.code:
            yield "code swapped"
        kept = [name for name, one in self.models.items() if one == "keep"]
        if kept and not self.same_release:
            yield f"weights kept: {', '.join(kept)}"


def plan(now: Footprint, new: Footprint, imports: Callable[[str], Collection[str]]) -> Plan:
    """Compare two footprints of one app. `imports`: a Python file of the app -> the files of the app it depends on."""
    changed = {file for file in {*now.code, *new.code} if now.code.get(file) != new.code.get(file)}
    return Plan(
        restart="; ".join(_restart(now, new)),
        models={name: _action(now, new, model, changed, imports) for name, model in new.app.models.items()},
        removed=tuple(name for name in now.app.models if name not in new.app.models),
        code=bool(changed),
        same_release=now.release == new.release,
    )


def _restart(now: Footprint, new: Footprint) -> Iterator[str]:
    for table, keys in _RESTART.items():
        for key in keys:
            before, after = getattr(getattr(now.app, table), key), getattr(getattr(new.app, table), key)
            if before != after:
                yield f"[{table}] {key} {toml(before)} -> {toml(after)}"


def _action(
    now: Footprint,
    new: Footprint,
    model: Model,
    changed: Collection[str],
    imports: Callable[[str], Collection[str]],
) -> Action:
    before = now.app.models.get(model.name)
    if before is None or now.models[model.name] != new.models[model.name] or _loads_otherwise(before, model):
        return "load"
    reference = split_ref(model.source)
    if reference is not None:
        gone = any(file not in new.code for file in changed)  # what imported it can no longer be told
        if gone or not {reference[0], *imports(reference[0])}.isdisjoint(changed):
            return "load"  # its class, or what that is built of, has changed
    return "tune" if _differ(before, model, (*_TUNED, "generation_table")) else "keep"


def _loads_otherwise(before: Model, model: Model) -> bool:
    others = [one.name for one in attrs.fields(Model) if one.name not in (*_TUNED, *_AROUND, "generation_table")]
    if model.task in TASKS and TASKS[model.task].generates:
        others.append("max_batch_size")  # its slots
    laid_out = [one.name for one in attrs.fields(Generation) if one.name not in _TUNED_GENERATION]
    return _differ(before, model, others) or _differ(before.generation, model.generation, laid_out)


def _differ(before: Any, after: Any, names: Collection[str]) -> bool:
    return any(getattr(before, name) != getattr(after, name) for name in names)

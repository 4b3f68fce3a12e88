"""Whether an app can do what it says: its times against each other, and against what was measured here before."""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from modelapp import guaranteechecks
from modelapp.app import Endpoint, Model
from modelapp.examination import Examination
from modelapp.guarantees import Latency
from modelapp.spans import KeyPath
from modelapp.suggestions import tidy, toml

if TYPE_CHECKING:
    from modelapp.signaturecache import Measured

_OF_ONE = ("p50_ms", "p95_ms", "p99_ms")


def check(exam: Examination, known: "Mapping[str, Measured]") -> None:
    """Every number that another one, or a measurement, makes impossible. `known`: the models that ran here."""
    for endpoint in exam.app.endpoints.values():
        _queue(exam, endpoint, known)
    for name, latency in exam.app.guarantees.latency.items():
        path = guaranteechecks.table(("guarantees", "latency"), name)
        if exam.is_sound(path):
            _limits(exam, latency, path)
            _gate(exam, latency, path)
            _measured(exam, latency, path, known)


def _models(exam: Examination, endpoint: Endpoint) -> list[Model]:
    """The models that one request may pass, as often as it does."""
    names = [endpoint.model, *(step.run for step in endpoint.steps), *(endpoint.split.arms if endpoint.split else ())]
    return [exam.app.models[name] for name in names if name in exam.app.models]


def _stated(latency: Latency) -> Iterator[tuple[str, float]]:
    """The limits on the time of an answer, the lowest share first."""
    for key in _OF_ONE:
        value = getattr(latency, key)
        if value is not None:
            yield key, value


def _limits(exam: Examination, latency: Latency, path: KeyPath) -> None:
    """Limits that can never be broken, and waits that break them."""
    subjects = guaranteechecks.subjects(exam, latency)
    if subjects and _are_beyond(exam, latency, max(subjects, key=lambda one: one.timeout_s), path):
        return
    key, lowest = next(_stated(latency), ("", math.inf))
    for model in (model for endpoint in subjects for model in _models(exam, endpoint)):
        place = ("models", model.name, "max_wait_ms")
        if model.max_wait_ms >= lowest and model.max_batch_size > 1 and exam.sources.holds(place):
            related = exam.sources.related((*path, key), f"{key} is {toml(lowest)}", "value")
            message, label = '"max_wait_ms" alone takes as long as an answer may', "the longest wait for company"
            exam.replace("MA067", message, place, label, tidy(round(lowest / 4, 3)), related=related)
            return


def _are_beyond(exam: Examination, latency: Latency, longest: Endpoint, path: KeyPath) -> bool:
    """Whether some limits are above the time that any answer is given."""
    most_ms, found = tidy(longest.timeout_s * 1000), False
    for key, value in (*_stated(latency), ("p95_first_token_ms", latency.p95_first_token_ms)):
        if value is not None and value > most_ms:
            label = f"after {toml(longest.timeout_s)} s a request is over: timeout_s of {longest.name}"
            exam.replace("MA067", f'"{key}" can never be exceeded', (*path, key), label, most_ms)
            found = True
    return found


def _gate(exam: Examination, latency: Latency, path: KeyPath) -> None:
    """The load of a guarantee must end before the gate of a rollout gives up on it."""
    rollout = exam.app.deploy.rollout
    if "guarantees" not in rollout.gate or "deploy" not in exam.data:
        return
    takes_s = tidy(latency.duration_s + latency.warmup_s)
    place = (*path, "duration_s")
    if takes_s > rollout.max_gate_s and exam.sources.holds(place):
        label = f"with its warm-up {toml(takes_s)} s, and max_gate_s is {toml(rollout.max_gate_s)}"
        fixed = tidy(max(rollout.max_gate_s - latency.warmup_s, 0.1))
        exam.replace("MA067", "the gate ends before this run does", place, label, fixed)


def _measured(exam: Examination, latency: Latency, path: KeyPath, known: "Mapping[str, Measured]") -> None:
    """A limit below the time that the models alone took here."""
    for endpoint in guaranteechecks.subjects(exam, latency):
        takes_ms = _run_ms(_models(exam, endpoint), known, together=not endpoint.split)
        for key, value in _stated(latency):
            if takes_ms > value:
                label = f"runs of its models took {takes_ms:.3g} ms here"
                message = f'"{key}" is less than endpoint "{endpoint.name}" needs'
                exam.add("MA068", message, (*path, key), label, "measured on this machine", severity="warning")
                break
        calls = math.floor((latency.concurrency or 1) * latency.duration_s * 1000 / takes_ms) if takes_ms else math.inf
        needed = guaranteechecks.samples_needed(latency)
        if latency.rate_per_s is None and calls < needed:
            label = (
                f"{latency.concurrency or 1} at a time for {toml(latency.duration_s)} s: {calls} calls, needed {needed}"
            )
            fixed = math.ceil(needed * takes_ms / 1000 / (latency.concurrency or 1))
            place = (*path, "duration_s")
            at = place if exam.sources.holds(place) else path
            advice = f"duration_s = {fixed} would do, as runs of its models took {takes_ms:.3g} ms here"
            edit = exam.sources.replace(place, str(fixed)) or exam.sources.insert(path, f"duration_s = {fixed}")
            exam.add("MA068", "this run may not be conclusive", at, label, advice, edit=edit, severity="warning")
            return


def _run_ms(models: Iterable[Model], known: "Mapping[str, Measured]", *, together: bool) -> float:
    """What a request's models take at least; of the arms of a split the quickest."""
    times = [known[model.name].run_ms if model.name in known else None for model in models]
    plain = [0.0 if one is None else one for one in times]
    return sum(plain) if together else min(plain, default=0.0)


def _queue(exam: Examination, endpoint: Endpoint, known: "Mapping[str, Measured]") -> None:
    """Whether the last row of a full queue has its answer in time."""
    for model in _models(exam, endpoint):
        found = known.get(model.name)
        if found is None or not found.run_ms:
            continue
        size = model.max_batch_size if found.signature.batched else 1
        wait_s = math.ceil(model.max_queue / size) * found.run_ms / 1000 / model.concurrency
        place = ("models", model.name, "max_queue")
        if wait_s > endpoint.timeout_s:
            fits = max(1, math.floor(endpoint.timeout_s * 1000 / found.run_ms * model.concurrency) * size)
            allowed = f"timeout_s of {endpoint.name} is {toml(endpoint.timeout_s)}"
            label = f"the last of {model.max_queue} rows waits {wait_s:.3g} s, and {allowed}"
            message = f'the queue of model "{model.name}" is longer than its requests may wait'
            at = place if exam.sources.holds(place) else ("models", model.name)
            edit = exam.sources.replace(place, str(fits)) or exam.sources.insert(at, f"max_queue = {fits}")
            advice = f"write max_queue = {fits}, as a run took {found.run_ms:.3g} ms here"
            exam.add("MA068", message, at, label, advice, edit=edit, severity="warning")
            return

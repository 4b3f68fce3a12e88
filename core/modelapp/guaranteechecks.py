"""[guarantees]: whether each promises something, of something that is there, by a run that can decide it."""

import itertools
import math
from collections.abc import Collection, Mapping
from typing import Any

from modelapp.app import Endpoint, Model
from modelapp.document import At, table_name
from modelapp.examination import Examination
from modelapp.guarantees import Batching, Drift, Latency, Robustness
from modelapp.spans import KeyPath
from modelapp.suggestions import tidy, toml

PERCENTILES: Mapping[str, float] = {"p50_ms": 0.5, "p95_ms": 0.95, "p99_ms": 0.99, "p95_first_token_ms": 0.95}
"""The limits that speak of a share of the answers, and that share."""
_RISING = ("p50_ms", "p95_ms", "p99_ms")
_OF_STREAMS = ("p95_first_token_ms", "min_tokens_per_s")
_OF_LATENCY = (*PERCENTILES, "max_realtime_factor", "min_tokens_per_s", "max_error_percent")
_OF_BATCHING = ("min_mean_batch", "max_added_wait_ms", "min_speedup", "same_output")
_SLACK_MS = 5
"""What `max_added_wait_ms` allows beyond `max_wait_ms` by default."""
_TAIL = 10
"""Answers beyond a percentile that it takes to know it."""


def check(exam: Examination) -> None:
    """All guarantees, one by one."""
    found = exam.app.guarantees
    for name, latency in found.latency.items():
        _latency(exam, latency, table(("guarantees", "latency"), name))
    for name, batching in found.batching.items():
        _batching(exam, batching, table(("guarantees", "batching"), name))
    if found.robustness is not None:
        _robustness(exam, found.robustness, ("guarantees", "robustness"))
    if found.drift is not None:
        _drift(exam, found.drift, ("guarantees", "drift"))


def table(kind: KeyPath, name: str) -> KeyPath:
    """The path of one guarantee; "" is the only one of its kind, which has no name."""
    return (*kind, name) if name else kind


def subjects(exam: Examination, latency: Latency) -> list[Endpoint]:
    """The endpoints that a guarantee is about, without those that are broken."""
    endpoints = exam.app.endpoints
    return (
        [endpoints[latency.endpoint]]
        if latency.endpoint in endpoints
        else [one for one in endpoints.values() if not latency.endpoint]
    )


def samples_needed(latency: Latency) -> int:
    """The fewest answers that decide: `min_samples`, or ten beyond its highest percentile."""
    if latency.min_samples is not None:
        return latency.min_samples
    highest = max((share for key, share in PERCENTILES.items() if getattr(latency, key) is not None), default=0.5)
    return samples_beyond(highest)


def samples_beyond(share: float) -> int:
    """The fewest answers by which a percentile is known."""
    return math.ceil(tidy(_TAIL / (1 - share)))


def _latency(exam: Examination, latency: Latency, path: KeyPath) -> None:
    _named(exam, latency.endpoint, exam.names("endpoints"), (*path, "endpoint"), "endpoint")
    if latency.arm:
        _arm(exam, latency, path)
    _promises(exam, _written(exam, _OF_LATENCY, path), _OF_LATENCY, path, 'add a limit, e.g. "p95_ms = 250"')
    _rises(exam, latency, path)
    _streams(exam, latency, path)
    if latency.concurrency is not None and latency.rate_per_s is not None:
        message = "the load is given in two ways"
        related = exam.sources.related((*path, "concurrency"), "one", "key")
        edit = exam.sources.remove((*path, "rate_per_s"))
        advice = "keep one: so many requests at a time, or so many a second"
        exam.add("MA063", message, (*path, "rate_per_s"), "another", advice, at="key", related=related, edit=edit)
    elif latency.rate_per_s is not None:
        _decides(exam, latency, latency.rate_per_s, path)
    if latency.inputs:
        exam.is_file(latency.inputs, (*path, "inputs"))


def _decides(exam: Examination, latency: Latency, rate_per_s: float, path: KeyPath) -> None:
    """Whether a run at this rate has as many answers as it takes."""
    sent, needed = math.floor(tidy(rate_per_s * latency.duration_s)), samples_needed(latency)
    if sent >= needed or not exam.is_sound(path):
        return
    enough = math.ceil(tidy(needed / rate_per_s))
    rate, lasts = toml(rate_per_s), toml(latency.duration_s)
    label = f"{rate}/s x {lasts} s = {sent} calls, min_samples is {needed}"
    place, line = (*path, "duration_s"), f"duration_s = {enough}"
    edit = exam.sources.replace(place, str(enough))
    if edit is None:
        place = (*path, "rate_per_s")
        edit = exam.sources.insert(path, line)
    exam.add("MA061", "this run can never be conclusive", place, label, f"{line} would do", edit=edit)


def _rises(exam: Examination, latency: Latency, path: KeyPath) -> None:
    limits = [(key, value) for key in _RISING if (value := getattr(latency, key)) is not None]
    for (low_key, low), (high_key, high) in itertools.pairwise(limits):
        if high < low:
            message, place = f'"{high_key}" is below "{low_key}"', (*path, high_key)
            related = exam.sources.related((*path, low_key), f"{low_key} is {toml(low)}", "value")
            label = "more answers cannot be faster than fewer"
            exam.replace("MA064", message, place, label, low, related=related)
            return


def _streams(exam: Examination, latency: Latency, path: KeyPath) -> None:
    """A limit on tokens needs an endpoint that sends them one by one."""
    keys = [key for key in _OF_STREAMS if getattr(latency, key) is not None]
    asked = subjects(exam, latency)
    if not keys or not asked or any(one.stream for one in asked):
        return
    name, place = asked[0].name, (*path, keys[0])
    message = f'"{keys[0]}" is about streams, and endpoint "{name}" does not stream'
    from modelapp import taskchecks  # spent only where there is something to say

    if taskchecks.obstacle(exam, asked[0]) is not None:
        advice, edit = "remove it", exam.sources.remove(place)
    else:
        advice = f"write stream = true in [endpoints.{name}], or remove it"
        written = exam.sources.holds(("endpoints", name, "stream"))
        edit = None if written else exam.sources.insert(("endpoints", name), "stream = true")
    exam.add("MA065", message, place, "its answer comes in one piece", advice, at="key", edit=edit)


def _arm(exam: Examination, latency: Latency, path: KeyPath) -> None:
    arms = [arm for one in subjects(exam, latency) if one.split for arm in one.split.arms]
    if latency.arm in arms or (latency.endpoint and latency.endpoint not in exam.app.endpoints):
        return
    where = f'endpoint "{latency.endpoint}" has' if latency.endpoint else "no endpoint has"
    message = f'{where} no arm "{latency.arm}"' if latency.endpoint else f'{where} an arm "{latency.arm}"'
    notes = (f"arms: {', '.join(arms) or 'none'}",)
    exam.unknown("MA060", message, (*path, "arm"), "no such arm", latency.arm, arms, notes=notes)


def _batching(exam: Examination, batching: Batching, path: KeyPath) -> None:
    _named(exam, batching.model, exam.names("models"), (*path, "model"), "model")
    keys = [key for key in _written(exam, _OF_BATCHING, path) if key != "same_output"]
    if not batching.same_output:
        _promises(exam, keys, _OF_BATCHING, path, 'add a limit, e.g. "min_speedup = 1.5", or leave same_output out')
    models = exam.app.models
    asked = [models[batching.model]] if batching.model in models else [*models.values()] if not batching.model else []
    _mean(exam, batching.min_mean_batch, asked, path)
    _added_wait(exam, batching.max_added_wait_ms, asked, path)


def _mean(exam: Examination, limit: float | None, asked: Collection[Model], path: KeyPath) -> None:
    """No run holds more rows, on average, than the largest may."""
    largest = max((one.max_batch_size for one in asked), default=None)
    if limit is None or largest is None or limit <= largest:
        return
    biggest = next(one for one in asked if one.max_batch_size == largest)
    home = ("models", biggest.name, "max_batch_size")
    related = exam.sources.related(home, f"at most {largest}", "value") if exam.sources.holds(home) else ()
    message = '"min_mean_batch" is more than any run may hold'
    label = f"max_batch_size of {biggest.name} is {largest}"
    exam.replace("MA066", message, (*path, "min_mean_batch"), label, largest, related=related)


def _added_wait(exam: Examination, limit_ms: float | None, asked: Collection[Model], path: KeyPath) -> None:
    """A row may wait for company as long as its model lets it; the edit keeps what is promised."""
    for model in asked:
        if limit_ms is None or model.max_wait_ms <= limit_ms or model.max_batch_size == 1:
            continue
        related = exam.sources.related((*path, "max_added_wait_ms"), f"at most {toml(limit_ms)} is promised", "value")
        fixed = tidy(limit_ms - _SLACK_MS if limit_ms > _SLACK_MS else limit_ms / 2)
        message, place = '"max_wait_ms" is more than "max_added_wait_ms"', ("models", model.name, "max_wait_ms")
        exam.replace("MA067", message, place, "the longest wait for company", fixed, related=related)


def _robustness(exam: Examination, robustness: Robustness, path: KeyPath) -> None:
    if not robustness.never_5xx and not robustness.deterministic:
        keys = ("never_5xx", "deterministic")
        _promises(exam, (), keys, path, "remove the table, or never_5xx = false")


def _drift(exam: Examination, drift: Drift, path: KeyPath) -> None:
    exam.is_file(drift.reference, (*path, "reference"))
    if not drift.task:
        return
    _named(exam, drift.task, exam.names("jobs"), (*path, "task"), "job")
    job = exam.app.jobs.get(drift.task)
    if job is not None and not job.run:
        label, advice = "a batch prediction", 'name a job with run = "file.py:function"'
        exam.add("MA060", f'job "{drift.task}" is no task', (*path, "task"), label, advice)


def _named(exam: Examination, name: str, known: Collection[str], path: KeyPath, what: str) -> None:
    if name and name not in known:
        message, notes = f'no {what} is called "{name}"', (f"{what}s: {', '.join(known) or 'none'}",)
        exam.unknown("MA060", message, path, "not defined", name, known, notes=notes)


def _written(exam: Examination, keys: Collection[str], path: KeyPath) -> list[str]:
    return [key for key in keys if exam.sources.holds((*path, key))]


def _promises(exam: Examination, written: Collection[str], keys: Collection[str], path: KeyPath, advice: str) -> None:
    if written or not exam.is_sound(path):
        return
    found: Any = exam.data
    for part in path:
        found = found.get(part, {}) if isinstance(found, dict) else {}
    if any(found.get(key) not in (None, False) for key in keys):
        return
    notes = (f"limits: {', '.join(keys)}",)
    at: At = "header"
    exam.add("MA062", f"{table_name(path)} promises nothing", path, "no limit stands here", advice, at=at, notes=notes)

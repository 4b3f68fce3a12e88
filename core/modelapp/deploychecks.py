"""[deploy]: whether replicas, shares and times fit each other, and what cannot work on more than one machine."""

import itertools
from collections.abc import Iterator
from typing import Any

from modelapp.app import Endpoint
from modelapp.deployment import Autoscale, Deploy, Rollout
from modelapp.document import At
from modelapp.examination import Examination
from modelapp.spans import KeyPath
from modelapp.suggestions import closest, tidy, toml

LOCAL = "local"
"""The scheduler that keeps an app on this machine."""
_OURS = (LOCAL, "nomad")
"""Schedulers that every modelapp knows by name, installed or not."""
_DEPLOY: KeyPath = ("deploy",)
_ROLLOUT: KeyPath = ("deploy", "rollout")
_SPARE_S = 5
#: keys of [deploy.rollout] -> the strategies that read them
_MEANT_FOR: dict[str, tuple[str, ...]] = {
    "steps": ("canary",),
    "step_s": ("canary",),
    "max_parallel": ("rolling",),
    "shadow_percent": ("blue-green", "canary"),
    "bake_s": ("blue-green", "canary"),
    "auto_promote": ("blue-green", "canary"),
}


def check(exam: Examination) -> None:
    """[deploy] and what stands below it, and the endpoints that need more of it than there is."""
    deploy = exam.app.deploy
    if exam.is_sound((*_DEPLOY, "scheduler")):
        _scheduler(exam, deploy.scheduler, (*_DEPLOY, "scheduler"))
    if deploy.autoscale is not None and exam.is_sound((*_DEPLOY, "autoscale")):
        _autoscale(exam, deploy, deploy.autoscale)
    if exam.is_sound(_ROLLOUT):
        _rollout(exam, deploy.rollout)
        _drain(exam, deploy.rollout)
        _shadow(exam, deploy.rollout)
    _memory(exam, deploy)
    if deploy.scheduler != LOCAL and not exam.app.app.state:
        _stateless(exam, deploy.scheduler)


def longest_timeout(exam: Examination) -> tuple[str, float]:
    """The endpoint that may take longest, and its timeout_s; "" and 0 where there is none."""
    found = {one.name: one.timeout_s for one in exam.app.endpoints.values()}
    name = max(found, key=lambda one: found[one], default="")
    return name, found.get(name, 0.0)


def _scheduler(exam: Examination, name: str, path: KeyPath) -> None:
    installed = sorted(exam.plugins.schedulers)
    if name in installed or name in _OURS:
        return
    known = [*dict.fromkeys((*installed, *_OURS))]
    notes = (f"installed schedulers: {', '.join(installed) or 'none'}",)
    message = f'no scheduler is called "{name}"'
    exam.unknown("MA110", message, path, "unknown scheduler", name, known, notes=notes)


def _autoscale(exam: Examination, deploy: Deploy, scale: Autoscale) -> None:
    path = (*_DEPLOY, "autoscale")
    if scale.max < scale.min:
        message, low, high = '"max" is below "min"', (*path, "min"), (*path, "max")
        if exam.sources.holds(high):
            label = "no number of replicas fits between them"
            related = exam.sources.related(low, f"min is {scale.min}", "value") if exam.sources.holds(low) else ()
            exam.replace("MA027", message, high, label, scale.min, related=related)
        else:
            exam.replace("MA027", message, low, f"max is {scale.max}, the default", scale.max)
    elif not scale.min <= deploy.replicas <= scale.max and exam.sources.holds((*_DEPLOY, "replicas")):
        nearest = min(max(deploy.replicas, scale.min), scale.max)
        label = f"[deploy.autoscale] keeps {scale.min} to {scale.max}"
        related = exam.sources.related(path, "these bounds")
        exam.replace(
            "MA111", '"replicas" is out of its bounds', (*_DEPLOY, "replicas"), label, nearest, related=related
        )


def _rollout(exam: Examination, rollout: Rollout) -> None:
    place = (*_ROLLOUT, "steps")
    if fault := next(_unfit(rollout.steps), None):
        label, fixed = fault
        exam.replace("MA112", '"steps" must rise to 100', place, label, fixed)
    if len(set(rollout.gate)) < len(rollout.gate):
        exam.replace(
            "MA112", '"gate" says a word twice', (*_ROLLOUT, "gate"), "once is enough", [*dict.fromkeys(rollout.gate)]
        )
    for key, strategies in _MEANT_FOR.items():
        if exam.sources.holds((*_ROLLOUT, key)) and rollout.strategy not in strategies:
            _meaningless(exam, rollout.strategy, key, strategies)


def _unfit(steps: tuple[float, ...]) -> Iterator[tuple[str, list[float]]]:
    """What is wrong with the shares of a canary, and shares near them that are not."""
    fixed = [*sorted({step for step in steps if 0 < step < 100}), 100]
    plain: list[float] = [tidy(step) for step in fixed]
    if any(not 0 < step <= 100 for step in steps):
        yield "each is a share of the traffic, above 0 and at most 100", plain
    if any(second <= first for first, second in itertools.pairwise(steps)):
        yield "each is more than the one before", plain
    if not steps or steps[-1] != 100:
        yield "the last must be 100, all of the traffic", plain


def _meaningless(exam: Examination, strategy: str, key: str, strategies: tuple[str, ...]) -> None:
    """A key that the chosen strategy does not read: said, for it may be the strategy that is wrong."""
    message = f'"{key}" has no effect with strategy "{strategy}"'
    chosen = (*_ROLLOUT, "strategy")
    edit = exam.sources.replace(chosen, toml(strategies[0]))
    if edit is None and not exam.sources.holds(chosen):
        edit = exam.sources.insert(_ROLLOUT, f"strategy = {toml(strategies[0])}")
    label, advice = f"it is for {' and '.join(strategies)}", f"write strategy = {toml(strategies[0])}, or remove it"
    exam.add("MA114", message, (*_ROLLOUT, key), label, advice, at="key", edit=edit, severity="warning")


def _drain(exam: Examination, rollout: Rollout) -> None:
    name, longest_s = longest_timeout(exam)
    if rollout.drain_s is not None and rollout.drain_s < longest_s:
        message, label = '"drain_s" cuts requests off', f"endpoint {name} may take {toml(longest_s)} s"
        home = ("endpoints", name, "timeout_s")
        related = exam.sources.related(home, "the longest", "value") if exam.sources.holds(home) else ()
        exam.replace("MA113", message, (*_ROLLOUT, "drain_s"), label, tidy(longest_s + _SPARE_S), related=related)


def _shadow(exam: Examination, rollout: Rollout) -> None:
    """Copied traffic runs twice: an error where the file says that this harms, a warning where it does not say.

    The edit stops the copies, for only the writer knows what a second run does.
    """
    if not rollout.shadow_percent or rollout.strategy not in _MEANT_FOR["shadow_percent"]:
        return
    harmed = [one for one in exam.app.endpoints.values() if not _is_repeatable(exam, one)]
    said = [one for one in harmed if one.idempotent is False]
    if not harmed:
        return
    first, place = (said or harmed)[0], (*_ROLLOUT, "shadow_percent")
    home = ("endpoints", first.name, "idempotent")
    related = exam.sources.related(home, "not twice", "value") if said else ()
    label = f"endpoint {first.name} is not idempotent" if said else f"endpoint {first.name} runs functions"
    advice = "remove it, or write idempotent = true where a second run does no harm"
    notes = (f"endpoints: {', '.join(one.name for one in harmed)}",) if harmed[1:] else ()
    more: dict[str, Any] = {"edit": exam.sources.remove(place), "notes": notes, "related": related}
    message = '"shadow_percent" sends requests twice that may do harm'
    exam.add("MA116", message, place, label, advice, severity="error" if said else "warning", **more)


def _is_repeatable(exam: Examination, endpoint: Endpoint) -> bool:
    """Whether a request may be sent twice; one about which something else is wrong is not judged."""
    home = ("endpoints", endpoint.name)
    if endpoint.name in exam.doubtful or not exam.is_sound(home):
        return True
    if endpoint.idempotent is not None:
        return endpoint.idempotent
    return all(step.run in exam.names("models") for step in endpoint.steps)


def _memory(exam: Examination, deploy: Deploy) -> None:
    needed = sum(model.memory_mb for model in exam.app.models.values())
    if 0 < deploy.memory_mb < needed:
        label = f"the models need {needed} together"
        exam.replace("MA111", '"memory_mb" is too small', (*_DEPLOY, "memory_mb"), label, needed)


def _stateless(exam: Examination, scheduler: str) -> None:
    for endpoint in exam.app.endpoints.values():
        if endpoint.is_async:
            message = (
                f'endpoint "{endpoint.name}" keeps its results on one machine, and scheduler "{scheduler}" uses several'
            )
            at: At = "key"
            near = closest("state", exam.data.get("app", {}))
            advice = 'add to [app]: state = "s3://bucket/app", or another place that every machine reaches'
            notes = (f'[app] has "{near}"',) if near else ()
            place = ("endpoints", endpoint.name, "async")
            exam.add(
                "MA115", message, place, "a request may be sent to one and asked of another", advice, at=at, notes=notes
            )

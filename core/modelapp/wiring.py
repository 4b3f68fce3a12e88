"""Endpoints: what answers them, on which path, and whether each step gets what it needs."""

import itertools
import re
from collections.abc import Collection

from modelapp import fieldchecks
from modelapp.app import Endpoint, Split, Step
from modelapp.document import At
from modelapp.examination import Examination
from modelapp.problems import Edit
from modelapp.routes import RESERVED_PATHS
from modelapp.spans import KeyPath
from modelapp.suggestions import closest, tidy, toml

_PATH = re.compile(r"/(?:[A-Za-z0-9._~-]+/)*[A-Za-z0-9._~-]*")
_BODIES = ("model", "steps", "split")


def check(exam: Examination) -> None:
    """All endpoints, one by one and against each other."""
    routes: dict[str, KeyPath] = {}
    for endpoint in exam.app.endpoints.values():
        path = ("endpoints", endpoint.name)
        exam.check_name(endpoint.name, path)
        _route(exam, endpoint, path, routes)
        found = len(exam.problems)
        if all(exam.is_sound((*path, key)) for key in (*_BODIES, "input")):
            _body(exam, endpoint, path)
        if len(exam.problems) > found:
            exam.doubtful.add(endpoint.name)
        elif endpoint.stream or (endpoint.model in exam.app.models and exam.app.models[endpoint.model].task):
            from modelapp import taskchecks  # a millisecond, spent only where a model has a task or an endpoint streams

            taskchecks.check_fields(exam, endpoint)
            if endpoint.stream:
                taskchecks.check_stream(exam, endpoint)
        for key in ("preprocess", "postprocess"):
            if ref := getattr(endpoint, key):
                exam.handler(ref, (*path, key), count=1, what="the inputs" if key == "preprocess" else "the result")
        for side in ("input", "output"):
            for field in getattr(endpoint, side).values():
                fieldchecks.check(exam, field, (*path, side, field.name))


def _route(exam: Examination, endpoint: Endpoint, path: KeyPath, routes: dict[str, KeyPath]) -> None:
    route, place = endpoint.route, (*path, "path") if endpoint.path else path
    at: At = "value" if endpoint.path else "key"
    if not _PATH.fullmatch(route):
        plain = "/" + re.sub(r"[^A-Za-z0-9._~/-]+", "-", route).strip("-/")
        label = "it begins with / and has letters, digits and . _ ~ - only"
        exam.replace("MA047", f'"{route}" cannot be a path', place, label, plain, at=at)
    elif taken := next((one for one in RESERVED_PATHS if route == one or route.startswith(f"{one}/")), None):
        advice = f"choose another path, e.g. /api{route}"
        edit = exam.sources.replace(place, toml(f"/api{route}")) or exam.sources.insert(path, f'path = "/api{route}"')
        exam.add("MA047", f"{taken} is taken", place, "modelapp answers there itself", advice, at=at, edit=edit)
    elif route in routes:
        other = routes[route]
        fresh = f"/{endpoint.name}" if f"/{endpoint.name}" not in routes else f"{route}-2"
        edit = exam.sources.replace(place, toml(fresh)) or exam.sources.insert(path, f"path = {toml(fresh)}")
        message, label = f'two endpoints answer on "{route}"', "also here"
        related = exam.sources.related(other, "already taken here", "value" if other[-1] == "path" else "key")
        exam.add("MA047", message, place, label, f"write path = {toml(fresh)}", at=at, edit=edit, related=related)
    routes.setdefault(route, place)


def _body(exam: Examination, endpoint: Endpoint, path: KeyPath) -> None:
    given = [key for key in _BODIES if key in exam.data["endpoints"][endpoint.name]]
    message = f"[endpoints.{endpoint.name}] needs exactly one of model, steps and split"
    if not given and not exam.is_sound(path):
        return  # a key that was refused may be the misspelt one
    if not given or (given == ["steps"] and not endpoint.steps):
        models = list(exam.names("models"))
        model = closest(endpoint.name, models) or (models[0] if models else "")
        line = f'model = "{model or "..."}"'
        place = (*path, "steps") if given else path
        edit = exam.sources.insert(path, line) if model and not given else None
        exam.add(
            "MA040", message, place, "nothing answers here", f"add {line}", at="value" if given else "header", edit=edit
        )
    elif len(given) > 1:
        first, second = given[0], given[1]
        related = exam.sources.related((*path, first), "one", "key")
        advice, edit = f"remove {second}, or {first}", exam.sources.remove((*path, second))
        exam.add("MA040", message, (*path, second), "another", advice, at="key", related=related, edit=edit)
    elif endpoint.model:
        _model(exam, endpoint.model, (*path, "model"))
    elif endpoint.split is not None:
        _split(exam, endpoint.split, (*path, "split"))
    else:
        _steps(exam, endpoint, (*path, "steps"))


def _model(exam: Examination, name: str, path: KeyPath, at: At = "value") -> None:
    models = exam.names("models")
    if name in models:
        return
    near = closest(name, models)
    related = exam.sources.related(("models", near), "defined here") if near else ()
    notes = () if near else (f"models: {', '.join(models) or 'none'}",)
    message = f'no model is called "{name}"'
    exam.unknown("MA041", message, path, "not defined", name, models, at=at, related=related, notes=notes)


def _steps(exam: Examination, endpoint: Endpoint, path: KeyPath) -> None:
    known: dict[str, KeyPath] = {name: ("endpoints", endpoint.name, "input", name) for name in endpoint.input}
    later = {step.name for step in endpoint.steps}
    for number, step in enumerate(endpoint.steps):
        place = (*path, number)
        for position, need in enumerate(step.needs):
            if need not in known:
                _need(exam, need, (*place, "needs", position), known, later)
        _run(exam, step, (*place, "run"))
        if step.name in known:
            fresh = next(f"{step.name}-{count}" for count in range(2, 999) if f"{step.name}-{count}" not in known)
            related = exam.sources.related(known[step.name], "the first", "value")
            message = f'"{step.name}" names two things'
            exam.replace("MA046", message, (*place, "name"), "again here", fresh, related=related)
        known.setdefault(step.name, (*place, "name"))


def _need(exam: Examination, need: str, path: KeyPath, known: Collection[str], later: Collection[str]) -> None:
    notes = (f"known at this point: {', '.join(known) or 'nothing'}",)
    step = path[-3]
    name = exam.data["endpoints"][path[1]]["steps"][step].get("name", step)
    if need in later:
        message, label = f'step "{name}" needs "{need}" before it exists', "a later step (or this one) makes it"
        edit = _earlier(exam, need, path[:-2], known)
        exam.add("MA042", message, path, label, f"move the step that makes {need} up", notes=notes, edit=edit)
        return
    label = "no input field and no step is called so"
    message, near = f'step "{name}" needs "{need}", which nothing makes', closest(need, known)
    if near:
        exam.unknown("MA042", message, path, label, need, known, notes=notes)
        return
    line, table = f'{need} = "str"', (*path[:2], "input")
    edit = exam.sources.insert(table, line)
    exam.add(
        "MA042", message, path, label, f"declare it in [endpoints.{path[1]}.input]: {line}", notes=notes, edit=edit
    )


def _earlier(exam: Examination, need: str, place: KeyPath, known: Collection[str]) -> Edit | None:
    """The edit that moves the step which makes `need` to before the one at `place`, if it could run there."""
    steps = exam.data["endpoints"][place[1]]["steps"]
    here, number = place[:-1], int(place[-1])
    later = next((at for at in range(number + 1, len(steps)) if steps[at].get("name") == need), None)
    if later is None or not set(steps[later].get("needs", ())) <= set(known):
        return None
    spans = [exam.sources.written((*here, at), "value") for at in range(number, later + 1)]
    found = [span for span in spans if span is not None]
    if len(found) < len(spans):
        return None
    text = exam.sources.base.text
    items = [text[span.start : span.end] for span in found]
    gaps = [text[one.end : other.start] for one, other in itertools.pairwise(found)]
    moved = "".join(part for pair in zip([items[-1], *items[:-1]], [*gaps, ""], strict=True) for part in pair)
    return Edit(start=found[0].start, end=found[-1].end, text=moved)


def _run(exam: Examination, step: Step, path: KeyPath) -> None:
    if ":" in step.run:
        exam.handler(step.run, path, count=len(step.needs), what=", ".join(step.needs) or "nothing")
    else:
        _model(exam, step.run, path)


def _split(exam: Examination, split: Split, path: KeyPath) -> None:
    arms = (*path, "arms")
    for name in split.arms:
        _model(exam, name, (*arms, name), "key")
    negative = [name for name, share in split.arms.items() if share < 0]
    total = sum(split.arms.values())
    if negative:
        message, place = f'the share of "{negative[0]}" is negative', (*arms, negative[0])
        exam.add("MA046", message, place, "in percent of the traffic", "shares are 0 to 100, and sum to 100")
    elif abs(total - 100) > 1e-6:
        message, label = f"the shares sum to {toml(tidy(total))}, not 100", "in percent of the traffic"
        if not split.arms:
            exam.add("MA046", message, arms, label, 'write arms = { "MODEL" = 100 }')
            return
        last = list(split.arms)[-1]
        rest = tidy(100 - (total - split.arms[last]))
        edit = exam.sources.replace((*arms, last), toml(rest)) if rest >= 0 else None
        advice = f"write {last} = {toml(rest)}" if edit else "make them sum to 100"
        exam.add("MA046", message, arms, label, advice, edit=edit)

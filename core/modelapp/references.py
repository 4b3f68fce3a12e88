"""What app.toml refers to: runtimes, models, files, functions, fields. Every dangling reference is a problem."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from modelapp import testchecks, wiring
from modelapp.app import App, Model
from modelapp.document import Sources
from modelapp.errors import PluginError
from modelapp.examination import Examination, InstalledPlugins
from modelapp.handlers import split_ref
from modelapp.problems import Problem
from modelapp.spans import KeyPath
from modelapp.versions import satisfies

_APP_NAME = re.compile(r"[a-z][a-z0-9-]{1,40}")


def check(
    app: App,
    data: Mapping[str, Any],
    sources: Sources,
    plugins: InstalledPlugins,
    is_sound: Callable[[KeyPath], bool],
) -> list[Problem]:
    """Every reference that leads nowhere, in no order. `is_sound` tells what was not refused while reading."""
    exam = Examination(app, data, sources, plugins, is_sound)
    _app(exam)
    for model in app.models.values():
        _model(exam, model)
    wiring.check(exam)
    testchecks.check(exam)
    return exam.problems


def _app(exam: Examination) -> None:
    name, requires = exam.app.app.name, exam.app.app.requires
    if not _APP_NAME.fullmatch(name):
        slug = re.sub(r"[^a-z0-9-]+", "-", name.lower()).strip("-")
        slug = slug if _APP_NAME.fullmatch(slug) else "my-app"
        label = "2 to 41 of a-z, 0-9 and -, beginning with a letter"
        exam.replace("MA025", f'"{name}" cannot be the name of an app', ("app", "name"), label, slug)
    if requires:
        _requires(exam, requires)
    if exam.app.app.requirements or exam.app.app.python:
        from modelapp import surroundings  # 30 ms, spent only by apps that ask

        surroundings.check(exam)


def _requires(exam: Examination, requires: str) -> None:
    import importlib.metadata  # 20 ms, spent only by apps that ask

    installed, path = importlib.metadata.version("modelapp"), ("app", "requires")
    try:
        if satisfies(installed, requires):
            return
    except ValueError as error:
        message = f'"{error}" is no version requirement'
        exam.replace("MA029", message, path, "one or more of >= > <= < == != ~= and a version", f">={installed}")
        return
    label = f"modelapp {installed} is installed"
    exam.add("MA029", "the app is for another modelapp", path, label, command=f"pip install 'modelapp{requires}'")


def _model(exam: Examination, model: Model) -> None:
    path = ("models", model.name)
    exam.check_name(model.name, path)
    if model.name == "stats":
        advice = "choose another name, e.g. [models.stats-model]"
        exam.add("MA048", 'no model can be called "stats"', path, "the protocol uses this word", advice, at="key")
    if exam.is_sound((*path, "runtime")):
        _runtime(exam, model.runtime, (*path, "runtime"))
    if exam.is_sound((*path, "source")):
        _source(exam, model.source, (*path, "source"))
    for name, source in model.files.items():
        _source(exam, source, (*path, "files", name))
    for key in ("preprocess", "postprocess"):
        if ref := getattr(model, key):
            exam.handler(ref, (*path, key), count=1, what="the inputs" if key == "preprocess" else "the answer")


def _runtime(exam: Examination, name: str, path: KeyPath) -> None:
    if name in exam.plugins.runtimes:
        return
    try:
        exam.plugins.runtime(name)
    except PluginError as error:
        if error.plugin:  # a plugin has it, and is broken, disabled, or one of two
            exam.add("MA031", error.message, path, "its plugin cannot be used", error.help)
            return
    if exam.app.app.requirements and _is_elsewhere(exam):
        return  # it may be in the app's own environment, which was not looked at
    runtimes = sorted(exam.plugins.runtimes)
    notes = (f"installed runtimes: {', '.join(runtimes) or 'none'}",)
    exam.unknown("MA030", f'no runtime is called "{name}"', path, "unknown runtime", name, runtimes, notes=notes)


def _is_elsewhere(exam: Examination) -> bool:
    from modelapp import surroundings

    return surroundings.is_elsewhere(exam)


def _source(exam: Examination, source: str, path: KeyPath) -> None:
    if split_ref(source):
        found = exam.handler(source, path)
        if found and found.kind == "function":
            exam.add(
                "MA044",
                f"{found.name} is a function",
                path,
                "a model is a class",
                f"name a class of {source.partition(':')[0]}",
            )
    elif "://" not in source and not source.startswith("package:"):
        exam.is_path(source, path)

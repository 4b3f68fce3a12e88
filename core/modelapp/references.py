"""What app.toml refers to: runtimes, models, files, functions, fields. Every dangling reference is a problem."""

import os
from collections.abc import Callable, Mapping
from typing import Any

from modelapp import appchecks, testchecks, wiring
from modelapp.app import App, Model
from modelapp.digests import SIGNATURES, cache_dir
from modelapp.document import Sources
from modelapp.enclosure import remedy
from modelapp.errors import PluginError
from modelapp.examination import Examination, InstalledPlugins
from modelapp.handlers import split_ref
from modelapp.problems import Problem
from modelapp.runtime import RuntimeSpec
from modelapp.spans import KeyPath

_DISABLE = "MODELAPP_DISABLE_PLUGINS"


def check(
    app: App,
    data: Mapping[str, Any],
    sources: Sources,
    plugins: InstalledPlugins,
    is_sound: Callable[[KeyPath], bool],
) -> list[Problem]:
    """Every reference that leads nowhere, in no order. `is_sound` tells what was not refused while reading."""
    exam = Examination(app, data, sources, plugins, is_sound)
    appchecks.check(exam)
    for model in app.models.values():
        _model(exam, model)
    wiring.check(exam)
    testchecks.check(exam)
    # Each takes a millisecond to import, spent only where its table is.
    if "guarantees" in data:
        from modelapp import guaranteechecks

        guaranteechecks.check(exam)
    if app.jobs:
        from modelapp import jobchecks

        jobchecks.check(exam)
    if "deploy" in data:
        from modelapp import deploychecks

        deploychecks.check(exam)
    _possible(exam)
    return exam.problems


def _possible(exam: Examination) -> None:
    """What numbers of the file, and earlier runs, say against each other."""
    known: Mapping[str, Any] = {}
    if os.path.isdir(cache_dir() / SIGNATURES):  # noqa: PTH112 (never raises)
        from modelapp import modelchecks, signaturecache

        known = signaturecache.known(exam.root, exam.app.models.values())
        modelchecks.check(exam, known)
    if known or "guarantees" in exam.data:
        from modelapp import feasibility

        feasibility.check(exam, known)


def _model(exam: Examination, model: Model) -> None:
    path = ("models", model.name)
    exam.check_name(model.name, path)
    if model.name == "stats":
        told, edit = 'no model can be called "stats"', exam.sources.replace(path, "stats-model", "key")
        label = "GET /v2/models/stats tells all models' figures"
        exam.add("MA048", told, path, label, "call it stats-model", at="key", edit=edit)
    if exam.is_sound((*path, "runtime")):
        _runtime(exam, model.runtime, (*path, "runtime"))
    if exam.is_sound((*path, "source")):
        _source(exam, model.source, (*path, "source"))
    for name, source in model.files.items():
        _source(exam, source, (*path, "files", name))
    if model.labels and "://" not in model.labels and not model.labels.startswith("package:"):
        exam.is_file(model.labels, (*path, "labels"))
    if model.buckets or model.max_batch_cost or model.cost != "rows":
        from modelapp import batchchecks  # a millisecond, spent only where there is something to check

        batchchecks.check(exam, model)
    if model.task or "generation" in exam.data["models"][model.name]:
        from modelapp import taskchecks  # as above

        taskchecks.check_model(exam, model)
    for key in ("preprocess", "postprocess"):
        if ref := getattr(model, key):
            exam.handler(ref, (*path, key), count=1, what="the inputs" if key == "preprocess" else "the answer")


def _runtime(exam: Examination, name: str, path: KeyPath) -> None:
    if name in exam.plugins.runtimes:
        if not (exam.app.app.requirements and _is_elsewhere(exam)):
            _library(exam, exam.plugins.runtimes[name], path)
        return
    try:
        exam.plugins.runtime(name)
    except PluginError as error:
        if error.plugin:  # a plugin has it, and is broken, disabled, or one of two
            command = f"unset {_DISABLE}" if _DISABLE in error.help else ""
            exam.add("MA031", error.message, path, "its plugin cannot be used", error.help, command=command)
            return
    if exam.app.app.requirements and _is_elsewhere(exam):
        return  # it may be in the app's own environment, which was not looked at
    runtimes = sorted(exam.plugins.runtimes)
    notes = (f"installed runtimes: {', '.join(runtimes) or 'none'}",)
    exam.unknown("MA030", f'no runtime is called "{name}"', path, "unknown runtime", name, runtimes, notes=notes)


def _library(exam: Examination, spec: RuntimeSpec, path: KeyPath) -> None:
    """Whether the library that a runtime needs is here; the file is valid without it, and cannot run."""
    try:
        found = spec.probe()
    except Exception:  # a plugin's own code; `modelapp plugins` tells of it
        return
    if not found.ok:
        message = f'runtime "{spec.name}" cannot open a model here'
        label = f"it lacks {found.missing}" if found.missing else "it says that it lacks something"
        fix = remedy(found.fix)
        advice, command = ("", fix) if fix.startswith("pip ") else (fix, "")
        exam.add("MA036", message, path, label, advice, command=command, severity="warning")


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
        exam.is_there(source, path)

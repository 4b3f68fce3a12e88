"""How a model is batched, as app.toml has it: keys that need each other, and bounds that no row can meet."""

import math

from modelapp.app import Model
from modelapp.examination import Examination


def check(exam: Examination, model: Model) -> None:
    """`cost`, `max_batch_cost`, `pad` and `buckets` of one model."""
    path = ("models", model.name)
    if exam.is_sound((*path, "cost")) and exam.is_sound((*path, "max_batch_cost")):
        _cost(exam, model)
    if model.buckets and exam.is_sound((*path, "buckets")):
        _buckets(exam, model)


def _cost(exam: Examination, model: Model) -> None:
    path = ("models", model.name)
    if model.cost != "rows" and not model.max_batch_cost:
        label, edit = "there is no bound to count for", exam.sources.replace((*path, "cost"), '"rows"')
        advice = f"write max_batch_cost, the most {model.cost} of one run, or leave cost out"
        exam.add("MA069", '"cost" has no effect without "max_batch_cost"', (*path, "cost"), label, advice, edit=edit)
    elif 0 < model.max_batch_cost < 1:
        place, label = (*path, "max_batch_cost"), "a row costs 1 at least"
        exam.replace("MA069", f'no row can ever run in model "{model.name}"', place, label, 1)


def _buckets(exam: Examination, model: Model) -> None:
    path = ("models", model.name, "buckets")
    if not model.pad and exam.is_sound((*path[:2], "pad")):
        label, edit = "no input is filled up", exam.sources.remove(path)
        advice = "name the inputs: pad = { INPUT = { value = 0 } }, or leave buckets out"
        exam.add("MA069", '"buckets" has no effect without "pad"', path, label, advice, edit=edit)
        return
    for number, bucket in enumerate(model.buckets):
        sizes = (bucket,) if isinstance(bucket, int) else bucket
        place, tokens = (*path, number), math.prod(sizes)
        if not sizes or min(sizes) < 1:
            exam.add(
                "MA069", "a bucket that holds nothing", place, "sizes are 1 or more", edit=exam.sources.remove(place)
            )
        elif model.cost != "rows" and 0 < model.max_batch_cost < tokens:
            told, label = f"no row of this bucket can ever run: {tokens} tokens", "a run holds less: max_batch_cost"
            related = exam.sources.related((*path[:2], "max_batch_cost"), "the most of one run", "value")
            advice = f"leave it out, or write max_batch_cost = {tokens}"
            edit = exam.sources.replace((*path[:2], "max_batch_cost"), str(tokens))
            exam.add("MA069", told, place, label, advice, related=related, edit=edit)

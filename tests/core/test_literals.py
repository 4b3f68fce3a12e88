"""Values that look like templates are taken as they stand, and that is said."""

import pytest


def _told(dungeon, old, new):
    text = dungeon.text.replace(old, new, 1)
    assert text != dungeon.text
    return [one for one in dungeon.notices(text) if one.code == "MA019"]


@pytest.mark.parametrize(
    ("old", "new", "found", "key"),
    [
        ('source = "models/story.onnx"', 'source = "models/${WHICH}.onnx"', "${WHICH}", "source"),
        ('source = "models/story.onnx"', 'source = "{{ root }}/story.onnx"', "{{ root }}", "source"),
        ('source = "models/story.onnx"', 'source = "$HOME/story.onnx"', "$HOME", "source"),
        ("port = 8000", 'host = "${HOST}"', "${HOST}", "host"),
        ("port = 8000", '[jobs.x]\nendpoint = "both"\ninput = "d/$(date).jsonl"\noutput = "o"', "$(date)", "input"),
        ('source = "models/story.onnx"', 'source = "{env:HOME}/story.onnx"', "{env:HOME}", "source"),
        ("port = 8000", 'host = "{env.HOST}"', "{env.HOST}", "host"),
        ("port = 8000", 'host = "{{ HOST"', "{{", "host"),
        ("port = 8000", 'host = "${HOST"', "${HOST", "host"),
        ("max_wait_ms = 15", 'files = { words = "{% if x %}w.txt" }', "{% if x %}", "words"),
    ],
)  # fmt: skip
def test_a_template_is_a_warning_where_it_stands(dungeon, old, new, found, key):
    """With what it is taken for, and where values that differ belong."""
    (told,) = _told(dungeon, old, new)
    assert told.severity == "warning"
    assert told.message == f'"{key}" looks like a template, and nothing is filled in'
    assert told.label == f"{found} is taken as it stands"
    assert found in told.source[told.column - 1 :][: told.length]
    assert "--set " in told.help


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('input = { prompt = "x" }', 'input = { prompt = "{{ x }} costs $HOME" }'),
        ("threads = 2", 'level = "all" # ${THIS}'),
        ("[endpoints.continue]", '[models.poem.python]\nprompt = "{{ x }}"\n[endpoints.continue]'),
        ("max_chars = 400", 'max_chars = 400, doc = "in ${PLACES}"'),
        ("port = 8000", '[jobs.night]\nendpoint = "continue"\ninput = "d/*.jsonl"\noutput = "o/{stem}.jsonl"'),
        ("requires", 'description = "costs $FIVE"\nrequires'),
    ],
)
def test_texts_for_people_requests_and_plugins_may_be_any(dungeon, old, new):
    """Only names, paths and addresses of our own are meant."""
    assert _told(dungeon, old, new) == []

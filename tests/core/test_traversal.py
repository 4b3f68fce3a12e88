"""Paths of app.toml stay in its folder: one rule for every key that names a file, and again when a model is opened."""

from pathlib import Path

import pytest

from modelapp import sources
from modelapp.errors import LoadError

OUT = (
    "../outside.txt",
    "data/../../outside.txt",
    "/etc/passwd",
    "link.txt",
    "linked/outside.txt",
    "data/deep/link.txt",
)
PROMPT = "prompt = { type = \"str\", min_chars = 1, max_chars = 400, pattern = '^\\S' }"
KEYS = {
    "source": ('source = "models/story.onnx"', 'source = "{}"'),
    "files": ('runtime = "onnx"\n', 'runtime = "onnx"\nfiles = {{ vocabulary = "{}" }}\n'),
    "labels": ('runtime = "onnx"\n', 'runtime = "onnx"\nlabels = "{}"\n'),
    "expect_file": ('expect_file = "data/words.json"', 'expect_file = "{}"'),
    "cases": ('cases = "data/holdout.jsonl"', 'cases = "{}"'),
    "media input": ('photo = "data/cave.png"', 'photo = "{}"'),
    "fields_from": (PROMPT, 'prompt = "str"\nwho = {{ type = "record?", fields_from = "{}" }}'),
    "requirements": ('name = "dungeon"\n', 'name = "dungeon"\nrequirements = "{}"\n'),
    "handler": ('preprocess = "handlers.py:clean"', 'preprocess = "{}:clean"'),
    "class": ('source = "handlers.py:Poem"', 'source = "{}:Poem"'),
    "guarantee": ("port = 8000\n", 'port = 8000\n[guarantees.latency]\np50_ms = 9\ninputs = "{}"\n'),
}


@pytest.fixture
def outside(dungeon) -> None:
    """Files beside the app's folder, and links to them and to their folder from within."""
    (dungeon.root / "data" / "deep").mkdir()
    (dungeon.root / "linked").symlink_to(dungeon.root.parent)
    for suffix in ("txt", "py"):
        target = dungeon.root.parent / f"outside.{suffix}"
        target.write_text("class Poem: ...\n")
        (dungeon.root / f"link.{suffix}").symlink_to(target)
        (dungeon.root / "data" / "deep" / f"link.{suffix}").symlink_to(f"../../../outside.{suffix}")


@pytest.mark.parametrize("path", OUT)
@pytest.mark.parametrize("key", KEYS)
@pytest.mark.usefixtures("outside")
def test_no_key_leads_out_of_the_folder(dungeon, key, path):
    """Up, from the root, through a link to a file or a folder: always the same problem, at the path."""
    old, new = KEYS[key]
    if key in ("handler", "class"):
        path = f"{path.removesuffix('.txt')}.py"
    text = dungeon.text.replace(old, new.format(path))
    assert text != dungeon.text
    told = [problem for problem in dungeon.problems(text) if problem.code == "MA028"]
    assert told, dungeon.problems(text)
    assert path in told[0].source


def test_keys_of_a_server_may_lie_elsewhere(dungeon):
    """They are the machine's, not the app's, and no answer holds them."""
    dungeon.load(dungeon.text + 'tls_cert = "/etc/ssl/cert.pem"\ntls_key = "/etc/ssl/key.pem"\n')


@pytest.mark.parametrize("path", OUT)
@pytest.mark.usefixtures("outside")
def test_a_model_is_not_opened_outside_either(dungeon, path):
    """A link may have been made since the file was checked."""
    for source in (path, f"{path.removesuffix('.txt')}.py:Poem"):
        with pytest.raises(LoadError, match=r"leads out of the app's folder|not a path relative"):
            sources.locate(dungeon.root, source, key="models.story.source")


@pytest.mark.parametrize("path", ["../secret", "a/../../secret", "/etc/passwd", "", "..", "../../../../etc/passwd"])
def test_a_package_holds_only_what_lies_below_it(path):
    """Neither up nor from the root."""
    with pytest.raises(LoadError):
        sources.locate(Path(), f"package:modelapp/{path}", key="models.m.source")


def test_links_within_the_folder_are_fine(dungeon):
    """They lead nowhere else."""
    (dungeon.root / "models" / "latest.onnx").symlink_to("story.onnx")
    dungeon.load(dungeon.text.replace("models/story.onnx", "models/latest.onnx"))
    assert sources.locate(dungeon.root, "models/latest.onnx", key="models.story.source").path.name == "story.onnx"

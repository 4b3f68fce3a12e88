"""`modelapp init`: each template is an app that works at once, on a model whose weights matter."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from modelapp import scaffold
from modelapp.appschema import DIRECTIVE

TEMPLATES = list(scaffold.TEMPLATES)
MODELS = [
    (name, Path(path).name)
    for name, template in scaffold.TEMPLATES.items()
    for path in template.shared
    if path.endswith(".onnx")
]


@pytest.fixture
def made(modelapp, tmp_path):
    """Makes an app of a template and returns its folder."""

    def make(template):
        done = modelapp("init", "shop", "--template", template, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        return tmp_path / "shop"

    return make


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_new_app_is_valid_and_passes_its_own_tests(template, made, modelapp):
    """At once, with the plugins that come along; nothing about it is stale, and each endpoint has a test."""
    folder = made(template)
    checked = json.loads(modelapp("check", "--json", cwd=folder).stdout)
    assert checked["valid"], checked
    assert [notice["code"] for notice in checked["notices"] if notice["code"] != "MA015"] == []
    assert checked["app"] == "shop"
    tested = json.loads(modelapp("test", "--json", cwd=folder).stdout)
    assert [test for test in tested["tests"] if test["verdict"] != "pass"] == []
    assert {test["endpoint"] for test in tested["tests"]} == set(checked["endpoints"])
    assert max(test["measured"].get("cases", 0) for test in tested["tests"]) >= 60  # held out of the training


@pytest.mark.parametrize(("template", "model"), MODELS, ids="-".join)
def test_shuffled_weights_fail_its_tests(template, model, made, modelapp):
    """A model that knows nothing does not pass: the tests judge the weights, not the plumbing."""
    folder = made(template)
    shuffle(folder / "models" / model)
    tested = modelapp("test", "--json", cwd=folder)
    assert tested.returncode == 1, tested.stdout + tested.stderr
    failed = [test for test in json.loads(tested.stdout)["tests"] if test["verdict"] == "fail"]
    assert [test for test in failed if test["mismatches"] or test["reason"]] == failed != []


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize(
    "words", [["taplo", "check", "--no-auto-config"], ["tombi", "lint", "--offline"]], ids=lambda words: words[0]
)
def test_editors_accept_a_new_app(template, words, made):
    """By the schema beside it, which the first line names."""
    folder = made(template)
    assert (folder / "app.toml").read_text().splitlines()[0] == DIRECTIVE
    command = [Path(sys.executable).parent / words[0], *words[1:], "app.toml"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("template", TEMPLATES)
def test_the_page_of_a_new_app_is_five_lines_and_its_command_works(template, made, modelapp):
    """The call that README.md shows is answered."""
    folder = made(template)
    page = (folder / "README.md").read_text()
    assert len(page.splitlines()) == 5
    assert page.splitlines()[0] == "# shop"
    assert max(map(len, page.splitlines())) <= 120
    command = shlex.split(re.search(r"`modelapp (predict .*)`", page)[1])
    asked = modelapp(*command, cwd=folder)
    assert asked.returncode == 0, asked.stderr


def test_pytest_proves_a_new_app_and_refuses_a_broken_one(made):
    """`pytest conformance` fails with what `modelapp test` said."""
    folder = made("tensor")
    code = (folder / "conformance" / "test_app.py").read_text()
    assert len([line for line in code.splitlines() if line]) == 2
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "conformance"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout
    shuffle(folder / "models" / "penguins.onnx")
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "FAIL  birds that the model was not trained on" in done.stdout
    assert "subprocess" not in done.stdout  # the frames between are hidden


def test_the_files_and_the_next_command_are_told(modelapp, tmp_path):
    """On standard output; each file that is told is there, and no other."""
    done = modelapp("init", "my shop", cwd=tmp_path)
    assert done.returncode == 0
    first, *_, last = done.stdout.splitlines()
    assert first.startswith("my shop: ")
    assert last == "next: cd 'my shop' && modelapp test"
    assert done.stderr == 'note: the app is called "my-shop": a name is lower-case letters, digits and dashes\n'
    told = json.loads(modelapp("init", "other", "--json", cwd=tmp_path).stdout)
    assert told["template"] == TEMPLATES[0]
    assert (told["app"], told["next"]) == ("other", "cd other && modelapp test")
    there = {p.relative_to(tmp_path / "other").as_posix() for p in (tmp_path / "other").rglob("*") if p.is_file()}
    assert set(told["files"]) == there
    for file in there:
        assert Path(file).name in done.stdout


def test_the_folder_may_be_the_current_one_or_that_of_c(modelapp, tmp_path):
    """A fresh repository is as good as an empty folder."""
    (tmp_path / "here" / ".git").mkdir(parents=True)
    done = modelapp("init", cwd=tmp_path / "here")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "next: modelapp test"
    done = modelapp("-C", "here", "init", "inner", "--template", "image", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "here" / "inner" / "handlers.py").is_file()


def test_a_second_init_is_refused_and_changes_nothing(made, modelapp):
    """With a way out, as an error of the command line, in JSON too."""
    folder = made("tensor")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    done = modelapp("init", cwd=folder)
    assert done.returncode == 2
    assert "is not empty: it holds" in done.stderr
    assert (
        "help: there is an app in it already; name a folder that does not exist yet: modelapp init DIR" in done.stderr
    )
    told = json.loads(modelapp("init", "--json", cwd=folder).stdout)["error"]
    assert (told["exit_status"], "is not empty" in told["message"]) == (2, True)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--template", "video"], "invalid choice: 'video'"),
        (["--set", "server.port=1"], "there is no app.toml yet"),
    ],
)
def test_a_command_line_that_means_nothing_is_refused(words, said, modelapp, tmp_path):
    """Before anything is written."""
    done = modelapp("init", "shop", *words, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_runtime_that_is_missing_is_named_with_its_command(modelapp, tmp_path):
    """The app is written all the same: what is missing can be installed."""
    done = modelapp("init", "shop", cwd=tmp_path, env={"MODELAPP_DISABLE_PLUGINS": "onnx"})
    assert done.returncode == 0
    assert 'the app needs the runtime "onnx"' in done.stderr
    assert (tmp_path / "shop" / "app.toml").is_file()


def shuffle(path):
    """Put every array of floats of a model into another order; it stays a model that runs."""
    rng = np.random.default_rng(1)
    model = onnx.load(path)
    for initializer in model.graph.initializer:
        array = numpy_helper.to_array(initializer)
        if array.dtype.kind == "f" and array.size > 1:
            mixed = rng.permutation(array.reshape(-1)).reshape(array.shape)
            initializer.CopyFrom(numpy_helper.from_array(mixed, initializer.name))
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())

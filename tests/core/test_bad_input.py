"""Input that nobody should write and somebody will: each has one plain answer, and none a traceback."""

import json
from pathlib import Path

import pytest

from modelapp.digests import SIGNATURES, cache_dir

SMALL = """\
[app]
name = "small"

[models.story]
source = "story.onnx"
runtime = "onnx"

[endpoints.tell]
model = "story"

[endpoints.tell.input]
photo = "image?"
"""

#: a key that holds a path -> what is added to the app to write it, with the path for {}
PATHS = {
    "source": '[models.poem]\nruntime = "onnx"\nsource = "{}"\n',
    "files": '[models.poem]\nruntime = "onnx"\nsource = "s"\nfiles = {{ words = "{}" }}\n',
    "labels": '[models.poem]\nruntime = "onnx"\nsource = "s"\nlabels = "{}"\n',
    "class": '[models.poem]\nruntime = "python"\nsource = "{}:Poem"\n',
    "preprocess": '[models.poem]\nruntime = "onnx"\nsource = "s"\npreprocess = "{}:clean"\n',
    "fields_from": '[endpoints.say]\nmodel = "story"\ninput = {{ x = {{ type = "record", fields_from = "{}" }} }}\n',
    "media": '[[tests]]\nname = "a"\ninput = {{ photo = "{}" }}\nexpect = {{ x = 1 }}\n',
    "cases": '[[tests]]\nname = "a"\ncases = "{}"\nmetric = "accuracy"\nmetric_min = 1\n',
    "expect_file": '[[tests]]\nname = "a"\nexpect_file = "{}"\n',
    "inputs": '[guarantees.latency]\np95_ms = 5\ninputs = "{}"\n',
    "reference": '[guarantees.drift]\nreference = "{}"\n',
    "input": '[jobs.night]\nendpoint = "tell"\noutput = "out.jsonl"\ninput = "{}"\n',
    "output": '[jobs.night]\nendpoint = "tell"\ninput = "in.jsonl"\noutput = "{}"\n',
}


def _told(dungeon, key, path):
    """The problems about one path, and the line it stands on."""
    text = SMALL + PATHS[key].format(path)
    return [problem for problem in dungeon.everything(text) if problem.code == "MA028"]


@pytest.mark.parametrize("key", PATHS)
@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/etc/hosts.py", "is an absolute path"),
        ("C:/models/x.py", "is an absolute path"),
        ("../x.py", "leaves the app's folder"),
        ("models/../../x.py", "leaves the app's folder"),
        ("models\\\\x.py", "has backslashes"),
        ("link/x.py", "leaves the app's folder through a symbolic link"),
    ],
)
def test_no_path_leaves_the_app_s_folder(dungeon, tmp_path_factory, key, path, said):
    """Not by being absolute, not upwards, not through a link, whichever key it stands in."""
    outside = tmp_path_factory.mktemp("outside")
    (outside / "x.py").write_text("def clean(x): ...\nclass Poem: ...\n")
    (dungeon.root / "link").symlink_to(outside)
    (problem,) = _told(dungeon, key, path)
    assert said in problem.message
    assert path in problem.source[problem.column - 1 :][: problem.length]


@pytest.mark.parametrize("key", PATHS)
@pytest.mark.parametrize("path", ["x" * 5000 + ".py", "a\\u0000b.py", "loop/x.py"])
def test_what_no_system_takes_for_a_path_is_told(dungeon, key, path):
    """A name longer than any file's, one with a NUL, and a circle of links, also where a model has run here before."""
    (dungeon.root / "loop").symlink_to(dungeon.root / "loop")
    (cache_dir() / SIGNATURES).mkdir(parents=True)
    (problem,) = _told(dungeon, key, path)
    assert problem.message.endswith("is no path")


@pytest.mark.parametrize("key", PATHS)
def test_a_link_within_the_folder_is_a_path_like_any_other(dungeon, key):
    """It leads to a folder of the app."""
    (dungeon.root / "there").mkdir()
    (dungeon.root / "link").symlink_to(dungeon.root / "there")
    assert _told(dungeon, key, "link/x.py") == []


@pytest.mark.parametrize("name", ["a b", "a/b", "ä", "a?b", "..", "-a", "", "x" * 101, "a\\nb"])
@pytest.mark.parametrize("table", ["models", "endpoints"])
def test_a_name_that_would_break_a_url(dungeon, table, name):
    """It is refused where it stands, and the edit gives one that would not."""
    body = 'source = "s"\nruntime = "onnx"\n' if table == "models" else 'model = "story"\npath = "/ok"\n'
    text = f'{SMALL}[{table}."{name}"]\n{body}'
    problem = next(one for one in dungeon.everything(text) if one.code == "MA025")
    assert problem.source.startswith(f'[{table}."{name[:90]}')
    assert not dungeon.everything(problem.edit.apply(text))


@pytest.mark.parametrize("name", ["a b", "a/b", "a.b", "ä", "x" * 64, ""])
def test_a_name_that_would_break_a_job_s_id(dungeon, name):
    """As a scheduler makes it from the app's name and the job's."""
    text = f'{SMALL}[jobs."{name}"]\nrun = "handlers.py:ready"\n'
    (problem,) = dungeon.everything(text)
    assert problem.code == "MA025"
    assert not dungeon.everything(problem.edit.apply(text))


@pytest.mark.parametrize("name", ["Small", "small app", "a", "9lives", "x" * 42, "small_app"])
def test_a_name_that_would_break_an_app_s_id(dungeon, name):
    """It becomes part of URLs and of jobs' ids."""
    text = SMALL.replace('"small"', f'"{name}"')
    (problem,) = dungeon.everything(text)
    assert (problem.code, problem.line) == ("MA025", 2)
    assert not dungeon.everything(problem.edit.apply(text))


def test_forms_of_toml_1_1_are_read_and_noted(dungeon):
    """The file is valid, and the note says who else may refuse it."""
    (dungeon.root / "story.onnx").touch()
    text = SMALL.replace('photo = "image?"', 'photo = {\n  type = "image?",\n}')
    assert not dungeon.everything(text)
    assert [notice.code for notice in dungeon.notices(text)] == ["MA009"]


class TestCommandLine:
    """The same as users meet it."""

    def test_no_file(self, modelapp, tmp_path: Path):
        """Exit status 3, and the way to the app."""
        done = modelapp("check", cwd=tmp_path)
        assert done.returncode == 3
        assert "there is no app.toml" in done.stdout + done.stderr
        assert "modelapp -C DIR" in done.stdout + done.stderr

    def test_a_folder_in_its_place(self, modelapp, tmp_path: Path):
        """It is said that it is one."""
        (tmp_path / "app.toml").mkdir()
        done = modelapp("check", cwd=tmp_path)
        assert done.returncode == 3
        assert "this is a folder, not an app file" in done.stdout + done.stderr

    @pytest.mark.parametrize(
        ("content", "code", "line"),
        [
            (b'[app]\nname = "caf\xe9"\n', "MA003", 2),
            ('[app]\nname = "small"\n'.encode("utf-16"), "MA000", 0),
            (b'[app]\nname = "small"\nname = "small"\n', "MA002", 3),
            (b"\x00\x01\x02", "MA001", 1),
            (b"\xef\xbb\xbf[app]\r\nnam = 5\r\n", "MA010", 2),
            (b"[" * 100_000, "MA001", 1),
            (b"a = " + b"[" * 100_000, "MA001", 0),
            (b"a = " + b"9" * 100_000, "MA001", 0),
        ],
    )
    def test_bytes_of_all_kinds(self, modelapp, tmp_path: Path, content: bytes, code: str, line: int):
        """A code and a line, as data."""
        (tmp_path / "app.toml").write_bytes(content)
        done = modelapp("check", "--json", cwd=tmp_path)
        assert done.returncode == 3
        assert "Traceback" not in done.stderr
        problem = json.loads(done.stdout)["problems"][0]
        assert (problem["code"], problem["line"]) == (code, line)

    @pytest.mark.parametrize(("words", "env"), [(("--profile", "prd"), {}), ((), {"MODELAPP_PROFILE": "prd"})])
    def test_a_profile_that_is_not_there(self, modelapp, write_app, words, env):
        """A bad command line, with the close match, wherever it was named."""
        root = write_app(SMALL + "[profiles.prod]\nserver.port = 1\n")
        done = modelapp("check", *words, cwd=root, env=env)
        assert done.returncode == 2
        assert 'app.toml has no profile "prd"' in done.stderr
        assert 'did you mean "prod"?' in done.stderr

    @pytest.mark.slow
    def test_five_megabytes(self, modelapp, write_app):
        """Thousands of tests are read, and the last one's mistake is told."""
        test = '[[tests]]\nname = "t{}"\ninput = {{ photo = "data/p.png" }}\nexpect = {{ z = "{}" }}\n\n'
        tests = "".join(test.format(number, "long text" * 30) for number in range(15_000))
        root = write_app(SMALL + tests + "bad = 1\n", {"data/p.png": b""})
        assert (root / "app.toml").stat().st_size > 5_000_000
        done = modelapp("check", "--json", cwd=root)
        (problem,) = json.loads(done.stdout)["problems"]
        assert (problem["code"], problem["source"]) == ("MA010", "bad = 1")

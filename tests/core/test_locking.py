"""What app.lock should say of an app: its files as they are, and what is known of recorded outputs."""

import hashlib
import os
import platform
from collections.abc import Callable, Mapping
from pathlib import Path

import attrs
import numpy as np
import pytest

from modelapp.app import App
from modelapp.errors import LoadError
from modelapp.loader import read_app
from modelapp.lockfile import Lock, LockedFile, LockedPlugin, LockedSource, Recorded, read_lock
from modelapp.locking import lock_of, made_with, record, requirement_name, survey
from modelapp.null import RUNTIME as NULL
from modelapp.plugins import Plugins
from modelapp.runtime import RuntimeSpec
from modelapp.scheduler import SchedulerSpec

APP = """
[app]
name = "shop"

[models.story]
source = "models/story.onnx"
runtime = "onnx"

[models.words]
source = "handlers.py:Words"
files = { list = "data/words.txt" }
runtime = "python"

[endpoints.tell]
steps = [
  { name = "ids", run = "words", needs = ["prompt"] },
  { name = "text", run = "story", needs = ["ids"] },
]

[endpoints.tell.input]
prompt = "str"

[endpoints.tell.output]
text = "str"

[endpoints.arms]
split = { arms = { story = 50, words = 50 } }

[[tests]]
name = "cave"
endpoint = "tell"
input = { prompt = "a cave" }
expect_file = "data/cave.json"

[[tests]]
name = "an arm"
endpoint = "arms"
arm = "words"
expect_error = { status = 422 }
"""
FILES: Mapping[str, str | bytes] = {
    "handlers.py": "class Words:\n    def predict(self, rows): return rows\n",
    "models/story.onnx": b"story",
    "data/words.txt": "a\n",
    "data/cave.json": "{}",
}
WriteApp = Callable[..., Path]


@attrs.frozen
class Strangers:
    """Plugins of which some come from a distribution of somebody else's."""

    origins: Mapping[tuple[str, str], tuple[str, str]] = attrs.Factory(dict)
    runtimes: Mapping[str, RuntimeSpec] = attrs.Factory(dict)
    schedulers: Mapping[str, SchedulerSpec] = attrs.Factory(dict)

    def distribution_of(self, kind: str, name: str) -> tuple[str, str]:
        """As it was made."""
        return self.origins.get((kind, name), ("modelapp", "0.1"))


def sha(content: str | bytes) -> str:
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


def locked(path: str, content: str | bytes) -> LockedFile:
    return LockedFile(path, sha(content), len(content))


def app_of(root: Path, profile: str = "") -> App:
    return read_app(root / "app.toml", Plugins.load(), profile=profile).app


def lock(root: Path, previous: Lock | None = None) -> Lock:
    return lock_of([app_of(root)], Plugins.load(), previous)


def paths(found: Lock) -> list[str]:
    return sorted(one.path for one in found.files)


def test_files_are_locked_and_code_is_not(write_app: WriteApp) -> None:
    """Version control keeps code; a model file is often not there, or only as a pointer."""
    found = lock(write_app(APP, FILES))
    assert set(found.files) == {locked("models/story.onnx", b"story"), locked("data/words.txt", "a\n")}
    assert (found.sources, found.plugins) == ((), ())
    assert found.recorded == (Recorded("cave", sha("{}")),)


def test_a_folder_is_locked_file_by_file(write_app: WriteApp) -> None:
    """So that a merge sees which changed; what a file manager or Python leaves there is none of it."""
    extra = {
        "models/story/b.onnx": b"b",
        "models/story/deep/a.bin": b"a",
        "models/story/code.py": "",
        "models/story/.DS_Store": b"x",
        "models/story/.cache/z": b"x",
        "models/story/__pycache__/code.cpython-311.pyc": b"x",
    }
    root = write_app(APP.replace("models/story.onnx", "./models//story/"), {**FILES, **extra})
    expected = ["data/words.txt", "models/story/b.onnx", "models/story/code.py", "models/story/deep/a.bin"]
    assert paths(lock(root)) == expected


def test_the_app_folder_itself_may_be_a_source(write_app: WriteApp) -> None:
    """app.lock cannot hold its own digest, nor should it hold app.toml's."""
    root = write_app(APP.replace('"models/story.onnx"', '"."'), {**FILES, "app.lock": ""})
    assert paths(lock(root)) == ["data/cave.json", "data/words.txt", "handlers.py", "models/story.onnx"]


def test_a_link_inside_the_folder_is_locked_under_its_own_name(write_app: WriteApp) -> None:
    """With the content of what it leads to; another target of other content is a drift."""
    root = write_app(APP, {**FILES, "models/v3.onnx": b"v3"})
    (root / "models/story.onnx").unlink()
    (root / "models/story.onnx").symlink_to("v3.onnx")
    assert locked("models/story.onnx", b"v3") in lock(root).files


def test_links_in_a_folder_are_followed_inside_the_app_only(write_app: WriteApp, tmp_path: Path) -> None:
    """Folders too; one that leads in a circle ends, one that leads out or nowhere is an error."""
    root = write_app(APP.replace("models/story.onnx", "models"), {**FILES, "blobs/x.bin": b"x"})
    (root / "models" / "linked").symlink_to(root / "blobs")
    (root / "models" / "again").symlink_to(root / "models")
    assert paths(lock(root)) == ["data/words.txt", "models/linked/x.bin", "models/story.onnx"]
    (root / "models" / "nowhere.bin").symlink_to("gone.bin")
    with pytest.raises(LoadError, match=r'models\.story\.source: "models/nowhere\.bin" is no file'):
        lock(root)
    (root / "models" / "nowhere.bin").unlink()
    (tmp_path / "secret").write_text("s")
    (root / "models" / "out.bin").symlink_to(tmp_path / "secret")
    with pytest.raises(LoadError, match=r'"models/out\.bin" is a link that leads out of the app\'s folder'):
        lock(root)


def test_a_name_that_is_no_text_is_refused(write_app: WriteApp) -> None:
    """TOML cannot hold it; one with a quote, a line end or an accent it can."""
    root = write_app(APP.replace("models/story.onnx", "models"), {**FILES, 'models/é "\n.bin': b"x"})
    assert 'models/é "\n.bin' in paths(lock(root))
    Path(os.fsdecode(os.fsencode(root) + b"/models/\xff.bin")).write_bytes(b"x")
    with pytest.raises(LoadError, match="is not UTF-8"):
        lock(root)


def test_a_pipe_is_not_read(write_app: WriteApp) -> None:
    """Reading one would wait for ever."""
    root = write_app(APP.replace("models/story.onnx", "models/pipe"), FILES)
    os.mkfifo(root / "models" / "pipe")
    with pytest.raises(LoadError, match=r'"models/pipe" is no file'):
        lock(root)


def test_all_that_is_missing_is_told_at_once(write_app: WriteApp) -> None:
    """By the keys that name it; the rest is surveyed all the same."""
    root = write_app(APP.replace('runtime = "onnx"', 'runtime = "onnx"\nfiles = { a = "package:nowhere/x" }'), FILES)
    (root / "models/story.onnx").unlink()
    with pytest.raises(LoadError) as raised:
        lock(root)
    assert 'models.story.source: there is no "models/story.onnx"' in str(raised.value)
    assert 'models.story.files.a: the package "nowhere" is not installed' in str(raised.value)
    found = survey([app_of(root)], Plugins.load())
    assert list(found.faults) == ["models/story.onnx", "package:nowhere/x"]
    assert paths(found.lock) == ["data/words.txt"]


def test_every_profile_counts(write_app: WriteApp) -> None:
    """A profile may point a model at another file: one lock is for all of them."""
    toml = APP + '\n[profiles.large]\nmodels.story.source = "models/large.onnx"\n'
    root = write_app(toml, {**FILES, "models/large.onnx": b"large"})
    found = lock_of([app_of(root), app_of(root, "large")], Plugins.load())
    assert paths(found) == ["data/words.txt", "models/large.onnx", "models/story.onnx"]


def test_package_sources_carry_their_distribution(write_app: WriteApp) -> None:
    """A file, and a folder with the digest of all that it holds."""
    here = Path(np.__file__).parent
    sources = 'files = { one = "package:numpy/version.py", all = "package:numpy.doc/." }'
    root = write_app(APP.replace('runtime = "onnx"', f'runtime = "onnx"\n{sources}'), FILES)
    found = {one.file: one for one in lock(root).sources}
    content = (here / "version.py").read_bytes()
    expected = ("story", "one", "package:numpy/version.py", "numpy", np.__version__, sha(content), len(content))
    assert found["one"] == LockedSource(*expected)
    assert (found["all"].distribution, found["all"].version) == ("numpy", np.__version__)
    size = sum(path.stat().st_size for path in (here / "doc").rglob("*") if path.is_file() and path.suffix != ".pyc")
    assert found["all"].size_bytes == size


def test_a_recorded_output_keeps_its_origin_while_it_is_the_same(write_app: WriteApp) -> None:
    """What made it cannot be computed again; of another file it would be a lie."""
    root = write_app(APP, FILES)
    fits, other = Recorded("cave", sha("{}"), ("x 1",)), Recorded("cave", "0" * 64, ("x 2",))
    gone = Recorded("gone", sha("{}"), ("x 3",))
    assert lock(root, Lock(recorded=(other, fits, gone))).recorded == (fits,)
    assert lock(root, Lock(recorded=(other, gone))).recorded == (Recorded("cave", sha("{}")),)
    (root / "data/cave.json").write_text("[]")
    assert lock(root, Lock(recorded=(fits,))).recorded == (Recorded("cave", sha("[]")),)


def test_plugins_of_others_are_locked(write_app: WriteApp) -> None:
    """Those whose runtime or scheduler is used, and those that [app] plugins names; never modelapp's own."""
    toml = APP.replace('name = "shop"', 'name = "shop"\nplugins = ["NumPy>=1", "modelapp"]')
    plugins = Strangers({("runtime", "onnx"): ("Acme_Onnx", "2.1"), ("runtime", "other"): ("unused", "1")})
    found = lock_of([app_of(write_app(toml, FILES))], plugins)
    assert set(found.plugins) == {LockedPlugin("acme-onnx", "2.1"), LockedPlugin("numpy", np.__version__)}


def test_installed_plugins_know_their_distribution() -> None:
    """The ones that come with the product are modelapp's."""
    plugins = Plugins.load(extra={"mine": object()})
    assert plugins.distribution_of("runtime", "onnx")[0] == "modelapp"
    assert plugins.distribution_of("scheduler", "nowhere") == ("", "")


@pytest.mark.parametrize("text", ["acme", "acme>=1", "acme[gpu] >= 1", "acme ; python_version > '3'", "acme==1"])
def test_a_requirement_is_about_a_distribution(text: str) -> None:
    """Whatever follows the name."""
    assert requirement_name(text) == "acme"


def test_a_record_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    """Of the same test; everything else stays. A file is made where there is none."""
    record(tmp_path, Recorded("a", "1" * 64, ("x 1",)))
    record(tmp_path, Recorded("b", "2" * 64))
    record(tmp_path, Recorded("a", "3" * 64, ("x 2",)))
    found = read_lock(tmp_path)
    assert found is not None
    assert set(found.recorded) == {Recorded("a", "3" * 64, ("x 2",)), Recorded("b", "2" * 64)}


def test_what_an_output_was_made_with(write_app: WriteApp) -> None:
    """Versions of the numeric stacks of all models of the endpoint, of one arm alone where the test names it."""
    plugins = Plugins.load()
    app = app_of(write_app(APP, FILES))
    cave, arm = app.tests
    numbers = f"numpy {np.__version__}"
    told = made_with(app, plugins, cave)
    assert [word.split()[0] for word in told[1:3]] == ["onnxruntime", "tokenizers"]
    assert told[3:] == ("cpu", platform.machine())
    assert told[0] == numbers
    assert made_with(app, plugins, arm) == (numbers, "cpu", platform.machine())
    assert made_with(app, plugins, app.endpoints["arms"]) == told


def test_precision_and_device_are_told_where_the_options_name_them(write_app: WriteApp) -> None:
    """A stack that is not installed is left out."""

    @attrs.frozen
    class Options:
        dtype: str = "float16"
        precision: str = ""

    app = app_of(write_app(APP.replace('runtime = "onnx"', 'runtime = "onnx"\ndevice = "cuda:0"'), FILES))
    story = attrs.evolve(app.models["story"], options=Options())
    app = attrs.evolve(app, models={**app.models, "story": story})
    spec = attrs.evolve(NULL, name="onnx", numeric_stack=("numpy", "not-installed-anywhere"))
    told = made_with(app, Strangers(runtimes={"onnx": spec}), app.endpoints["tell"])
    assert told == (f"numpy {np.__version__}", "cpu", "cuda:0", platform.machine(), "float16")

"""Where an exported model is written: whole or not at all, and never over something else."""

from pathlib import Path
from typing import Any

import pytest

from modelapp.app import App, AppInfo, Model
from modelapp.errors import InconclusiveError, SurroundingsError, UsageError
from modelapp.exporting import MAIN_FILE, Exporting, check_target, put, workshop
from modelapp.plugins import Plugins

APP = App(app=AppInfo(name="a"), models={"story": Model(name="story", source="handlers.py:Story", runtime="python")})


def test_a_workshop_leaves_nothing(tmp_path: Path) -> None:
    """Neither itself nor the folders that were made for it, whatever ends the work; what was put stays."""
    target = tmp_path / "a" / "b" / "model"

    def begin(end: type[BaseException]) -> None:
        with workshop(target) as folder:
            (folder / "half").write_text("x")
            raise end

    for end in (KeyboardInterrupt, ValueError):
        with pytest.raises(end):
            begin(end)
        assert list(tmp_path.iterdir()) == []
    with workshop(target) as folder:
        (folder / "made").mkdir()
        put(folder / "made", target)
    assert [path.name for path in target.parent.iterdir()] == ["model"]


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    """As is anything else that cannot be written."""
    with pytest.raises(SurroundingsError, match="cannot be written: No space left"), workshop(tmp_path / "m") as folder:
        raise OSError(28, "No space left on device", str(folder))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(SurroundingsError, match="Not a directory"), workshop(tmp_path / "file" / "m"):
        pass


def test_what_is_replaced_goes_only_when_the_new_one_is_there(tmp_path: Path) -> None:
    """The old folder is gone with the workshop; where the new one cannot be moved it stands as it was."""
    target = tmp_path / "model"
    target.mkdir()
    (target / "old").write_text("")
    with workshop(target) as folder:
        with pytest.raises(OSError, match="No such file"):
            put(folder / "never made", target)
        assert (target / "old").exists()
        (folder / "made").mkdir()
        (folder / "made" / "new").write_text("")
        put(folder / "made", target)
    assert [path.name for path in target.iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_only_an_earlier_export_is_replaced(tmp_path: Path) -> None:
    """And that by --force alone; an empty folder and none are free."""
    app = App(app=AppInfo(name="a"), root=tmp_path / "app")
    target = tmp_path / "model"
    check_target(target, app, force=False)
    target.mkdir()
    check_target(target, app, force=False)
    (target / "notes.txt").write_text("mine")
    for force in (False, True):
        with pytest.raises(UsageError, match="something other than an exported model"):
            check_target(target, app, force=force)
    (target / MAIN_FILE).write_text("")
    with pytest.raises(UsageError, match="is there already"):
        check_target(target, app, force=False)
    check_target(target, app, force=True)
    (tmp_path / MAIN_FILE).write_text("")
    for place in (tmp_path, tmp_path / MAIN_FILE):  # the first holds the app itself
        with pytest.raises(UsageError, match="no folder of an exported model"):
            check_target(place, app, force=True)


def test_an_unknown_model_is_told_with_a_near_name() -> None:
    """Before anything is opened."""
    with pytest.raises(UsageError, match='there is no model "stroy"') as caught:
        Exporting(APP, Plugins.load(), "stroy", "onnx", print)
    assert caught.value.help == 'did you mean "story"?'


def test_a_runtime_must_be_able_to(write_app: Any) -> None:
    """A class of the app's own that is no network cannot be written as a graph; and without tests nothing is judged."""
    from modelapp.loader import load_app

    toml = '[app]\nname = "app"\n[models.story]\nsource = "handlers.py:Story"\nruntime = "python"\n'
    root = write_app(toml, {"handlers.py": "class Story:\n    def predict(self, x: int) -> int:\n        return x\n"})
    job = Exporting(load_app(root / "app.toml", Plugins.load()), Plugins.load(), "story", "onnx", print)
    with pytest.raises(UsageError, match='the python runtime cannot export model "story" to onnx'):
        job.check()
    with pytest.raises(InconclusiveError, match="no test reaches"):
        job.judged_by_tests()
    assert not job.is_there

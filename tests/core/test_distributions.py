"""Which distribution a file of a package came with."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from modelapp.distributions import owner

Install = Callable[..., None]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of installed packages, on sys.path."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    return folder


@pytest.fixture
def install(site: Path) -> Install:
    """install("dist", "1.0", "package/file", ...) as pip leaves it."""

    def put(name: str, version: str, *files: str, **more: str) -> None:
        info = site / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        for file in files:
            (site / file).parent.mkdir(parents=True, exist_ok=True)
            (site / file).write_bytes(b"weights")
        listed = [f'"{file}",,' if "," in file else f"{file},sha256=x,7" for file in files]
        (info / "RECORD").write_text("\n".join([*listed, f"{info.name}/METADATA,,"]))
        for file, text in more.items():
            (info / file.replace("_json", ".json")).write_text(text)

    return put


def test_the_distribution_that_lists_the_file(site: Path, install: Install) -> None:
    """Under another name than the package."""
    install("Acme.Weights", "1.2", "acme_models/net.onnx")
    assert owner("acme_models", site / "acme_models/net.onnx") == ("acme-weights", "1.2")


def test_packages_that_share_a_namespace_are_told_apart(site: Path, install: Install) -> None:
    """Two distributions bring parts of one package; a name with a comma is quoted in their lists."""
    install("acme-small", "1", "acme/small/net.onnx")
    install("acme-large", "2", "acme/large/net,v2.onnx")
    assert owner("acme", site / "acme/small/net.onnx") == ("acme-small", "1")
    assert owner("acme", site / "acme/large/net,v2.onnx") == ("acme-large", "2")
    assert owner("acme", site / "acme/large/net,v2.onnx", likely="acme-small") == ("acme-large", "2")
    assert owner("acme", site / "acme/large/net,v2.onnx", likely="gone") == ("acme-large", "2")


def test_the_likely_one_saves_asking_all(site: Path, install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking every installed distribution what it brings takes 100 ms and more."""
    install("acme-small", "1", "acme/small/net.onnx")
    monkeypatch.setattr("importlib.metadata.distributions", lambda: pytest.fail("all were asked"))
    assert owner("acme", site / "acme/small/net.onnx", likely="acme-small") == ("acme-small", "1")


def test_an_editable_one_claims_its_folder(tmp_path: Path, install: Install) -> None:
    """Its list of files has only what points there."""
    source = tmp_path / "my project" / "acme_models"
    source.mkdir(parents=True)
    (source / "net.onnx").write_bytes(b"weights")
    url = source.parent.as_uri()
    install("acme-models", "0.1", "_acme.pth", direct_url_json=json.dumps({"url": url, "dir_info": {"editable": True}}))
    assert owner("acme_models", source / "net.onnx") == ("acme-models", "0.1")
    assert owner("acme", source / "net.onnx") == ("acme-models", "0.1")


def test_a_folder_that_no_distribution_brought(site: Path, install: Install) -> None:
    """A package that merely lies on the path, and one whose distribution does not list the file."""
    install("acme", "1", "acme/net.onnx", direct_url_json="{")
    (site / "acme" / "extra.onnx").write_bytes(b"")
    (site / "loose").mkdir()
    (site / "loose" / "net.onnx").write_bytes(b"")
    assert owner("loose", site / "loose/net.onnx") == ("", "")
    assert owner("acme", site / "acme/extra.onnx") == ("", "")


def test_real_ones() -> None:
    """numpy's own files, wherever they were installed."""
    import numpy as np

    assert owner("numpy", Path(np.__file__)) == ("numpy", np.__version__)
    assert owner("nowhere", Path(sys.prefix) / "nowhere.py") == ("", "")

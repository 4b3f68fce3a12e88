"""How this modelapp was installed, and what an installer is told to install the same."""

import json

import pytest

from modelapp.errors import SurroundingsError
from modelapp.installation import installation


@pytest.fixture
def site(tmp_path):
    """Lays a modelapp into a folder: site(direct_url, **more)."""

    def lay(direct=None, *, code="sha256=aa", needs=("numpy>=2", "granian<3,>=2.8", "onnxruntime>=1; extra == 'onnx'")):
        info = tmp_path / "modelapp-0.7.dist-info"
        info.mkdir(exist_ok=True)
        lines = ["Metadata-Version: 2.4", "Name: modelapp", "Version: 0.7", *(f"Requires-Dist: {n}" for n in needs)]
        (info / "METADATA").write_text("\n".join([*lines, "", "Requires-Dist: words>=9"]))
        rows = [
            f"modelapp/app.py,{code},10",
            "modelapp-0.7.dist-info/METADATA,sha256=zz,5",
            "../bin/modelapp,sha256=q,1",
        ]
        (info / "RECORD").write_text("\n".join(rows))
        if direct is not None:
            (info / "direct_url.json").write_text(json.dumps(direct))
        return [str(tmp_path)]

    return lay


def test_one_from_an_index_is_had_by_its_version(site):
    """The very same version."""
    found = installation(site())
    assert (found.version, found.words, found.path) == ("0.7", ("modelapp==0.7",), None)


@pytest.mark.parametrize(
    ("direct", "words"),
    [
        ({"url": "file:///srv/my%20code", "dir_info": {"editable": True}}, ("-e", "/srv/my code")),
        ({"url": "file:///srv/code", "dir_info": {}}, ("/srv/code",)),
        ({"url": "file:///srv/modelapp-0.7.whl", "archive_info": {}}, ("/srv/modelapp-0.7.whl",)),
        ({"url": "https://a.org/m.whl", "archive_info": {}}, ("modelapp @ https://a.org/m.whl",)),
        (
            {"url": "https://a.org/m.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}, "subdirectory": "sub"},
            ("modelapp @ git+https://a.org/m.git@abc#subdirectory=sub",),
        ),
    ],
)
def test_one_from_a_place_is_had_from_there(direct, words, site):
    """An editable folder, a folder, a wheel, a URL, a commit."""
    assert installation(site(direct)).words == words


def test_another_code_has_another_stamp(site):
    """What is compared is the modules, not what an installer wrote about them."""
    first, again, other = installation(site()), installation(site()), installation(site(code="sha256=bb"))
    assert (first.stamp, first.code) == (again.stamp, again.code)
    assert first.stamp != other.stamp
    assert first.code == {"modelapp/app.py,sha256=aa,10"}


def test_an_editable_one_is_known_by_its_needs_alone(site):
    """Its code changes by the minute; what must be installed with it does not."""
    direct = {"url": "file:///srv/code", "dir_info": {"editable": True}}
    first, edited = installation(site(direct)), installation(site(direct, code="sha256=bb"))
    assert first.stamp == edited.stamp
    assert installation(site(direct, needs=("numpy>=3",))).stamp != first.stamp


def test_what_it_needs_in_any_case_is_known(site):
    """Not what extras need, nor what the description speaks of."""
    found = installation(site())
    assert found.needs == (("numpy", ">=2"), ("granian", "<3,>=2.8"))
    assert found.unmet("numpy", "1.26.4") == ">=2"
    assert found.unmet("granian", "3.0") == "<3,>=2.8"
    assert (found.unmet("numpy", "2.4"), found.unmet("scipy", "0.1")) == ("", "")


def test_one_that_is_not_installed_is_told(tmp_path):
    """A folder on the path is no distribution."""
    with pytest.raises(SurroundingsError, match="not installed as a distribution"):
        installation([str(tmp_path)])


def test_the_running_one_is_found():
    """The tests run on an installed modelapp."""
    assert installation().needs

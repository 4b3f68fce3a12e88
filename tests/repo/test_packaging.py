"""The packages in the rooms, the wheel, the entry points and the import rules name the same things."""

import importlib.metadata
import re


def test_every_package_goes_into_the_wheel(project, packages, root):
    """The build tool does not look for packages itself; one left out would be missing at the user's only."""
    listed = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert sorted(listed) == [package.relative_to(root).as_posix() for package in packages]


def test_every_package_is_typed(packages):
    """Without py.typed a user's type checker takes every import from it for Any."""
    assert [package.name for package in packages if not (package / "py.typed").exists()] == []


def test_every_package_is_under_the_import_rules(project, packages):
    """Import rules that do not see a package do not hold in it."""
    assert sorted(project["tool"]["importlinter"]["root_packages"]) == sorted(package.name for package in packages)


def test_every_plugin_package_has_its_entry_point(project, packages):
    """What comes with the product uses the strangers' door: modelapp_x is registered as x."""
    points = project["project"]["entry-points"]["modelapp"]
    plugins = {
        package.name.removeprefix("modelapp_"): package.name for package in packages if package.name != "modelapp"
    }
    assert points == {"null": "modelapp.null", **plugins}


def test_the_installed_entry_points_are_those_of_the_project(project):
    """A stale installation would test something else than the tree."""
    installed = importlib.metadata.distribution("modelapp").entry_points.select(group="modelapp")
    assert {point.name: point.value for point in installed} == project["project"]["entry-points"]["modelapp"]


def test_a_clone_opened_in_an_editor_finds_every_room(project, packages):
    """Before anything is installed, pyright needs the source roots."""
    assert sorted(project["tool"]["pyright"]["extraPaths"]) == sorted({package.parent.name for package in packages})


def test_no_extra_is_empty_and_torch_comes_only_when_asked_for(project):
    """An extra without content promises what is not there; torch weighs gigabytes, and the demo goes without."""
    extras = project["project"]["optional-dependencies"]
    assert all(extras.values())
    assert [word for word in project["project"]["dependencies"] if word.startswith("torch")] == []
    with_torch = {
        name
        for name, words in extras.items()
        if any(_name(word) == "torch" or re.match(r"modelapp\[.*torch", word) for word in words)
    }
    assert with_torch == {"torch", "export", "all"}


def test_the_extra_all_holds_every_other(project):
    """`pip install 'modelapp[all]'` means it."""
    extras = dict(project["project"]["optional-dependencies"])
    (everything,) = extras.pop("all")
    assert everything == f"modelapp[{','.join(extras)}]"


def test_the_constraints_hold_what_the_project_asks_for(project, root):
    """Each dependency has its line, so that a new release of one cannot change what the tests see."""
    lines = [line.split("#")[0].strip() for line in (root / "constraints.txt").read_text().splitlines()]
    held = {"modelapp", *(_name(line) for line in lines if line)}  # an extra may name another one
    extras = project["project"]["optional-dependencies"]
    groups = project["dependency-groups"]
    wanted = [*project["project"]["dependencies"], *(word for words in extras.values() for word in words)]
    wanted += [*groups["lint"], *groups["test"]]
    assert {_name(line) for line in wanted} - held == set()


def _name(requirement):
    for mark in "[<>=~! ":
        requirement = requirement.split(mark)[0]
    return requirement.lower()

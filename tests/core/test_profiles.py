"""Profiles: keys laid over app.toml, in order, each problem placed where its key was written."""

from pathlib import Path
from textwrap import dedent

import pytest

from modelapp.errors import AppFileError, UsageError
from modelapp.loader import Reading, check_app, read_app
from modelapp.problems import Problem

BASE = """\
[app]
name = "tale"

[models.story]
source = "models/story.onnx"
runtime = "onnx"
max_batch_size = 8

[models.story.onnx]
threads = 2

[endpoints.tell]
model = "story"
timeout_s = 20

[endpoints.tell.input]
ids = { type = "tensor", dtype = "int64", shape = [-1] }

[guarantees.latency]
p95_ms = 250
"""


class Tale:
    """An app file with profiles, in a folder of its own."""

    def __init__(self, root: Path, plugins) -> None:
        self.path = root / "app.toml"
        self.plugins = plugins

    def write(self, profiles: str) -> "Tale":
        self.path.write_text(BASE + dedent(profiles), encoding="utf-8")
        return self

    def read(self, profile: str = "", *overrides: str) -> Reading:
        return read_app(self.path, self.plugins, profile=profile, overrides=overrides)

    def problems(self, profile: str | None = None) -> list[Problem]:
        """What `check` says, or reading with one profile."""
        with pytest.raises(AppFileError) as caught:
            check_app(self.path, self.plugins) if profile is None else self.read(profile)
        return list(caught.value.problems)

    def mended(self, problem: Problem) -> None:
        """The problem's edit makes the file valid."""
        assert problem.edit is not None
        self.path.write_bytes(problem.edit.apply(self.path.read_bytes().decode()).encode())
        check_app(self.path, self.plugins)


@pytest.fixture
def tale(tmp_path: Path, plugins) -> Tale:
    return Tale(tmp_path, plugins)


def test_a_profile_is_laid_over_the_file_only_when_asked_for(tale: Tale) -> None:
    """Tables merge, other keys stay."""
    tale.write("""
        [profiles.prod]
        models.story.max_batch_size = 32
        server.port = 9000
    """)
    assert tale.read().app.models["story"].max_batch_size == 8
    prod = tale.read("prod").app
    assert (prod.models["story"].max_batch_size, prod.models["story"].runtime, prod.server.port) == (32, "onnx", 9000)


def test_lists_are_replaced(tale: Tale) -> None:
    """A list of the profile stands in the place of the file's, whole."""
    tale.write("""
        [profiles.prod]
        deploy.rollout.steps = [50, 100]
    """)
    assert tale.read("prod").app.deploy.rollout.steps == (50.0, 100.0)


def test_the_extended_profile_comes_first_and_overrides_last(tale: Tale) -> None:
    """File < extended profile < profile < --set."""
    tale.write("""
        [profiles.big]
        models.story.max_batch_size = 16
        models.story.max_queue = 500
        server.port = 1
        [profiles.prod]
        extends = "big"
        models.story.max_batch_size = 32
        server.port = 2
    """)
    app = tale.read("prod", "server.port=3").app
    assert (app.models["story"].max_batch_size, app.models["story"].max_queue, app.server.port) == (32, 500, 3)


def test_a_profile_that_is_not_there_is_a_bad_command_line(tale: Tale) -> None:
    """It was named outside the file; the close match is told."""
    tale.write("[profiles.prod]\nserver.port = 1\n")
    with pytest.raises(UsageError, match='no profile "prd"') as caught:
        tale.read("prd")
    assert "prod" in caught.value.help


@pytest.mark.parametrize(
    ("profiles", "code", "line", "marked"),
    [
        ("[profiles.prod]\nmodels.story.max_bach_size = 4\n", "MA010", 22, "max_bach_size"),
        ('[profiles.prod]\nmodels.story.max_batch_size = "4"\n', "MA020", 22, '"4"'),
        ("[profiles.prod]\nserver.port = 70000\n", "MA021", 22, "70000"),
        ('[profiles.prod]\nendpoints.tell.model = "storry"\n', "MA041", 22, '"storry"'),
        ('[profiles.prod]\nextends = "big"\n', "MA071", 22, '"big"'),
        ('[profiles.prod]\nextends = "prod"\n', "MA071", 22, '"prod"'),
        ("[profiles.prod]\ndepoy.replicas = 4\n", "MA010", 22, "depoy"),
        ("[profiles.prod]\nmodels.story.max_wait_s = 0.015\n", "MA011", 22, "max_wait_s"),
        ("[profiles.prod]\ntests = []\n", "MA072", 22, "tests"),
    ],
)
def test_a_mistake_is_placed_in_the_profile_and_can_be_mended_there(
    tale: Tale, profiles: str, code: str, line: int, marked: str
) -> None:
    """The base file is not blamed for it, and its text is not edited."""
    (problem,) = tale.write(profiles).problems()
    assert (problem.code, problem.line) == (code, line)
    assert problem.source[problem.column - 1 :][: problem.length] == marked
    tale.mended(problem)


def test_a_profile_that_is_not_chosen_does_not_stop_the_others(tale: Tale) -> None:
    """`check` tells of it; reading the app as it runs does not need it."""
    tale.write("[profiles.prod]\nserver.port = 70000\n")
    assert tale.read().app.server.port == 8000
    assert [problem.code for problem in tale.problems()] == ["MA021"]


def test_a_problem_of_the_file_itself_is_told_once(tale: Tale) -> None:
    """Though every profile has it too."""
    tale.write("[profiles.a]\nserver.port = 1\n[profiles.b]\nserver.port = 2\n[monitoring]\nx = 1\n")
    assert [problem.code for problem in tale.problems()] == ["MA010"]


def test_a_table_that_both_speak_of_is_the_file_s(tale: Tale) -> None:
    """What is missing in a table is missing where its header stands, though a profile adds a key to it."""
    text = BASE.replace('runtime = "onnx"\n', "") + "[profiles.prod]\nmodels.story.max_queue = 3\n"
    tale.path.write_text(text, encoding="utf-8")
    (problem,) = tale.problems("prod")
    assert (problem.code, problem.line) == ("MA014", 4)


def test_the_options_of_a_runtime_that_only_a_profile_chooses_may_stand_in_the_file(tale: Tale) -> None:
    """The table is read when the profile is chosen, and kept otherwise."""
    tale.write("""
        [models.story.python]
        beams = 5
        [profiles.gpu]
        models.story.runtime = "python"
    """)
    assert tale.read("gpu").app.models["story"].options.values == {"beams": 5}
    assert tale.read().app.models["story"].options.threads == 2


def test_a_scheduler_that_is_not_installed_is_noted_and_its_table_kept(tale: Tale) -> None:
    """The name stands in a profile; a word that no profile chooses is a misspelling."""
    tale.write("""
        [deploy.nomad]
        driver = "docker"
        [profiles.prod]
        deploy.scheduler = "nomad"
    """)
    codes = [(notice.code, notice.severity) for notice in tale.read("prod").notices]
    assert ("MA033", "note") in codes
    tale.write("[deploy.rolout]\nstep_s = 1\n")
    (problem,) = tale.problems()
    assert (problem.code, problem.help) == ("MA010", 'did you mean "rollout"?')
    tale.mended(problem)


def test_what_has_no_effect_yet_is_named_once_a_table(tale: Tale) -> None:
    """[deploy] with all its keys is one warning, a key of a table that works another."""
    tale.write("""
        [deploy]
        replicas = 2
        rollout.bake_s = 5
        [models.second]
        source = "m.onnx"
        runtime = "onnx"
        preload = false
    """)
    told = [notice for notice in tale.read().notices if notice.code == "MA015"]
    assert [notice.message.split(" is ")[0] for notice in told] == ["[guarantees.latency]", "[deploy]", '"preload"']
    assert {notice.severity for notice in told} == {"warning"}


def test_a_loosened_guarantee_is_named_with_its_profile(tale: Tale) -> None:
    """Both numbers and who did it; one that is tightened is not named."""
    tale.write("""
        [profiles.laptop]
        guarantees.latency.p95_ms = 2000
        [profiles.prod]
        guarantees.latency.p95_ms = 80
    """)
    (one,) = tale.read("laptop").loosened
    assert str(one) == "guarantees.latency.p95_ms 250 -> 2000 by profile laptop"
    assert tale.read("prod").loosened == ()
    (one,) = tale.read("", "guarantees.latency.p95_ms=300").loosened
    assert one.by == "--set"


def test_options_that_nothing_chooses_are_a_warning(tale: Tale) -> None:
    """Those of an installed runtime that neither the file nor any profile names."""
    tale.write("[models.story.python]\nbeams = 5\n")
    (told,) = [notice for notice in tale.read().notices if notice.code == "MA034"]
    assert (told.severity, told.source) == ("warning", "[models.story.python]")
    tale.write('[models.story.python]\nbeams = 5\n[profiles.gpu]\nmodels.story.runtime = "python"\n')
    assert [notice for notice in tale.read().notices if notice.code == "MA034"] == []


def test_what_another_model_chooses_is_not_chosen_here(tale: Tale) -> None:
    """Each model has options of its own."""
    poem = '[models.poem]\nsource = "poem.bin"\nruntime = "python"\n'
    tale.write(f"{poem}[models.story.python]\nbeams = 5\n[models.poem.onnx]\nthreads = 2\n")
    told = [notice.source for notice in tale.read().notices if notice.code == "MA034"]
    assert told == ["[models.story.python]", "[models.poem.onnx]"]


@pytest.mark.parametrize(
    ("profiles", "marked", "help"),
    [
        ("[profiles.prod]\nmodels.storry.max_queue = 4\n", "storry", 'did you mean "story"?'),
        ("[profiles.prod]\nendpoints.tel.timeout_s = 4\n", "tel", 'did you mean "tell"?'),
        ("[profiles.prod.models.storry]\nmax_queue = 4\n", "storry", 'did you mean "story"?'),
    ],
)
def test_a_profile_about_what_is_not_there_names_what_is(tale: Tale, profiles: str, marked: str, help: str) -> None:
    """It is one mistake, not a new model without all that a model needs."""
    (problem,) = tale.write(profiles).problems()
    assert (problem.code, problem.help) == ("MA073", help)
    assert problem.source[problem.column - 1 :][: problem.length] == marked
    tale.mended(problem)
    (again,) = tale.write(profiles).problems("prod")
    assert again == problem


def test_a_profile_may_bring_a_model_of_its_own(tale: Tale) -> None:
    """Also in a profile that another one extends."""
    tale.write("""
        [profiles.big]
        models.poem = { source = "models/poem.onnx", runtime = "onnx" }
        [profiles.prod]
        extends = "big"
        models.poem.max_queue = 4
        endpoints.tell.model = "poem"
    """)
    check_app(tale.path, tale.plugins)
    assert tale.read("prod").app.models["poem"].max_queue == 4

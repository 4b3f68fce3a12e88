"""Right keys in the wrong arrangement: a level too high, in a list of tables, with and without a name."""

import pytest

from modelapp.loader import check_app


def mended(dungeon, text):
    """The text after all edits that are offered, the last place first; it must be valid then, under every profile."""
    problems = dungeon.everything(text)
    assert all(problem.edit is not None for problem in problems)
    for problem in sorted(problems, key=lambda one: -one.edit.start):
        text = problem.edit.apply(text)
    assert not dungeon.everything(text)
    return text


@pytest.fixture
def table(dungeon):
    """Adds to the app, and gives what is wrong then: `table(text)`; the text as mended is `table.mended`."""

    class Table:
        def __call__(self, more):
            text = dungeon.text + more
            problems = dungeon.everything(text)
            self.mended = mended(dungeon, text).removeprefix(dungeon.text)
            lines = text.splitlines()
            return [(one.code, lines[one.line - 1][one.column - 1 :][: one.length], one.help) for one in problems]

    return Table()


class TestTooHigh:
    """Keys that stand in [deploy] or [guarantees] and belong one level down."""

    def test_a_key_of_a_rollout_has_the_way_down(self, table):
        """As a dotted key, where there is no header of its table."""
        told = table('[deploy]\nstrategy = "rolling"\nreplicas = 2\n')
        assert told == [("MA012", "strategy", "write rollout.strategy = ..., or begin [deploy.rollout]")]
        assert table.mended == '[deploy]\nrollout.strategy = "rolling"\nreplicas = 2\n'

    def test_with_a_header_the_line_is_moved_there(self, table):
        """With its comment."""
        told = table("[deploy]\nbake_s = 5 # warm\n[deploy.rollout]\ndrain_s = 40\n")
        assert told == [("MA012", "bake_s", "move this line to directly under [deploy.rollout]")]
        assert table.mended == "[deploy]\n[deploy.rollout]\nbake_s = 5 # warm\ndrain_s = 40\n"

    def test_a_header_in_the_last_line_is_reached_too(self, table):
        """Though no line end follows it."""
        table("[deploy]\nbake_s = 5\n[deploy.rollout]")
        assert table.mended == "[deploy]\n[deploy.rollout]\nbake_s = 5\n"

    def test_several_are_told_each(self, table):
        """And all edits go together."""
        told = table("[deploy]\ndrain_s = 40\nhealth_deadline_s = 9\n")
        assert [marked for _, marked, _ in told] == ["drain_s", "health_deadline_s"]
        assert table.mended == "[deploy]\nrollout.drain_s = 40\nrollout.health_deadline_s = 9\n"

    @pytest.mark.parametrize(
        ("value", "after"),
        [
            ("1", '[deploy]\nrollout = { strategy = "canary", steps = [10, 100] }\n'),
            ("0", "[deploy]\n"),
        ],
    )
    def test_a_number_of_canaries_becomes_shares(self, table, value, after):
        """Other systems count replicas."""
        ((code, marked, _),) = table(f"[deploy]\ncanary = {value}\n")
        assert (code, marked) == ("MA012", "canary")
        assert table.mended == after

    def test_limits_right_below_guarantees(self, table):
        """They are those of the latency."""
        told = table("[guarantees]\np95_ms = 250\n")
        assert told == [("MA012", "p95_ms", "write latency.p95_ms = ..., or begin [guarantees.latency]")]
        assert table.mended == "[guarantees]\nlatency.p95_ms = 250\n"

    def test_in_a_profile_the_key_of_the_profile_is_meant(self, table):
        """Its dotted key becomes a longer one."""
        table("[profiles.prod]\ndeploy.drain_s = 40\n")
        assert table.mended == "[profiles.prod]\ndeploy.rollout.drain_s = 40\n"

    @pytest.mark.parametrize(
        ("text", "after"),
        [
            ('[profiles.p]\ndeploy.strategy = "canary"\n', '[profiles.p]\ndeploy.rollout.strategy = "canary"\n'),
            (
                '[profiles.p.deploy]\nstrategy = "canary"\n[profiles.p.deploy.rollout]\nstep_s = 6\n',
                '[profiles.p.deploy]\n[profiles.p.deploy.rollout]\nstrategy = "canary"\nstep_s = 6\n',
            ),
            (
                "[profiles.p]\ndeploy.canary = 1\n",
                '[profiles.p]\ndeploy.rollout = { strategy = "canary", steps = [10, 100] }\n',
            ),
        ],
    )
    def test_what_a_profile_says_stays_in_the_profile(self, table, text, after):
        """Also where the rest of the file has the header that the key lacks."""
        base = "[deploy.rollout]\nbake_s = 5\n"
        table(base + text)
        assert table.mended == base + after

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ("rollout = { bake_s = 5 }\nstrategy = 'rolling'\n", "{ strategy = 'rolling', bake_s = 5 }"),
            ("strategy = 'rolling'\nrollout = {}\n", "{ strategy = 'rolling' }"),
        ],
    )
    def test_into_an_inline_table_the_key_is_taken(self, table, before, after):
        """TOML lets no dotted key add to it."""
        assert table(f"[deploy]\n{before}") == [("MA012", "strategy", "move it into rollout = { ... }")]
        assert table.mended == f"[deploy]\nrollout = {after}\n"

    def test_a_required_key_below_the_header_of_options_belongs_above(self, dungeon):
        """It is not missing, it has strayed."""
        text = dungeon.text.replace('runtime = "onnx"\n', "").replace(
            "threads = 2\n", 'threads = 2\nruntime = "onnx"\n'
        )
        (problem,) = dungeon.everything(text)
        assert (problem.code, problem.source) == ("MA012", 'runtime = "onnx"')
        assert not dungeon.everything(problem.edit.apply(text))


class TestLists:
    """[[guarantees.latency]]."""

    def test_one_alone_needs_no_name(self, table):
        """Its brackets are taken off."""
        told = table("[[guarantees.latency]]\np95_ms = 250\n")
        assert told == [("MA013", "[[guarantees.latency]]", "write [guarantees.latency]")]
        assert table.mended == "[guarantees.latency]\np95_ms = 250\n"

    def test_each_of_several_gets_a_name(self, table):
        """That of what it is about, where that is told."""
        told = table(
            '[[guarantees.latency]]\nendpoint = "both"\np95_ms = 250\n[[guarantees.latency]]\np50_ms = 20\n'
            '[[guarantees.latency]]\nendpoint = "both"\np99_ms = 900\n'
        )
        assert [advice for *_, advice in told] == [
            "write [guarantees.latency.both], or another name",
            "write [guarantees.latency.load-2], or another name",
            "write [guarantees.latency.both-3], or another name",
        ]
        assert table.mended.count("[guarantees.latency.") == 3

    @pytest.mark.parametrize("base", ["", "[guarantees.latency]\np95_ms = 250\n"])
    def test_a_list_in_a_profile_stays_in_the_profile(self, table, base):
        """Without the profile's name the promise would hold everywhere."""
        table(f"{base}[[profiles.p.guarantees.latency]]\np95_ms = 900\n")
        assert table.mended == f"{base}[profiles.p.guarantees.latency]\np95_ms = 900\n"

    def test_a_single_table_in_a_profile_stays_there_too(self, table):
        """[[profiles.NAME.server]] is none of the app's own."""
        table("[[profiles.p.server]]\nport = 8001\n")
        assert table.mended == "[profiles.p.server]\nport = 8001\n"

    def test_a_list_of_inline_tables_is_refused(self, dungeon):
        """Once, without an edit."""
        (problem,) = dungeon.everything(dungeon.text + "[guarantees]\nlatency = [{ p95_ms = 5 }, { p95_ms = 6 }]\n")
        assert (problem.code, problem.edit) == ("MA013", None)


class TestMixed:
    """One table, and tables with names."""

    def test_the_one_without_a_name_gets_one(self, table):
        """At its header."""
        told = table("[guarantees.latency]\np95_ms = 250\n[guarantees.latency.bulk]\np95_ms = 900\n")
        assert told == [("MA013", "[guarantees.latency]", "write [guarantees.latency.main], or another name")]
        assert table.mended == "[guarantees.latency.main]\np95_ms = 250\n[guarantees.latency.bulk]\np95_ms = 900\n"

    def test_a_name_given_in_a_profile_is_given_there(self, table):
        """Below the profile's own header."""
        table("[profiles.p.guarantees.latency]\np95_ms = 250\n[profiles.p.guarantees.latency.bulk]\np95_ms = 900\n")
        assert table.mended.startswith("[profiles.p.guarantees.latency.main]\n")

    def test_a_job_without_a_name_in_a_profile(self, table):
        """Its header keeps the profile."""
        table('[profiles.p.jobs]\nrun = "handlers.py:ready"\n')
        assert table.mended == '[profiles.p.jobs.main]\nrun = "handlers.py:ready"\n'

    def test_a_profile_that_names_what_has_no_name(self, table):
        """The name is left out, in the profile."""
        told = table("[guarantees.latency]\np95_ms = 250\n[profiles.p]\nguarantees.latency.bulk.p95_ms = 900\n")
        assert told == [("MA013", "bulk", 'leave "bulk" out')]
        assert table.mended.endswith("[profiles.p]\nguarantees.latency.p95_ms = 900\n")

    def test_a_profile_that_does_not_say_which(self, table):
        """The name is put in, in the profile."""
        told = table("[guarantees.latency.bulk]\np95_ms = 250\n[profiles.p]\nguarantees.latency.p95_ms = 900\n")
        assert told == [("MA013", "p95_ms", "write latency.bulk.p95_ms")]
        assert table.mended.endswith("[profiles.p]\nguarantees.latency.bulk.p95_ms = 900\n")

    def test_a_table_of_unknown_keys_is_no_second_guarantee(self, dungeon):
        """It is an unknown key."""
        (problem,) = dungeon.everything(
            dungeon.text + "[guarantees.latency]\np95_ms = 250\n[guarantees.latency.x]\ny = 1\n"
        )
        assert (problem.code, problem.message) == ("MA010", '[guarantees.latency] has no key "x"')


def test_a_problem_in_a_profile_says_in_which(dungeon):
    """Its place is the profile's, and a note names it."""
    (problem,) = dungeon.everything(dungeon.text + "[profiles.prod]\nmodels.story.max_bach_size = 4\n")
    assert problem.notes[-1] == "in profile prod"


def test_what_the_app_says_may_be_meant_in_a_profile(table):
    """A profile is there to say it again; only what it says itself cannot be the word that was meant."""
    ((*_, advice),) = table("[profiles.prod]\nmodels.story.max_bach_size = 4\n")
    assert advice == 'did you mean "max_batch_size"?'
    ((*_, advice),) = table("[profiles.prod.models.story]\nmax_batch_size = 2\nmax_bach_size = 4\n")
    assert advice == 'did you mean "max_batch_cost"?'


def test_nothing_is_wrong_with_the_app_itself(dungeon, plugins):
    """So that what is told above is told of what was added."""
    dungeon.load()
    check_app(dungeon.root / "app.toml", plugins)

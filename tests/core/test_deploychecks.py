"""Replicas, shares and times of [deploy] that do not fit each other."""

import pytest

# Name, what is changed into what, code, line, column, marked characters, message, help, and, where no edit mends it,
# the command that does, "" for none.
MISTAKES = [
    (
        "scheduler",
        "port = 8000\n",
        'port = 8000\n[deploy]\nscheduler = "nomd"\n',
        "MA110",
        71,
        13,
        '"nomd"',
        'no scheduler is called "nomd"',
        'did you mean "nomad"?',
    ),
    (
        "bounds that cross",
        "port = 8000\n",
        "port = 8000\n[deploy.autoscale]\nmin = 3\nmax = 2\n",
        "MA027",
        72,
        7,
        "2",
        '"max" is below "min"',
        "write max = 3",
    ),
    (
        "replicas above",
        "port = 8000\n",
        "port = 8000\n[deploy]\nreplicas = 9\n[deploy.autoscale]\nmax = 4\n",
        "MA111",
        71,
        12,
        "9",
        '"replicas" is out of its bounds',
        "write replicas = 4",
    ),
    (
        "replicas below",
        "port = 8000\n",
        "port = 8000\n[deploy]\nreplicas = 1\n[deploy.autoscale]\nmin = 2\n",
        "MA111",
        71,
        12,
        "1",
        '"replicas" is out of its bounds',
        "write replicas = 2",
    ),
    (
        "falling steps",
        "port = 8000\n",
        'port = 8000\n[deploy.rollout]\nstrategy = "canary"\nsteps = [50, 25, 100]\n',
        "MA112",
        72,
        9,
        "[50, 25, 100]",
        '"steps" must rise to 100',
        "write steps = [25, 50, 100]",
    ),
    (
        "steps that end early",
        "port = 8000\n",
        'port = 8000\n[deploy.rollout]\nstrategy = "canary"\nsteps = [5, 25]\n',
        "MA112",
        72,
        9,
        "[5, 25]",
        '"steps" must rise to 100',
        "write steps = [5, 25, 100]",
    ),
    (
        "step of nothing",
        "port = 8000\n",
        'port = 8000\n[deploy.rollout]\nstrategy = "canary"\nsteps = [0, 100]\n',
        "MA112",
        72,
        9,
        "[0, 100]",
        '"steps" must rise to 100',
        "write steps = [100]",
    ),
    (
        "no steps",
        "port = 8000\n",
        'port = 8000\n[deploy.rollout]\nstrategy = "canary"\nsteps = []\n',
        "MA112",
        72,
        9,
        "[]",
        '"steps" must rise to 100',
        "write steps = [100]",
    ),
    (
        "gate word",
        "port = 8000\n",
        'port = 8000\n[deploy.rollout]\ngate = ["test"]\n',
        "MA022",
        71,
        9,
        '"test"',
        '"gate[0]" must be one of "tests", "guarantees", "errors"',
        'write "tests"',
    ),
    (
        "gate twice",
        "port = 8000\n",
        'port = 8000\n[deploy.rollout]\ngate = ["tests", "tests"]\n',
        "MA112",
        71,
        8,
        '["tests", "tests"]',
        '"gate" says a word twice',
        'write gate = ["tests"]',
    ),
    (
        "drain",
        "port = 8000\n",
        "port = 8000\n[deploy.rollout]\ndrain_s = 29\n",
        "MA113",
        71,
        11,
        "29",
        '"drain_s" cuts requests off',
        "write drain_s = 35",
    ),
    (
        "memory",
        "port = 8000\n",
        "port = 8000\n[deploy]\nmemory_mb = 900\n[models.big]\n"
        'source = "models/big.onnx"\nruntime = "onnx"\nmemory_mb = 1000\n',
        "MA111",
        71,
        13,
        "900",
        '"memory_mb" is too small',
        "write memory_mb = 1000",
    ),
    (
        "async",
        "port = 8000\n",
        'port = 8000\n[deploy]\nscheduler = "nomad"\n[endpoints.later]\nmodel = "story"\nasync = true\n',
        "MA115",
        74,
        1,
        "async",
        'endpoint "later" keeps its results on one machine, and scheduler "nomad" uses several',
        'add to [app]: state = "s3://bucket/app", or another place that every machine reaches',
        "",
    ),
    (
        "copied traffic",
        "port = 8000\n",
        'port = 8000\n[deploy.rollout]\nshadow_percent = 5\n[endpoints.pay]\nmodel = "story"\nidempotent = false\n',
        "MA116",
        71,
        18,
        "5",
        '"shadow_percent" sends requests twice that may do harm',
        "remove it, or write idempotent = true where a second run does no harm",
    ),
    (
        "fewest above the default most",
        "port = 8000\n",
        "port = 8000\n[deploy.autoscale]\nmin = 200\n",
        "MA027",
        71,
        7,
        "200",
        '"max" is below "min"',
        "write min = 100",
    ),
    (
        "misspelt table",
        "port = 8000\n",
        "port = 8000\n[deploy.rolout]\nbake_s = 5\n",
        "MA010",
        70,
        9,
        "rolout",
        '[deploy] has no key "rolout"',
        'did you mean "rollout"?',
    ),
]


def test_each_mistake_is_told_where_it_stands(dungeon, mistake):
    """Code, line, column, marked characters, message and help are exactly these, and nothing else is said."""
    dungeon.expect_told(mistake)


def test_each_mistake_can_be_mended(dungeon, mistake):
    """The file loads with the edit of its problem; where no edit can help, a command is told, or only the help."""
    dungeon.expect_mended(mistake)


@pytest.mark.parametrize(
    ("key", "value", "strategy", "wanted"),
    [
        ("steps", "[50, 100]", "blue-green", "canary"),
        ("step_s", "5", "rolling", "canary"),
        ("max_parallel", "2", "canary", "rolling"),
        ("shadow_percent", "5", "recreate", "blue-green"),
        ("bake_s", "5", "recreate", "blue-green"),
    ],
)
def test_a_key_that_the_strategy_does_not_read_is_said(dungeon, key, value, strategy, wanted):
    """A warning at the key, with the strategy that reads it; with that strategy nothing is said."""
    written = f'[deploy.rollout]\nstrategy = "{strategy}"\n{key} = {value}\n'
    (told,) = [one for one in dungeon.notices(dungeon.text + written) if one.code == "MA114"]
    assert (told.severity, told.source, told.column) == ("warning", f"{key} = {value}", 1)
    mended = told.edit.apply(dungeon.text + written)
    assert f'strategy = "{wanted}"' in mended
    assert [one for one in dungeon.notices(mended) if one.code == "MA114"] == []


def _shadowed(dungeon, text):
    rollout = "[deploy.rollout]\nshadow_percent = 5\n"
    return [one for one in dungeon.notices(text + rollout) if one.code == "MA116"]


def test_functions_that_may_do_harm_twice_are_a_warning(dungeon):
    """They may be harmless, and the file can say so; models always are."""
    (told,) = _shadowed(dungeon, dungeon.text)
    assert (told.severity, told.label, told.source) == (
        "warning",
        "endpoint continue runs functions",
        "shadow_percent = 5",
    )
    assert _shadowed(dungeon, dungeon.text.replace("timeout_s = 20", "timeout_s = 20\nidempotent = true")) == []
    assert _shadowed(dungeon, dungeon.text.replace('run = "handlers.py:ids"', 'run = "story"')) != []
    only_models = dungeon.text.replace('run = "handlers.py:ids"', 'run = "story"').replace(
        'run = "handlers.py:join"', 'run = "poem"'
    )
    assert _shadowed(dungeon, only_models) == []


def test_copied_traffic_that_the_strategy_does_not_copy_is_said_once(dungeon):
    """That the key has no effect is enough."""
    rollout = '[deploy.rollout]\nstrategy = "rolling"\nshadow_percent = 5\n'
    pay = '[endpoints.pay]\nmodel = "story"\nidempotent = false\n'
    assert [one.code for one in dungeon.notices(dungeon.text + rollout + pay) if one.code != "MA015"] == ["MA114"]


def test_the_default_strategy_is_said_too(dungeon):
    """Steps without a strategy are no canary."""
    text = dungeon.text + "[deploy.rollout]\nsteps = [50, 100]\n"
    (told,) = [one for one in dungeon.notices(text) if one.code == "MA114"]
    assert dungeon.load(told.edit.apply(text)).deploy.rollout.strategy == "canary"


@pytest.mark.parametrize(
    "text",
    [
        "[deploy.rollout]\ndrain_s = 30\n",
        "[deploy]\nreplicas = 2\n[deploy.autoscale]\nmin = 2\nmax = 2\n",
        "[deploy.autoscale]\nmin = 2\n",
        '[deploy.rollout]\nstrategy = "canary"\nsteps = [0.5, 100]\n',
        '[deploy]\nscheduler = "nomad"\n',
        '[endpoints.later]\nmodel = "story"\nasync = true\n',
    ],
)
def test_numbers_at_their_bounds_are_valid(dungeon, text):
    """Just enough is enough; a default is in nobody's way."""
    dungeon.load(dungeon.text + text)


def test_state_makes_async_possible_on_many_machines(dungeon):
    """And on one it is not needed."""
    text = dungeon.text.replace('requires = ">=0.1"', 'state = "s3://bucket/app"')
    dungeon.load(text + '[deploy]\nscheduler = "nomad"\n[endpoints.later]\nmodel = "story"\nasync = true\n')

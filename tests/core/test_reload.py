"""What a change costs, told from two footprints of an app without a process."""

from pathlib import Path

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelapp.app import App, AppInfo, Endpoint, Generation, Model, Server
from modelapp.release import Footprint
from modelapp.reload import Plan, plan

MODEL = Model(name="up", source="up.py:Up", runtime="python")
GRAPH = Model(name="graph", source="graph.onnx", runtime="onnx")
APP = App(
    app=AppInfo(name="tale"),
    models={"up": MODEL, "graph": GRAPH},
    endpoints={"tell": Endpoint(name="tell", model="up")},
    root=Path("/app"),
)
CODE = {"up.py": "1", "handlers.py": "1", "util.py": "1"}
FILES = {"up": {"": "a"}, "graph": {"": "b"}}


def footprint(app: App = APP, code=CODE, models=FILES) -> Footprint:
    return Footprint(app, code, models)


def planned(app: App = APP, code=CODE, models=FILES, imports=lambda file: ()) -> Plan:
    """The plan from the app as it is to this one."""
    return plan(footprint(), footprint(app, code, models), imports)


def changed(**keys) -> App:
    """The app with other keys of [models.graph]."""
    return attrs.evolve(APP, models={**APP.models, "graph": attrs.evolve(GRAPH, **keys)})


def test_the_same_files_cost_nothing():
    """Tests are no part of a release, so they do not count either."""
    assert planned() == Plan(models={"up": "keep", "graph": "keep"}, same_release=True)


@pytest.mark.parametrize(
    ("keys", "action"),
    [
        ({"max_batch_size": 8}, "tune"),
        ({"max_wait_ms": 5.0}, "tune"),
        ({"max_queue": 9}, "tune"),
        ({"concurrency": 2}, "tune"),
        ({"generation_table": Generation(max_tokens=9, temperature=1.0, step_tokens=64)}, "tune"),
        ({"generation_table": Generation(context_tokens=512)}, "load"),
        ({"generation_table": Generation(cache_mb=9)}, "load"),
        ({"generation_table": Generation(reuse_prefixes=False)}, "load"),
        ({"task": "embeddings"}, "load"),
        ({"rerun": False}, "tune"),
        ({"preprocess": "handlers.py:f"}, "keep"),
        ({"required": False}, "keep"),
        ({"device": "cuda"}, "load"),
        ({"runtime": "torch"}, "load"),
        ({"source": "other.onnx"}, "load"),
        ({"files": {"words": "words.txt"}}, "load"),
        ({"threads": 2}, "load"),
        ({"options": "other"}, "load"),
        ({"finite": True}, "load"),
    ],
)
def test_a_key_of_a_model_costs_what_obeys_it(keys, action):
    """Bounds are the batcher's, functions around it the pipeline's; what a runtime may look at is loaded again."""
    found = planned(changed(**keys))
    assert (found.models, found.same_release) == ({"up": "keep", "graph": action}, False)


def test_a_key_that_nobody_thought_of_is_loaded_again():
    """A new key of a model is at worst too dear, never ignored."""
    told = {
        name: planned(changed(**{name: object()})).models["graph"]
        for name in (one.name for one in attrs.fields(Model))
        if name not in ("name", "source", "generation_table")
    }
    cheap = {name for name, action in told.items() if action != "load"}
    assert cheap == {
        *("max_batch_size", "max_wait_ms", "max_queue", "concurrency", "rerun"),
        *("max_batch_cost", "cost", "priority_levels"),
        *("preprocess", "postprocess", "required", "preload", "warmup_calls", "idle_unload_s", "memory_mb"),
    }


def test_other_weights_are_loaded():
    """The file at the same path has another digest."""
    assert planned(models={**FILES, "graph": {"": "c"}}).models == {"up": "keep", "graph": "load"}


def test_a_class_is_loaded_again_when_its_file_changes_or_one_it_imports():
    """Functions elsewhere in the app leave its weights alone."""
    assert planned(code={**CODE, "up.py": "2"}).models["up"] == "load"
    assert planned(code={**CODE, "handlers.py": "2"}).models["up"] == "keep"
    found = planned(code={**CODE, "util.py": "2"}, imports=lambda file: {"util.py"} if file == "up.py" else ())
    assert (found.models["up"], found.models["graph"], found.code) == ("load", "keep", True)


def test_models_that_come_and_go_are_named():
    """The new one is loaded, the old one closed."""
    app = attrs.evolve(APP, models={"up": MODEL, "new": attrs.evolve(GRAPH, name="new")})
    found = planned(app, models={"up": {"": "a"}, "new": {"": "b"}})
    assert (found.models, found.removed) == ({"up": "keep", "new": "load"}, ("graph",))


@pytest.mark.parametrize(
    ("app", "says"),
    [
        (attrs.evolve(APP, server=Server(port=9)), "[server] port 8000 -> 9"),
        (attrs.evolve(APP, server=Server(host="::")), '[server] host "127.0.0.1" -> "::"'),
        (attrs.evolve(APP, app=AppInfo(name="tale", plugins=("acme",))), '[app] plugins [] -> ["acme"]'),
        (attrs.evolve(APP, app=AppInfo(name="tale", requirements="r.txt")), '[app] requirements "" -> "r.txt"'),
    ],
)
def test_what_only_a_new_process_can_obey_is_said(app, says):
    """The address, the plugins and the environment."""
    assert planned(app).restart == says


SWAPPED = {
    AppInfo: {"name", "description", "schema_version", "requires", "seed", "state"},
    Server: {"max_body_mb", "tokens_env", "tokens", "rate_per_s", "max_concurrent", "drain_s"},
}
"""Keys outside of models that no new process is needed for; what obeys them is made anew with the routes."""


@pytest.mark.parametrize(("table", "name"), [(AppInfo, "app"), (Server, "server")])
def test_every_key_of_the_process_has_its_cost(table, name):
    """A new key is to be thought of: it needs a new process, or it stands above."""
    restarts = set()
    for one in attrs.fields(table):
        found = planned(attrs.evolve(APP, **{name: attrs.evolve(getattr(APP, name), **{one.name: "other"})}))
        if found.restart:
            restarts.add(one.name)
    assert restarts == {one.name for one in attrs.fields(table)} - SWAPPED[table]


def test_every_table_has_its_cost():
    """Models and the tables above cost what their keys do, tests cost a run of them, all else is routes."""
    tables = {one.name for one in attrs.fields(App) if not one.metadata.get("from_position")}
    assert tables == {"app", "models", "endpoints", "tests", "server", "guarantees", "jobs", "deploy", "profiles"}


keys = st.sampled_from(
    [
        ("timeout_s", "endpoint", "keep"),
        ("max_batch_size", "model", "tune"),
        ("threads", "model", "load"),
        ("max_queue", "model", "tune"),
        ("warmup_calls", "model", "keep"),
    ]
)


@settings(max_examples=25)  # a release's name looks at every distribution
@given(st.lists(st.tuples(keys, st.integers(2, 4))))
def test_changes_together_cost_what_the_dearest_does(changes):
    """And nothing where they come to nothing; the way back costs as much."""
    graph, tell = GRAPH, APP.endpoints["tell"]
    for (key, what, _), value in changes:
        if what == "model":
            graph = attrs.evolve(graph, **{key: value})
        else:
            tell = attrs.evolve(tell, **{key: value})
    app = attrs.evolve(APP, models={**APP.models, "graph": graph}, endpoints={"tell": tell})
    costs = {cost for (_, _, cost), _ in changes}
    dearest = next((cost for cost in ("load", "tune") if cost in costs), "keep")
    there, back = planned(app), plan(footprint(app), footprint(), lambda file: ())
    assert there.models == back.models == {"up": "keep", "graph": dearest}
    assert there.same_release == back.same_release == (not changes)


def test_the_rest_swaps_routes_and_keeps_every_model():
    """Time limits, fields and names need no weights."""
    app = attrs.evolve(APP, endpoints={"tell": Endpoint(name="tell", model="up", timeout_s=1)})
    found = planned(app)
    assert (found.restart, set(found.models.values()), found.sentences) == ("", {"keep"}, ("weights kept: up, graph",))


@pytest.mark.parametrize(("task", "action"), [("text-generation", "load"), ("embeddings", "tune")])
def test_slots_are_laid_out_and_batches_are_not(task, action):
    """Another `max_batch_size` takes another cache where the model generates."""
    before = App(app=APP.app, models={"graph": attrs.evolve(GRAPH, task=task)}, root=APP.root)
    after = attrs.evolve(before, models={"graph": attrs.evolve(GRAPH, task=task, max_batch_size=8)})

    found = plan(footprint(before), footprint(after), lambda file: ())

    assert found.models == {"graph": action}

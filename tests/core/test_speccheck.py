"""The records of plugins: a wrong one is told in words that name the record, what is wanted and what came."""

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelapp import HttpResponse, ProtocolRoutes, RuntimeSpec, SchedulerSpec
from modelapp.runtime import CAPABILITIES
from modelapp.speccheck import SpecError, check_all, check_protocol, check_runtime, check_scheduler, records


def runtime(**changes):
    return attrs.evolve(RuntimeSpec(name="acme", open=object), **changes)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, "it returned nothing (None)"),
        (runtime(), "it returned a single one: put it into a list"),
        ("acme", "it returned a str: 'acme'"),
        ({"acme": runtime()}, "it returned a dict"),
        (7, "it returned a int: 7"),
        ([runtime(), RuntimeSpec], "among what it returned is the class RuntimeSpec"),
        ([{"name": "acme"}], "among what it returned is a dict: {'name': 'acme'}"),
    ],
)
def test_what_a_hook_returns_must_be_records(value, told):
    """Also a forgotten return, a lone record and a class in the place of its instance."""
    with pytest.raises(SpecError, match="modelapp_runtimes must return an iterable of RuntimeSpec") as caught:
        records(value, RuntimeSpec, "modelapp_runtimes")
    assert told in str(caught.value)


def test_a_generator_is_as_good_as_a_list():
    """Hooks may yield."""
    assert records((spec for spec in [runtime()]), RuntimeSpec, "modelapp_runtimes") == [runtime()]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"name": "Acme"}, "a runtime's name is lower-case letters"),
        ({"name": "7up"}, "a runtime's name is lower-case letters"),
        ({"name": 7}, "a runtime's name is lower-case letters"),
        ({"name": "files"}, 'no runtime may be called "files": app.toml has a key of that name'),
        ({"open": None}, "open must be a function, got nothing (None)"),
        ({"probe": True}, "probe must be a function, got a bool: True"),
        ({"options": dict}, "options must be an attrs class, got the class dict"),
        ({"options": {}}, "options must be an attrs class, got a dict: {}"),
        ({"capabilities": frozenset({"tensor"})}, "'tensor' is no capability; did you mean \"tensors\"?"),
        ({"capabilities": frozenset({"zzz"})}, "'zzz' is no capability; known: tensors, records"),
        ({"api_versions": frozenset({2, 7})}, "it talks version 2, 7 of the contract, this modelapp talks 1"),
        ({"api_versions": frozenset()}, "it talks version none of the contract"),
        ({"environment": {"OMP_NUM_THREADS": 1}}, "environment must map texts to texts, got 'OMP_NUM_THREADS': 1"),
        ({"numeric_stack": "torch"}, "numeric_stack must be a tuple of names of distributions, got 'torch'"),
        ({"numeric_stack": (1,)}, "numeric_stack must be a tuple of names of distributions, got (1,)"),
    ],
)
def test_an_unsound_runtime_is_refused(changes, told):
    """Each part is checked, and the text says what to change."""
    with pytest.raises(SpecError) as caught:
        check_runtime(runtime(**changes))
    assert told in str(caught.value)


@given(st.frozensets(st.sampled_from(sorted(CAPABILITIES))), st.frozensets(st.integers(0, 9)).map(lambda v: v | {1}))
def test_any_known_capabilities_and_a_common_version_are_sound(capabilities, versions):
    """Further versions do not harm: the common one is used."""
    check_runtime(runtime(capabilities=capabilities, api_versions=versions))


def test_a_scheduler_may_not_take_a_reserved_table():
    """[deploy.rollout] belongs to the product."""
    with pytest.raises(SpecError, match='no scheduler may be called "rollout"'):
        check_scheduler(SchedulerSpec(name="rollout", open=object))


def test_one_plugin_may_not_bring_two_of_a_name():
    """Which of them was meant cannot be told."""
    with pytest.raises(SpecError, match='it brings two runtimes called "acme"'):
        check_all([runtime(), runtime()], [])


@pytest.mark.parametrize(
    ("prefix", "routes", "told"),
    [("x", (), 'its prefix must start with "/", got "x"'), ("/x", (7,), "its routes must be Route records, got a int")],
)
def test_an_unsound_protocol_is_refused(prefix, routes, told):
    """Its prefix decides whose error shape a path takes."""
    with pytest.raises(SpecError) as caught:
        check_protocol(ProtocolRoutes("acme", prefix, routes, lambda error: HttpResponse(error.status)))
    assert told in str(caught.value)

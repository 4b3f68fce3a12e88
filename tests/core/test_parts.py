"""Parts are kept by name; what cannot be had is told with its reason."""

from hypothesis import given
from hypothesis import strategies as st

from modelapp import RuntimeSpec
from modelapp.discovery import Origin
from modelapp.parts import Parts


def origin(name):
    return Origin(name, f"dist-{name}", "1", name, object)


@given(st.lists(st.tuples(st.sampled_from("pqr"), st.sampled_from("abcd")), unique=True))
def test_a_name_is_usable_when_exactly_one_plugin_brings_it(offers):
    """Whatever the order; the clashes are the names that more than one brings."""
    parts = Parts("runtime")
    owners = {name: origin(name) for name in "pqr"}
    for plugin, name in offers:
        parts.offer(owners[plugin], RuntimeSpec(name=name, open=object))
    brought = [name for _, name in offers]
    assert set(parts.specs) == {name for name in brought if brought.count(name) == 1}
    assert list(parts.specs) == sorted(parts.specs)
    assert len(parts.clashes()) == len({name for name in brought if brought.count(name) > 1})


def test_what_a_plugin_brings_includes_its_clashes():
    """`modelapp plugins` lists them under their plugin."""
    parts = Parts("runtime")
    one, two = origin("one"), origin("two")
    for owner in (one, two):
        parts.offer(owner, RuntimeSpec(name="twin", open=object))
    assert [spec.name for spec in parts.of(one)] == ["twin"]
    assert parts.of(origin("three")) == []


def test_the_reasons_are_told_in_the_order_of_their_weight():
    """A clash before a broken plugin, that before a disabled one, that before a guess."""
    parts = Parts("runtime")
    off = origin("acme")
    assert "no runtime is called" in parts.absent("acme", [], []).message
    assert "is disabled" in parts.absent("acme", [off], []).message
    parts.lose("acme", origin("bad"), "ValueError: x")
    assert 'plugin "bad" (dist-bad 1) is broken: ValueError: x' in parts.absent("acme", [off], []).message
    for name in ("one", "two"):
        parts.offer(origin(name), RuntimeSpec(name="acme", open=object))
    assert "both bring" in parts.absent("acme", [off], []).message

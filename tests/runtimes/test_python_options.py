"""The options of a python model: the table against the class that the constructor is annotated with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelapp.errors import LoadError
from modelapp_python.options import read_options


@attrs.frozen
class Sampling:
    top_k: int = 5
    temperature: float = 1.0


@attrs.frozen(kw_only=True)
class Options:
    threshold: float
    mode: Literal["fast", "exact"] = "fast"
    labels: list[str] = attrs.Factory(list)
    limits: Mapping[str, int] = attrs.Factory(dict)
    sampling: Sampling = attrs.Factory(Sampling)
    note: str | None = None
    many: tuple[Sampling, ...] = ()
    span: tuple[int, float] = (0, 1.0)


@dataclass(frozen=True)
class Plain:
    depth: int = 3
    names: list[str] = field(default_factory=list)


@attrs.frozen
class Checked:
    share: float = attrs.field(validator=attrs.validators.le(1.0))


def read(table: Mapping[str, Any], wanted: Any = Options) -> Any:
    return read_options(table, wanted, place="models.m.python", owner="handlers.py:Model")


def test_table_becomes_an_instance() -> None:
    """Every kind of value lands in its field, nested tables too; what is left out has its default."""
    table = {
        "threshold": 1,
        "mode": "exact",
        "labels": ["a"],
        "limits": {"a": 3},
        "sampling": {"top_k": 2},
        "note": "n",
        "many": [{"top_k": 1}, {}],
        "span": [1, 2],
    }
    assert read(table) == Options(
        threshold=1.0,
        mode="exact",
        labels=["a"],
        limits={"a": 3},
        sampling=Sampling(2),
        note="n",
        many=(Sampling(1), Sampling()),
        span=(1, 2.0),
    )
    assert read({"depth": 4}, Plain) == Plain(4)


@pytest.mark.parametrize("wanted", [Any, dict, dict[str, Any], Mapping[str, Any], Mapping])
def test_plain_mapping(wanted: Any) -> None:
    """Without a class the table arrives as it is written."""
    assert read({"anything": [1, {"goes": True}]}, wanted) == {"anything": [1, {"goes": True}]}


@pytest.mark.parametrize(
    ("table", "message", "help_text"),
    [
        ({"treshold": 1.0}, 'models.m.python: unknown key "treshold"', 'did you mean "threshold"? its keys: threshold'),
        ({}, '"threshold" is missing', "add threshold = ... (float) to [models.m.python]"),
        ({"threshold": "0.5"}, "models.m.python.threshold must be a number", "write threshold = 0.5"),
        ({"threshold": True}, "models.m.python.threshold must be a number", "wants float"),
        ({"threshold": 1, "mode": "exat"}, 'must be one of "fast", "exact"', 'write mode = "exact"'),
        ({"threshold": 1, "labels": "a"}, 'models.m.python.labels must be a list, not "a"', 'write ["a"]'),
        ({"threshold": 1, "labels": [1]}, "models.m.python.labels[0] must be a string", 'write labels[0] = "1"'),
        ({"threshold": 1, "sampling": 3}, "models.m.python.sampling must be a table", "[models.m.python.sampling]"),
        ({"threshold": 1, "sampling": {"topk": 3}}, 'models.m.python.sampling: unknown key "topk"', '"top_k"'),
        ({"threshold": 1, "sampling": {"top_k": 3.5}}, "models.m.python.sampling.top_k must be a whole number", ""),
        ({"threshold": 1, "many": [{}, {"top_k": "3"}]}, "models.m.python.many[1].top_k", "top_k = 3"),
        ({"threshold": 1, "limits": {"a": 1.5}}, "models.m.python.limits.a must be a whole number", "write a = 2"),
        ({"threshold": 1, "limits": [1]}, "models.m.python.limits must be a table", "Mapping[str, int]"),
        ({"threshold": 1, "span": [1]}, "models.m.python.span must hold 2 values, not 1", "tuple[int, float]"),
    ],
)
def test_wrong_tables_name_key_and_fix(table: Mapping[str, Any], message: str, help_text: str) -> None:
    """A wrong key or value is told by its full name, with what to write."""
    with pytest.raises(LoadError) as caught:
        read(table)
    assert message in caught.value.message
    assert help_text in caught.value.help


def test_validator_of_the_class() -> None:
    """What the class itself refuses is told in its words."""
    with pytest.raises(LoadError, match=r"models\.m\.python: Checked refused its values: 'share' must be <= 1\.0"):
        read({"share": 2.0}, Checked)


def test_annotation_that_holds_no_options() -> None:
    """`options` annotated with something else is refused with the three that work."""
    with pytest.raises(LoadError, match="`options` of __init__ is annotated with int") as caught:
        read({}, int)
    assert caught.value.help == "annotate it with an attrs class, a dataclass, or Mapping[str, Any]"


toml_values = st.recursive(
    st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from([*attrs.fields_dict(Options), "other"]), toml_values))
def test_any_table_is_read_or_refused(table: dict[str, Any]) -> None:
    """Whatever the table holds, it becomes an instance with values of the declared types, or one LoadError."""
    try:
        made = read(table)
    except LoadError:
        return
    assert isinstance(made.threshold, float)
    assert made.mode in ("fast", "exact")
    assert all(type(label) is str for label in made.labels)
    assert all(type(limit) is int for limit in made.limits.values())
    assert type(made.sampling.top_k) is int
    assert made.note is None or type(made.note) is str

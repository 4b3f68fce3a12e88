"""The inventory's records: probed, contained, and honest about imitations."""

import pytest

from modelapp import Availability, RuntimeSpec, SchedulerSpec
from modelapp.features import Feature
from modelapp.inventory import part_of, probe


def spec(answer):
    return RuntimeSpec(name="acme", open=object, probe=answer)


def test_a_probe_is_believed():
    """Its answer is passed on whole."""
    found = Availability(ok=False, missing="a GPU", fix="buy one", devices=("cuda",))
    assert probe(spec(lambda: found)) is found


def _fails():
    raise OSError("no driver")


def _exits():
    raise SystemExit(1)


def test_a_feature_has_neither_capabilities_nor_devices():
    """It is there or it is not."""
    found = part_of(Feature(name="mail", probe=lambda: Availability(ok=False, missing="acme-mail", fix="get it")))
    assert (found.kind, found.name, found.ok, found.missing, found.fix) == (
        "feature",
        "mail",
        False,
        "acme-mail",
        "get it",
    )
    assert (found.capabilities, found.api_versions, found.devices, found.scripted) == ((), (), (), False)


@pytest.mark.parametrize(
    ("answer", "missing"),
    [
        (_fails, "its probe failed: OSError: no driver"),
        (_exits, "its probe failed: RuntimeError: it tried to end the process: SystemExit: 1"),
        (lambda: True, "its probe answered True, not an Availability"),
        (lambda: None, "its probe answered None, not an Availability"),
    ],
)
def test_a_probe_that_fails_means_not_available(answer, missing):
    """It never stops the listing, and never counts as a yes."""
    found = probe(spec(answer))
    assert (found.ok, found.missing, found.devices) == (False, missing, ())


def test_what_a_probe_prints_does_not_reach_stdout(capsys):
    """stdout may carry a JSON document."""

    def chatty():
        print("looking")
        return Availability(ok=True)

    assert probe(spec(chatty)).ok
    assert capsys.readouterr() == ("", "looking\n")


def test_a_part_tells_its_kind_and_whether_it_imitates():
    """By the capability "scripted"."""
    real = part_of(RuntimeSpec(name="acme", open=object, capabilities=frozenset({"tensors", "cancel"})))
    assert (real.kind, real.capabilities, real.scripted, real.ok) == ("runtime", ("cancel", "tensors"), False, True)
    imitation = part_of(SchedulerSpec(name="yard", open=object, capabilities=frozenset({"scripted"})))
    assert (imitation.kind, imitation.scripted) == ("scheduler", True)

"""Environments made for apps, from within."""

import json
import sys

import pytest

from modelapp import enclosure


def test_an_ordinary_environment_was_made_for_no_app(tmp_path):
    """Nor one whose marker is broken, or of another format."""
    assert enclosure.made(tmp_path) is None
    for text in ("", "[]", "{}", '{"format": 99}', "\xff"):
        (tmp_path / enclosure.MARKER).write_bytes(text.encode("latin-1"))
        assert enclosure.made(tmp_path) is None, text


def test_what_is_kept_is_found(tmp_path, monkeypatch):
    """By its folder, and by the process in it."""
    (tmp_path / enclosure.MARKER).write_text(json.dumps({"format": enclosure.FORMAT, "file": "r.lock"}))
    assert enclosure.made(tmp_path)["file"] == "r.lock"
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    assert enclosure.made()["file"] == "r.lock"


def test_what_brings_a_package_depends_on_where_one_is(tmp_path, monkeypatch):
    """A command in an ordinary environment, a pin in the app's own."""
    assert enclosure.remedy("pip install x") == "pip install x"
    (tmp_path / enclosure.MARKER).write_text(json.dumps({"format": enclosure.FORMAT, "file": "r.lock"}))
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    assert enclosure.remedy("pip install x").startswith("pin it in r.lock")


@pytest.mark.parametrize("name", ["PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV_PROMPT", "__PYVENV_LAUNCHER__"])
def test_nothing_leads_back_into_the_outer_environment(name, tmp_path):
    """Variables of the outer Python are left out, all others stay."""
    found = enclosure.variables({name: "/outer", "HOME": "/home/me", "PATH": "/usr/bin"}, tmp_path)
    assert found == {"HOME": "/home/me", "PATH": f"{tmp_path}/bin:/usr/bin", "VIRTUAL_ENV": str(tmp_path)}

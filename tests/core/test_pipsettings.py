"""What pip was told, in uv's words."""

import os
import sys

import pytest

from modelapp import pipsettings


@pytest.fixture
def bare(tmp_path, monkeypatch):
    """Variables of somebody whose home and system hold no settings."""
    for name in ("_PIP_SYSTEM", "_UV_SYSTEM"):
        monkeypatch.setattr(pipsettings, name, tmp_path / "absent")
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    return {
        "HOME": str(tmp_path),
        "XDG_CONFIG_DIRS": str(tmp_path / "system"),
        "XDG_CONFIG_HOME": str(tmp_path / "own"),
    }


def write(path, text):
    """Write a file in folders of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_the_variables_of_pip_become_those_of_uv(bare):
    """Indexes, folders of wheels and certificates; pip's way with several indexes goes along."""
    told = {
        "PIP_INDEX_URL": "https://a.org/simple",
        "PIP_EXTRA_INDEX_URL": "https://b.org/x https://c.org/y",
        "PIP_FIND_LINKS": "/w1 /w2",
        "PIP_CERT": "/ca.pem",
    }
    found = pipsettings.for_uv(bare | told)
    assert found["UV_DEFAULT_INDEX"] == "https://a.org/simple"
    assert found["UV_INDEX"] == "https://b.org/x https://c.org/y"
    assert found["UV_INDEX_STRATEGY"] == "unsafe-best-match"
    assert found["UV_FIND_LINKS"] == "/w1,/w2"
    assert found["SSL_CERT_FILE"] == "/ca.pem"


@pytest.mark.parametrize("name", ["UV_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX", "UV_FIND_LINKS"])
def test_who_told_uv_itself_is_not_overruled(name, bare):
    """pip's settings are a stand-in for uv's."""
    assert pipsettings.for_uv(bare | {"PIP_INDEX_URL": "https://a.org", name: "https://own.org"}) == {}


def test_a_configuration_of_uv_is_not_overruled(bare, tmp_path):
    """Its file counts as told."""
    write(tmp_path / "own" / "uv" / "uv.toml", "")
    assert pipsettings.for_uv(bare | {"PIP_INDEX_URL": "https://a.org"}) == {}


def test_files_are_read_in_the_order_of_pip(bare, tmp_path):
    """The user's over the system's, PIP_CONFIG_FILE over both, variables over all; [install] over [global]."""
    write(tmp_path / "system" / "pip" / "pip.conf", "[global]\nindex-url = system\ntimeout = 1\ncert = c\n")
    write(tmp_path / "own" / "pip" / "pip.conf", "[global]\nindex-url = user\n[install]\nindex-url = install\n")
    write(tmp_path / "extra.conf", "[global]\nfind_links = f\n")
    found = pipsettings.settings(bare)
    assert (found["index-url"], found["timeout"], found["cert"]) == ("install", "1", "c")
    found = pipsettings.settings(bare | {"PIP_CONFIG_FILE": str(tmp_path / "extra.conf"), "PIP_INDEX_URL": "v"})
    assert (found["index-url"], found["find-links"]) == ("v", "f")
    assert pipsettings.settings(bare | {"PIP_CONFIG_FILE": os.devnull}) == {"config-file": os.devnull}


def test_a_broken_file_stops_nothing(bare, tmp_path):
    """pip is the one to complain of it."""
    write(tmp_path / "own" / "pip" / "pip.conf", "index-url = before any section\n")
    assert pipsettings.for_uv(bare) == {}


@pytest.mark.parametrize(("value", "told"), [("1", True), ("true", True), ("0", False), ("false", False)])
def test_no_index_is_handed_over_only_where_it_is_on(value, told, bare):
    """uv takes the variable's presence for yes in some versions."""
    assert ("UV_NO_INDEX" in pipsettings.for_uv(bare | {"PIP_NO_INDEX": value})) is told

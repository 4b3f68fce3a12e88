"""Plugins are found, checked, contained and asked, as installed distributions do it: by real metadata on sys.path."""

import itertools
import sys
import textwrap

import pytest

from modelapp import HttpResponse, ProtocolRoutes, Route, hookimpl
from modelapp.errors import PluginError
from modelapp.plugins import Plugins
from modelapp.testing import AppProject

NUMBERS = itertools.count()

GOOD = """
    from modelapp import RuntimeSpec, hookimpl

    @hookimpl
    def modelapp_runtimes():
        return [RuntimeSpec(name="{name}", open=object)]
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """A function that lays an installed distribution with one plugin on sys.path and returns its module's name."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("MODELAPP_DISABLE_PLUGINS", raising=False)
    monkeypatch.delenv("MODELAPP_STRICT_PLUGINS", raising=False)

    def lay(name, source, *, distribution="", version="1.2", target="{module}"):
        module = f"laid_plugin_{next(NUMBERS)}"
        (tmp_path / f"{module}.py").write_text(textwrap.dedent(source).replace("{name}", name))
        info = tmp_path / f"{module}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution or 'dist-' + name}\nVersion: {version}\n"
        )
        (info / "entry_points.txt").write_text(f"[modelapp]\n{name} = {target.format(module=module)}\n")
        return module

    yield lay
    for module in [name for name in sys.modules if name.startswith("laid_plugin_")]:
        del sys.modules[module]


def broken_of(plugins, name):
    return next(plugin for plugin in plugins.broken if plugin.name == name)


def test_an_installed_plugin_is_found_and_its_runtime_offered(install):
    """A distribution's entry point in the group "modelapp" is all it takes."""
    install("acme", GOOD)
    assert Plugins.load().runtime("acme").name == "acme"


def test_what_comes_with_the_product_uses_the_same_door():
    """The null plugin brings its runtime and its scheduler by the entry point of the installed distribution."""
    record = next(record for record in Plugins.load().inventory() if record.name == "null")
    assert record.distribution == "modelapp"
    assert [(part.kind, part.name, part.scripted) for part in record.parts] == [
        ("runtime", "null", True),
        ("scheduler", "null", True),
    ]


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        ("import no_such_library_xyz", "ModuleNotFoundError: No module named 'no_such_library_xyz'"),
        ("raise ValueError('half written')", "ValueError: half written"),
        ("raise SystemExit(3)", "it tried to end the process: SystemExit: 3"),
        ("def broken(:", "SyntaxError"),
        ("x = 1", "it is no plugin: it implements none of the hooks modelapp_runtimes"),
        ("class Odd(BaseException): pass\nraise Odd('odd')", "Odd: odd"),
    ],
)
def test_a_broken_plugin_is_named_and_left_out_while_the_others_work(install, capsys, source, cause):
    """Whatever goes wrong at import is that plugin's own: one warning, the cause on record, everything else usable."""
    install("bad", source, distribution="modelapp-bad", version="0.7")
    install("good", GOOD)
    plugins = Plugins.load()
    assert "good" in plugins.runtimes
    record = broken_of(plugins, "bad")
    assert (record.distribution, record.version) == ("modelapp-bad", "0.7")
    assert cause in record.cause
    warnings = [line for line in capsys.readouterr().err.splitlines() if '"bad"' in line]
    assert len(warnings) == 1
    assert 'warning: plugin "bad" (modelapp-bad 0.7) is broken and left out: ' in warnings[0]


def test_the_cause_names_the_line_of_the_plugin(install):
    """The author sees where it broke, not where it was imported from."""
    module = install("bad", "x = 1\n\nimport no_such_library_xyz\n")
    assert f"{module}.py:3)" in broken_of(Plugins.load(), "bad").cause


def test_an_entry_point_without_its_module_is_told_as_such(install):
    """A half removed distribution does not stop the command line."""
    install("gone", "", target="no_such_module_xyz")
    assert "No module named 'no_such_module_xyz'" in broken_of(Plugins.load(), "gone").cause


def test_asking_for_a_broken_plugins_runtime_raises_its_cause(install):
    """The error carries plugin, distribution and version, and says why."""
    install("bad", "import no_such_library_xyz", distribution="modelapp-bad", version="0.7")
    with pytest.raises(PluginError, match="no_such_library_xyz") as caught:
        Plugins.load().runtime("bad")
    assert (caught.value.plugin, caught.value.distribution, caught.value.version) == ("bad", "modelapp-bad", "0.7")


def test_a_runtime_lost_with_its_plugin_is_found_by_its_own_name(install):
    """A record refused under another name than the plugin's still leads to the plugin."""
    install("tools", GOOD.replace("open=object", "open=object, api_versions=frozenset({99})").replace("{name}", "fast"))
    with pytest.raises(PluginError, match=r'runtime "fast" cannot be used: plugin "tools".* version 99 .* talks 1'):
        Plugins.load().runtime("fast")


def test_strict_makes_a_broken_plugin_an_error(install, monkeypatch):
    """MODELAPP_STRICT_PLUGINS=1 is for authors: the first broken plugin ends it."""
    install("bad", "raise ValueError('half written')")
    monkeypatch.setenv("MODELAPP_STRICT_PLUGINS", "1")
    with pytest.raises(PluginError, match=r'plugin "bad" .* is broken: ValueError: half written') as caught:
        Plugins.load()
    assert isinstance(caught.value.__cause__, ValueError)


@pytest.mark.parametrize("word", ["bad", "modelapp-bad", " other , bad "])
def test_a_disabled_plugin_is_not_even_imported(install, monkeypatch, capsys, word):
    """MODELAPP_DISABLE_PLUGINS takes plugins and distributions, separated by commas."""
    module = install("bad", "raise ValueError('imported')", distribution="modelapp-bad")
    install("other", GOOD)
    monkeypatch.setenv("MODELAPP_DISABLE_PLUGINS", word)
    plugins = Plugins.load()
    assert module not in sys.modules
    assert "bad" not in [plugin.name for plugin in plugins.broken]
    assert next(record.state for record in plugins.inventory() if record.name == "bad") == "disabled"
    with pytest.raises(PluginError, match=r'"bad" cannot be used: plugin "bad".* is disabled') as caught:
        plugins.runtime("bad")
    assert caught.value.help == "take it out of MODELAPP_DISABLE_PLUGINS"
    assert "imported" not in capsys.readouterr().err


def test_disabling_a_name_that_no_plugin_has_is_said(install, capsys):
    """A misspelt block would otherwise block nothing in silence."""
    install("acme", GOOD)
    Plugins.load(disabled=["acmee"])
    assert 'names "acmee", and no plugin is called that; did you mean "acme"?' in capsys.readouterr().err


def test_two_plugins_with_one_runtime_name_are_told_apart(install, capsys):
    """Neither wins: the error names both and how to leave one out; other runtimes go on."""
    install("one", GOOD.replace("{name}", "twin"), distribution="dist-one")
    install("two", GOOD.replace("{name}", "twin"), distribution="dist-two")
    plugins = Plugins.load()
    assert "twin" not in plugins.runtimes
    assert "null" in plugins.runtimes
    with pytest.raises(PluginError) as caught:
        plugins.runtime("twin")
    assert (
        caught.value.message
        == 'plugin "one" (dist-one 1.2) and plugin "two" (dist-two 1.2) both bring the runtime "twin"'
    )
    assert caught.value.help == "leave one of them out: MODELAPP_DISABLE_PLUGINS=two"
    assert "both bring" in capsys.readouterr().err
    with pytest.raises(PluginError, match="both bring"):
        Plugins.load(strict=True)
    assert Plugins.load(disabled=["two"]).runtime("twin").name == "twin"


def test_two_plugins_of_one_name_are_told_apart_by_their_distribution(install):
    """The name alone would disable both."""
    install("twin", GOOD, distribution="dist-one")
    install("twin", GOOD, distribution="dist-two")
    with pytest.raises(PluginError) as caught:
        Plugins.load().runtime("twin")
    assert caught.value.help == "leave one of them out: MODELAPP_DISABLE_PLUGINS=dist-two"
    assert Plugins.load(disabled=["dist-two"]).runtime("twin").name == "twin"


def test_an_unknown_runtime_is_answered_with_the_near_name(install):
    """The message lists what is installed, the help proposes."""
    install("acme", GOOD)
    with pytest.raises(PluginError, match=r'no runtime is called "acmee"; installed: acme, null') as caught:
        Plugins.load(disabled=["onnx", "python"]).runtime("acmee")
    assert caught.value.help == 'did you mean "acme"?'


def test_a_runtime_that_nobody_knows_leads_to_the_list():
    """No name of a package is made up."""
    with pytest.raises(PluginError) as caught:
        Plugins.load().runtime("zzz")
    assert "`modelapp plugins` lists what is installed" in caught.value.help


def test_what_a_plugin_prints_does_not_reach_stdout(install, capsys):
    """stdout may carry a JSON document."""
    install(
        "chatty", "print('hello from import')\n" + textwrap.dedent(GOOD).replace("return", "print('hello'); return")
    )
    Plugins.load()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == ["hello from import", "hello"]


def test_hooks_are_called_in_the_order_of_the_plugins_names(install):
    """Whatever the order on sys.path."""
    calls = []
    plugins = Plugins.load(extra={name: _Listener(name, calls) for name in ("zeta", "alpha", "mid")})
    plugins.ready(None)
    plugins.stopping(None)
    assert calls == [(word, name) for word in ("ready", "stopping") for name in ("alpha", "mid", "zeta")]


def test_a_plugin_that_fails_to_listen_does_not_stop_the_others(capsys):
    """`modelapp_ready` and `modelapp_stopping` reach everyone; the failure is warned about and on record."""
    calls = []
    plugins = Plugins.load(extra={"alpha": _Listener("alpha", calls, fails=True), "beta": _Listener("beta", calls)})
    plugins.ready(None)
    assert calls == [("ready", "alpha"), ("ready", "beta")]
    assert "RuntimeError: deaf" in broken_of(plugins, "alpha").cause
    assert 'plugin "alpha" is broken' in capsys.readouterr().err


def test_observers_and_servers_are_collected_and_what_is_none_is_refused(capsys):
    """`modelapp_observers` and `modelapp_servers`: an object without the methods is told as the plugin's mistake."""
    watcher, port = _Watcher(), _Port()

    class Wrong:
        @hookimpl
        def modelapp_observers(self):
            return [object()]

    plugins = Plugins.load(extra={"watcher": watcher, "port": port, "wrong": Wrong()})
    assert watcher in plugins.observers(None)
    assert port in plugins.servers(None)
    assert "modelapp_observers must return an iterable of RequestObserver" in capsys.readouterr().err


def test_protocols_are_collected_and_clashes_name_both():
    """`modelapp_protocols`: two plugins that want one prefix cannot both be served."""
    left, right = _Speaker("left", "/left"), _Speaker("right", "/right")
    plugins = Plugins.load(disabled=["oip"], extra={"left": left, "right": right})
    assert [protocol.name for protocol in plugins.protocols(None)] == ["left", "right"]
    right.prefix = "/left"
    with pytest.raises(PluginError, match=r'plugin "left" and plugin "right" both bring the paths below "/left"'):
        plugins.protocols(None)


def test_a_protocol_outside_its_prefix_is_refused(capsys):
    """Its errors would take the shape of another protocol."""
    plugins = Plugins.load(disabled=["oip"], extra={"left": _Speaker("left", "/left", path="/other")})
    assert plugins.protocols(None) == []
    assert 'its route "/other" lies outside its prefix "/left"' in broken_of(plugins, "left").cause


def test_the_inventory_says_what_is_missing(install):
    """A runtime whose library is absent is listed, with what is missing and the command that brings it."""
    install(
        "acme",
        """
        from modelapp import Availability, RuntimeSpec, SchedulerSpec, hookimpl

        def probe():
            return Availability(ok=False, missing="the package acme-lib", fix="pip install acme-lib")

        @hookimpl
        def modelapp_runtimes():
            yield RuntimeSpec(name="acme", open=object, probe=probe, capabilities=frozenset({"tensors"}))

        @hookimpl
        def modelapp_schedulers():
            yield SchedulerSpec(name="yard", open=object, probe=lambda: 1 / 0)
        """,
    )
    record = next(record for record in Plugins.load().inventory() if record.name == "acme")
    assert record.state == "ok"
    assert record.hooks == ("modelapp_runtimes", "modelapp_schedulers")
    runtime, scheduler = record.parts
    assert (runtime.ok, runtime.missing, runtime.fix) == (False, "the package acme-lib", "pip install acme-lib")
    assert (runtime.capabilities, runtime.scripted) == (("tensors",), False)
    assert (scheduler.ok, scheduler.missing) == (False, "its probe failed: ZeroDivisionError: division by zero")


def test_what_else_a_plugin_brings_is_listed_when_it_is_asked_for(install, capsys):
    """A feature is a part like the others; a plugin whose hook fails is broken, and is told of all the same."""
    source = """
        from modelapp import Availability, hookimpl
        from modelapp.features import Feature

        @hookimpl
        def modelapp_features():
            {}
            return [Feature(name="mail", probe=lambda: Availability(ok=True))]
        """
    install("acme", source.format("pass"))
    install("bad", source.format("1 / 0"))
    plugins = Plugins.load()
    assert plugins.broken == ()
    records = {record.name: record for record in plugins.inventory()}
    assert [(part.kind, part.name, part.ok) for part in records["acme"].parts] == [("feature", "mail", True)]
    assert (records["bad"].state, records["bad"].parts) == ("broken", ())
    assert "division by zero" in records["bad"].problem
    capsys.readouterr()


def test_the_scheduler_is_asked_for_like_a_runtime():
    """`scheduler` finds by name and proposes the near one."""
    plugins = Plugins.load()
    assert plugins.scheduler("null").name == "null"
    with pytest.raises(PluginError, match='no scheduler is called "nul"; installed: null') as caught:
        plugins.scheduler("nul")
    assert caught.value.help == 'did you mean "null"?'


def test_the_command_line_lives_with_a_broken_plugin(install, tmp_path):
    """It lists it, with the cause, and ends well; strict, it ends with 5 and no traceback."""
    install("bad", "raise ValueError('half written')")
    project = AppProject(tmp_path / "app", env={"PYTHONPATH": str(tmp_path)}).write('[app]\nname = "empty"\n')
    listed = project.run("plugins", "--json")
    assert listed.exit_code == 0, listed
    bad = next(plugin for plugin in listed.json()["plugins"] if plugin["name"] == "bad")
    assert (bad["state"], bad["problem"].split(" (")[0]) == ("broken", "ValueError: half written")
    strict = project.run("plugins", env={"MODELAPP_STRICT_PLUGINS": "1"})
    assert strict.exit_code == 5, strict
    assert 'plugin "bad" (dist-bad 1.2) is broken: ValueError: half written' in strict.stderr
    assert "Traceback" not in strict.stderr


class _Listener:
    def __init__(self, name, calls, *, fails=False):
        self.name, self.calls, self.fails = name, calls, fails

    @hookimpl
    def modelapp_ready(self):
        self.calls.append(("ready", self.name))
        if self.fails:
            raise RuntimeError("deaf")

    @hookimpl
    def modelapp_stopping(self, service):
        self.calls.append(("stopping", self.name))


class _Watcher:
    def __init__(self):
        self.told = []

    def request_ended(self, call):
        self.told.append(call)

    def run_ended(self, run):
        self.told.append(run)

    def close(self):
        self.told.append("closed")

    @hookimpl
    def modelapp_observers(self, host):
        return [self]


class _Port:
    async def start(self):
        return "port://"

    async def stop(self, grace_s):
        pass

    @hookimpl
    def modelapp_servers(self, host):
        return [self]


class _Speaker:
    def __init__(self, name, prefix, *, path=""):
        self.name, self.prefix, self.path = name, prefix, path

    @hookimpl
    def modelapp_protocols(self, service):
        async def answer(request):
            return HttpResponse(200)

        routes = (Route("GET", self.path or f"{self.prefix}/x", answer),)
        return [ProtocolRoutes(self.name, self.prefix, routes, lambda error: HttpResponse(error.status))]

"""Hook implementations that pluggy would accept and never call rightly are refused, with the way to write them."""

import types

import pytest

from modelapp import hookcheck, hookimpl, hookspecs


def plugin(**functions):
    """A plugin module with these attributes."""
    module = types.ModuleType("acme")
    vars(module).update(functions)
    return module


@pytest.mark.parametrize("hook", hookcheck.HOOKS)
def test_every_hook_may_take_all_its_arguments_or_none(hook):
    """Both forms are sound, whatever the hook."""
    scope = {"hookimpl": hookimpl}
    exec(f"@hookimpl\ndef {hookcheck.signature_text(hook)}: ...", scope)
    assert hookcheck.problem_of(plugin(**{hook: scope[hook]})) == ""
    exec(f"@hookimpl\ndef {hook}(): ...", scope)
    assert hookcheck.problem_of(plugin(**{hook: scope[hook]})) == ""


def test_the_hooks_are_those_of_hookspecs():
    """Nothing else that hookspecs imports counts as one."""
    assert list(hookcheck.HOOKS) == [name for name in vars(hookspecs) if name.startswith("modelapp_")]


def test_a_misspelt_hook_is_refused_with_the_near_one():
    """pluggy alone would never call it, in silence."""

    @hookimpl
    def modelapp_runtime():
        return []

    text = hookcheck.problem_of(plugin(modelapp_runtime=modelapp_runtime))
    assert text.startswith(
        '"modelapp_runtime" is no hook; did you mean "modelapp_runtimes"? the hooks of this version: '
    )
    assert all(hook in text for hook in hookcheck.HOOKS)


def test_an_unmarked_function_of_a_hooks_name_is_refused():
    """Without its mark it would never be called."""

    def modelapp_runtimes():
        return []

    assert "write @modelapp.hookimpl above it" in hookcheck.problem_of(plugin(modelapp_runtimes=modelapp_runtimes))


def test_a_parameter_the_hook_does_not_pass_is_refused_with_both_signatures():
    """The author sees what was written and what there is."""

    @hookimpl
    def modelapp_ready(service, level):
        return None

    text = hookcheck.problem_of(plugin(modelapp_ready=modelapp_ready))
    assert text == 'modelapp_ready(service, level) takes "level", which the hook does not pass: modelapp_ready(service)'


def test_a_parameter_with_a_default_is_refused():
    """It would keep its default for ever: pluggy fills only plain parameters."""

    @hookimpl
    def modelapp_ready(service=None):
        return None

    text = hookcheck.problem_of(plugin(modelapp_ready=modelapp_ready))
    assert "has a default and would never be filled; write modelapp_ready(service)" in text


def _keyword(*, service):
    return None


def _star(*service):
    return None


@pytest.mark.parametrize("function", [_keyword, _star])
def test_a_parameter_that_cannot_be_filled_is_refused(function):
    """Keyword-only and starred parameters get nothing from pluggy."""
    function.__name__ = "modelapp_ready"
    marked = hookimpl(function)
    assert "would never be filled" in hookcheck.problem_of(plugin(modelapp_ready=marked))


def test_an_async_hook_is_refused():
    """Its coroutine would be dropped."""

    @hookimpl
    async def modelapp_ready(service):
        return None

    assert "is async" in hookcheck.problem_of(plugin(modelapp_ready=modelapp_ready))


def test_a_wrapper_is_refused():
    """Hooks are called for one plugin at a time, there is nothing to wrap."""

    @hookimpl(wrapper=True)
    def modelapp_ready(service):
        yield

    assert "cannot be wrapped" in hookcheck.problem_of(plugin(modelapp_ready=modelapp_ready))


def test_a_hook_under_another_name_is_known_by_its_mark():
    """`hookimpl(specname=...)` says which hook a function implements."""

    @hookimpl(specname="modelapp_ready")
    def start_metrics(service):
        return None

    module = plugin(start_metrics=start_metrics)
    assert hookcheck.problem_of(module) == ""
    assert hookcheck.names_of(module) == ("modelapp_ready",)


def test_modules_and_specifications_in_a_plugins_namespace_are_no_hooks():
    """`import modelapp_acme.thing` binds a name that starts like a hook's."""
    module = plugin(modelapp_acme=types.ModuleType("modelapp_acme"), modelapp_ready=hookspecs.modelapp_ready)
    assert hookcheck.names_of(module) == ()
    assert "it is no plugin" in hookcheck.problem_of(module)

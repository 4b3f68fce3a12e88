"""Checks a plugin's hook implementations before pluggy sees them: it would accept some that it never calls rightly."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from modelapp import hookspecs
from modelapp.hookspecs import PROJECT
from modelapp.suggestions import did_you_mean

PREFIX = f"{PROJECT}_"
_MARK = f"{PROJECT}_impl"
_SPEC_MARK = f"{PROJECT}_spec"

HOOKS: Mapping[str, Callable[..., Any]] = {
    name: value for name, value in vars(hookspecs).items() if hasattr(value, _SPEC_MARK)
}
"""Hook name -> its specification, in the order of an app's life."""


def signature_text(name: str) -> str:
    """A hook as its documentation writes it: modelapp_ready(service)."""
    return f"{name}({', '.join(inspect.signature(HOOKS[name]).parameters)})"


def hooks_of(plugin: object) -> Iterator[tuple[str, str, Callable[..., Any]]]:
    """Every function of `plugin` that is meant as a hook: (hook, attribute, function)."""
    for attribute in dir(plugin):
        function = getattr(plugin, attribute, None)
        if not inspect.isroutine(function) or hasattr(function, _SPEC_MARK):
            continue
        options = getattr(function, _MARK, None)
        if options is not None:
            yield options.get("specname") or attribute, attribute, function
        elif attribute.startswith(PREFIX):
            yield attribute, attribute, function


def names_of(plugin: object) -> tuple[str, ...]:
    """The hooks that `plugin` implements, in the order of an app's life."""
    own = {hook for hook, _, _ in hooks_of(plugin)}
    return tuple(hook for hook in HOOKS if hook in own)


def problem_of(plugin: object) -> str:
    """What is wrong with the hooks of `plugin`, in one sentence or more; "" where nothing is."""
    found = list(hooks_of(plugin))
    if not found:
        return f"it is no plugin: it implements none of the hooks {', '.join(HOOKS)}"
    problems = (_problem(hook, attribute, function) for hook, attribute, function in found)
    return "; ".join(filter(None, problems))


def _problem(hook: str, attribute: str, function: Callable[..., Any]) -> str:
    if hook not in HOOKS:
        hint = did_you_mean(hook, HOOKS)
        return f'"{hook}" is no hook; {hint and hint + " "}the hooks of this version: {", ".join(HOOKS)}'
    options = getattr(function, _MARK, None)
    if options is None:
        return f'"{attribute}" lacks its mark: write @modelapp.hookimpl above it'
    if options["wrapper"] or options["hookwrapper"]:
        return f'"{attribute}" is a wrapper; the hooks of modelapp cannot be wrapped'
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        return f'"{attribute}" is async; hooks are plain functions, what they return may be async'
    return _parameter_problem(hook, attribute, function)


def _parameter_problem(hook: str, attribute: str, function: Callable[..., Any]) -> str:
    signature = inspect.signature(function)
    known = inspect.signature(HOOKS[hook]).parameters
    own = f"{attribute}{signature.replace(return_annotation=inspect.Signature.empty)}"
    for name, parameter in signature.parameters.items():
        if parameter.kind is not inspect.Parameter.POSITIONAL_OR_KEYWORD:
            return f'"{name}" of {own} would never be filled; a hook takes plain parameters: {signature_text(hook)}'
        if name not in known:
            return f'{own} takes "{name}", which the hook does not pass: {signature_text(hook)}'
        if parameter.default is not inspect.Parameter.empty:
            return f'"{name}" of {own} has a default and would never be filled; write {signature_text(hook)}'
    return ""

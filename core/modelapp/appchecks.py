"""[app] and [server]: names and versions that must be what the surroundings have, and keys that go together."""

import re
from importlib.util import find_spec

from modelapp.examination import Examination
from modelapp.spans import KeyPath
from modelapp.suggestions import tidy, toml
from modelapp.versions import satisfies

_APP_NAME = re.compile(r"[a-z][a-z0-9-]{1,40}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BEHIND = {"grpc_port": ("grpc", "grpc"), "metrics_port": ("prometheus_client", "metrics")}
"""What serves a port: the package it needs, and the extra that brings it."""
_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?:\[[A-Za-z0-9._,\s-]*\])?\s*(.*?)\s*")


def check(exam: Examination) -> None:
    """Both tables."""
    info = exam.app.app
    _name(exam, info.name)
    if info.requires:
        _requires(exam, info.requires)
    if info.requirements or info.python:
        from modelapp import surroundings  # 30 ms, spent only by apps that ask

        surroundings.check(exam)
    if info.plugins and exam.is_sound(("app", "plugins")):
        _plugins(exam, info.plugins)
    for number, variable in enumerate(info.env):
        _variable(exam, variable, ("app", "env", number))
    _server(exam)


def _name(exam: Examination, name: str) -> None:
    if _APP_NAME.fullmatch(name):
        return
    slug = re.sub(r"[^a-z0-9-]+", "-", name.lower()).strip("-")
    slug = slug if _APP_NAME.fullmatch(slug) else "my-app"
    label = "2 to 41 of a-z, 0-9 and -, beginning with a letter"
    exam.replace("MA025", f'"{name}" cannot be the name of an app', ("app", "name"), label, slug)


def _requires(exam: Examination, requires: str) -> None:
    import importlib.metadata  # 20 ms, spent only by apps that ask

    installed, path = importlib.metadata.version("modelapp"), ("app", "requires")
    try:
        if satisfies(installed, requires):
            return
    except ValueError as error:
        message = f'"{error}" is no version requirement'
        exam.replace("MA029", message, path, "one or more of >= > <= < == != ~= and a version", f">={installed}")
        return
    label = f"modelapp {installed} is installed"
    exam.add("MA029", "the app is for another modelapp", path, label, command=f"pip install 'modelapp{requires}'")


def _plugins(exam: Examination, plugins: tuple[str, ...]) -> None:
    """Distributions that must be installed here, unless the app has an environment of its own elsewhere."""
    import importlib.metadata  # as above

    elsewhere = False
    if exam.app.app.requirements:
        from modelapp import surroundings

        elsewhere = surroundings.is_elsewhere(exam)
    for number, text in enumerate(plugins):
        path = ("app", "plugins", number)
        match = _REQUIREMENT.fullmatch(text)
        name, bounds = (match[1], match[2]) if match else ("", "")
        try:
            installed = importlib.metadata.version(name) if name else ""
        except importlib.metadata.PackageNotFoundError:
            installed = ""
        try:
            fits = bool(name) and (not bounds or satisfies(installed or "0", bounds))
        except ValueError:
            name, fits = "", False
        if not name:
            message, label = f'"{text}" is no requirement', "a distribution's name, and bounds of its version"
            plain = re.match(r"\s*([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)", text)
            if plain:
                exam.replace("MA035", message, path, label, plain[1])
            else:
                exam.add("MA035", message, path, label, 'write e.g. "acme>=1"')
        elif elsewhere or (installed and fits):
            continue
        else:
            said = "has another version" if installed else "is not installed"
            label = f"{installed} is installed" if installed else "the app needs it"
            command = f"pip install '{text.strip()}'"
            exam.add("MA035", f'the plugin "{name}" {said}', path, label, command=command)


def _variable(exam: Examination, name: str, path: KeyPath) -> None:
    if _VARIABLE.fullmatch(name):
        return
    plain = re.sub(r"[^A-Za-z0-9_]+", "_", name.partition("=")[0]).strip("_") or "NAME"
    plain = plain if _VARIABLE.fullmatch(plain) else f"_{plain}"
    if "=" in name:
        message, label = f'"{plain}" is given a value', "a value never stands in app.toml"
    else:
        message, label = f'"{name}" is not the name of a variable', "letters, digits and _"
    exam.replace("MA025", message, path, label, plain)


def _server(exam: Examination) -> None:
    server, path = exam.app.server, ("server",)
    for here, other in (("tls_cert", "tls_key"), ("tls_key", "tls_cert")):
        if getattr(server, here) and not getattr(server, other) and exam.is_sound((*path, other)):
            message = f'[server] has "{here}", and no "{other}"'
            edit = exam.sources.remove((*path, here))
            exam.add("MA014", message, (*path, here), f"it needs {other} too", f"add {other}, or remove it", edit=edit)
    _drain(exam, path)
    if server.tokens_env:
        _variable(exam, server.tokens_env, (*path, "tokens_env"))
    _tokens(exam, (*path, "tokens"))
    _ports(exam, path)


def _ports(exam: Examination, path: KeyPath) -> None:
    taken = {exam.app.server.port: "port"}
    for key, what in (("grpc_port", "gRPC"), ("metrics_port", "metrics")):
        port = getattr(exam.app.server, key)
        if port and port in taken:
            first = (*path, taken[port])
            related = exam.sources.related(first, "another", "value") if exam.sources.holds(first) else ()
            fixed = next(one for one in (port + 1, port - 1, port + 2) if one not in taken and 0 < one < 65536)
            exam.replace("MA021", "two servers cannot listen on one port", (*path, key), what, fixed, related=related)
        taken.setdefault(port, key)
        package, extra = _BEHIND[key]
        if port and exam.is_sound((*path, key)) and not exam.app.app.requirements and find_spec(package) is None:
            message, command = f"the server of {key} cannot start here", f"pip install 'modelapp[{extra}]'"
            label = f"it lacks the package {package.replace('_', '-')}"
            exam.add("MA037", message, (*path, key), label, command=command, severity="warning")


def _tokens(exam: Examination, path: KeyPath) -> None:
    """What each token may do must be there, and tokens without the variable that holds them are no protection."""
    tokens = exam.app.server.tokens
    if tokens and not exam.app.server.tokens_env and exam.is_sound(("server", "tokens_env")):
        name = next(iter(tokens))
        edit = exam.sources.insert(("server",), 'tokens_env = "MODELAPP_TOKENS"')
        message, label = "[server] has tokens, and no tokens_env", "nobody is asked for a token"
        advice = 'name the variable that holds them: write tokens_env = "MODELAPP_TOKENS" in [server]'
        exam.add("MA014", message, (*path, name), label, advice, at="key", edit=edit)
    for token in tokens.values():
        exam.check_name(token.name, (*path, token.name))
        for key, code in (("endpoints", "MA052"), ("models", "MA041")):
            known = exam.names(key)
            for number, name in enumerate(getattr(token, key) or ()):
                if name not in known:
                    place = (*path, token.name, key, number)
                    notes = (f"{key}: {', '.join(known) or 'none'}",)
                    message = f'no {key[:-1]} is called "{name}"'
                    exam.unknown(code, message, place, "not defined", name, known, notes=notes)


def _drain(exam: Examination, path: KeyPath) -> None:
    """Whether a request may outlast the server that is told to stop; a default is held against who outlasts it."""
    drain_s, endpoints = exam.app.server.drain_s, exam.app.endpoints.values()
    longest = max(endpoints, key=lambda one: one.timeout_s, default=None)
    if longest is None or longest.timeout_s <= drain_s:
        return
    own, other = (*path, "drain_s"), ("endpoints", longest.name, "timeout_s")
    place = own if exam.sources.holds(own) else other
    if not exam.sources.holds(place):
        return
    label = f"drain_s is {toml(drain_s)}, timeout_s of {longest.name} is {toml(longest.timeout_s)}"
    wanted = toml(tidy(longest.timeout_s + 5))
    edit = exam.sources.replace(own, wanted) or exam.sources.insert(path, f"drain_s = {wanted}")
    advice = f"write drain_s = {wanted} in [server]"
    message = "a server that stops may cut requests off"
    exam.add("MA113", message, place, label, advice, edit=edit, severity="warning")

"""[profiles.NAME]: keys laid over the rest of app.toml. Which one is meant, in what order, and what it may not say."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from modelapp.document import Document, Layer, Sources
from modelapp.errors import AppFileError, UsageError
from modelapp.problems import Problem
from modelapp.suggestions import closest, did_you_mean, toml, toml_key

PROFILES = "profiles"
EXTENDS = "extends"
_NEVER = ("tests", PROFILES)
_DEFINED_BY: Mapping[str, frozenset[str]] = {
    "models": frozenset({"source"}),
    "endpoints": frozenset({"model", "steps", "split"}),
    "jobs": frozenset({"endpoint", "run"}),
}
"""Tables with names -> the keys of which a new one has at least one."""


def names(data: Mapping[str, Any]) -> Sequence[str]:
    """The profiles of a file."""
    table = data.get(PROFILES)
    return [name for name, one in table.items() if isinstance(one, dict)] if isinstance(table, dict) else []


def known(data: Mapping[str, Any], name: str) -> str:
    """The name, if a profile has it. Raises UsageError."""
    if name in names(data):
        return name
    listed = ", ".join(names(data)) or "none"
    advice = did_you_mean(name, names(data), otherwise=f"profiles: {listed}")
    raise UsageError(f'app.toml has no profile "{name}"', help=advice)


def layers(base: Document, data: Mapping[str, Any], name: str) -> list[tuple[Layer, Mapping[str, Any]]]:
    """The tables that a profile lays over the file, the ones it extends first. Raises AppFileError."""
    chain: list[str] = []
    while name:
        table, place = data[PROFILES][name], (PROFILES, name, EXTENDS)
        chain.append(name)
        name = table.get(EXTENDS, "")
        if name and (problem := _wrong(Sources(base), name, chain, names(data), place)):
            raise AppFileError([problem])
    found = [(one, {key: value for key, value in data[PROFILES][one].items() if key != EXTENDS}) for one in chain]
    if problems := [problem for one, table in found for problem in _strangers(Sources(base), data, chain, one, table)]:
        raise AppFileError(problems)
    return [(Layer(base, f"profile {one}", (PROFILES, one)), table) for one, table in reversed(found)]


def _wrong(
    sources: Sources, name: Any, chain: Sequence[str], all_names: Sequence[str], place: tuple[str, ...]
) -> Problem | None:
    if not isinstance(name, str):
        return sources.problem("MA020", '"extends" must be a string', place, "not the name of a profile")
    if name in chain:
        message, edit = f"profile {chain[-1]} extends itself", sources.remove(place)
        label = f"{' -> '.join((*chain[chain.index(name) :], name))}"
        return sources.problem("MA071", message, place, label, help="remove it", edit=edit)
    if name not in all_names:
        near = closest(name, [one for one in all_names if one not in chain])
        edit = sources.replace(place, toml(near)) if near else sources.remove(place)
        advice = f'did you mean "{near}"?' if near else "remove it"
        notes = (f"profiles: {', '.join(all_names)}",)
        message = f'no profile is called "{name}"'
        return sources.problem("MA071", message, place, "not defined", help=advice, notes=notes, edit=edit)
    return None


def _strangers(
    sources: Sources, data: Mapping[str, Any], chain: Sequence[str], name: str, table: Mapping[str, Any]
) -> Iterator[Problem]:
    """Models, endpoints and jobs that a profile speaks of, that nothing else defines, and that it does not define."""
    for kind, enough in _DEFINED_BY.items():
        below = [one.get(kind) for one in (data, *(data[PROFILES][other] for other in chain if other != name))]
        known = [word for one in below if isinstance(one, dict) for word in one]
        mine = table.get(kind)
        for word, item in mine.items() if isinstance(mine, dict) else ():
            if word in known or not isinstance(item, dict) or enough & item.keys():
                continue
            near, place = closest(word, known), (PROFILES, name, kind, word)
            what = kind.removesuffix("s")
            yield sources.problem(
                "MA073",
                f'profile {name} changes {what} "{word}", which is not there',
                place,
                "not defined",
                at="key",
                help=f'did you mean "{near}"?' if near else f"define [{kind}.{toml_key(word)}]",
                notes=(f"{kind}: {', '.join(known) or 'none'}",),
                related=sources.related((kind, near), "defined here") if near else (),
                edit=sources.replace(place, toml_key(near), "key") if near else None,
            )


def forbidden(base: Document, data: Mapping[str, Any]) -> Iterator[Problem]:
    """What no profile may say: tests prove the app wherever it runs."""
    sources = Sources(base)
    for name in names(data):
        for key in _NEVER:
            if key in data[PROFILES][name]:
                path = (PROFILES, name, key)
                edit = None if path in base.spans.headers else sources.remove(path)
                yield sources.problem(
                    "MA072",
                    f'profile {name} cannot change "{key}"',
                    path,
                    "the same wherever the app runs",
                    at="key",
                    help="remove it",
                    edit=edit,
                )

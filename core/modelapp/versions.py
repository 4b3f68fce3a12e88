"""Version requirements such as ">=0.1,<2": numbers with dots, compared part by part (the final releases of PEP 440)."""

import operator
import re
from collections.abc import Callable

_CLAUSE = re.compile(r"\s*(>=|<=|==|!=|~=|>|<)\s*(\d+(?:\.\d+)*)\s*")
_COMPARE: dict[str, Callable[[tuple[int, ...], tuple[int, ...]], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}


def satisfies(version: str, requirement: str) -> bool:
    """Whether a version meets every clause of a requirement. Raises ValueError that holds the clause it cannot read."""
    # Every clause is read before any counts, so that a broken one is told whatever the others say.
    held = [_holds(_numbers(version), clause) for clause in requirement.split(",")]
    return all(held)


def is_python(version: str, wanted: str) -> bool:
    """Whether a Python is the wanted one: "3.12" means any 3.12, ">=3.11,<3.13" what it says. Raises as `satisfies`."""
    if not re.fullmatch(r"\d+(\.\d+){0,2}", wanted):
        return satisfies(version, wanted)
    parts = tuple(int(part) for part in wanted.split("."))
    return _numbers(version)[: len(parts)] == parts


def _holds(version: tuple[int, ...], clause: str) -> bool:
    match = _CLAUSE.fullmatch(clause)
    if match is None:
        raise ValueError(clause.strip())
    wanted = _numbers(match[2])
    if match[1] == "~=":
        stem = tuple(int(part) for part in match[2].split("."))[:-1]
        return version >= wanted and version[: len(stem)] == stem
    return _COMPARE[match[1]](version, wanted)


def _numbers(version: str) -> tuple[int, ...]:
    """Four numbers, so that 1.0 equals 1; what follows them (rc1, .dev2) does not count."""
    match = re.match(r"\d+(?:\.\d+)*", version)
    parts = [int(part) for part in match[0].split(".")] if match else []
    return tuple([*parts, 0, 0, 0, 0][:4])

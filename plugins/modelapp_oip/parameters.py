"""Parameters of requests and their tensors: the known ones are obeyed or refused, the others are nobody's business.

Source: the Open Inference Protocol, and Triton's extensions for what is reserved.
"""

from collections.abc import Collection, Mapping
from typing import Any, cast

from modelapp.call import Call
from modelapp.errors import InvalidInput
from modelapp.mismatch import quoted
from modelapp.suggestions import did_you_mean
from modelapp_oip.datatypes import shown

_SEQUENCES = ("sequence_id", "sequence_start", "sequence_end")
_OWN = (*_SEQUENCES, "priority", "timeout", "stream")
"""What the protocol knows; `stream` is said by the route, and by some clients here too."""
_NONE: Mapping[str, Any] = {}
_MOST_US = 10**12  # beyond it no request is allowed to take, and a larger number may be none that a float holds


def parameters_of(holder: Mapping[str, Any], what: str = "the request") -> Mapping[str, Any]:
    """The "parameters" of a decoded object, none where it has none. Raises InvalidInput where they are no object."""
    given = holder.get("parameters")
    if given is None:
        return _NONE
    if not isinstance(given, dict):
        raise InvalidInput(f'the "parameters" of {what} must be an object')
    return cast("Mapping[str, Any]", given)


def refuse_shared_memory(parameters: Mapping[str, Any], what: str) -> None:
    """Raise InvalidInput where a tensor is said to lie in shared memory."""
    if "shared_memory_region" in parameters:
        raise InvalidInput(f"{what} is in shared memory, which is not served here; send it in the request")


def refuse_unknown(parameters: Mapping[str, Any], takes: Collection[str], model: str) -> None:
    """Raise InvalidInput for a parameter that a model, which `takes` these, and the protocol both do not know."""
    for name in parameters:
        if name not in takes and name not in _OWN:
            question = did_you_mean(name, [*takes, *_OWN], f"its inputs: {', '.join(takes)}")
            raise InvalidInput(f'model "{model}" has no parameter {quoted(name)}; {question}', field=name)


def id_of(document: Mapping[str, Any]) -> str:
    """The "id" of a decoded request, "" where it has none. Raises InvalidInput."""
    request_id = document.get("id")
    if request_id is None:  # some clients write null for what they leave out
        return ""
    if not isinstance(request_id, str):
        raise InvalidInput('"id" must be a string')
    return request_id


def flag(parameters: Mapping[str, Any], name: str, *, default: bool = False) -> bool:
    """A parameter that is true or false. Raises InvalidInput."""
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise InvalidInput(f'the parameter "{name}" must be true or false, got {shown(value)}')
    return value


def number(parameters: Mapping[str, Any], name: str, *, default: int = 0) -> int:
    """A parameter that is a whole number of 0 or more. Raises InvalidInput."""
    value = parameters.get(name, default)
    if type(value) is not int or value < 0:
        raise InvalidInput(f'the parameter "{name}" must be a whole number of 0 or more, got {shown(value)}')
    return value


def obey(call: Call, parameters: Mapping[str, Any]) -> None:
    """Do what the parameters of a request ask: `priority` (1 is the most urgent), `timeout` in microseconds, which
    shortens the time allowed and never lengthens it. Raises InvalidInput, for `sequence_*` too.
    """
    if not parameters:
        return
    for name in _SEQUENCES:
        if parameters.get(name):
            told = f'the parameter "{name}" is not served: no model here keeps a state from one request to the next'
            raise InvalidInput(told)
    call.priority = number(parameters, "priority")
    timeout_us = number(parameters, "timeout")
    if timeout_us:
        until_s = call.arrived_s + min(timeout_us, _MOST_US) / 1e6
        call.deadline_s = until_s if call.deadline_s is None else min(call.deadline_s, until_s)

"""What a request to a generating model asks for: read from its record and checked, before anything is run for it."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

import attrs

from modelapp.app import Generation
from modelapp.errors import InvalidInput
from modelapp.generating import Capacity, Text
from modelapp.mismatch import kind_of
from modelapp.sampling import Sampling
from modelapp.suggestions import did_you_mean
from modelapp.tasks import TASKS

MOST_ANSWERS = 128
MOST_STOPS = 16
MOST_LOGPROBS_TOLD = 250_000
"""Log probabilities in all answers to a request: about 20 MB of JSON."""
MOST_STOP_CHARS = 1000
MOST_LOGPROBS = 20
MOST_STOP_TOKENS = 128
MOST_BIASES = 1024
_MOST_PENALTY = 100.0
_LEAST_REPETITION = 0.01
"""Divided by less, a logit may become infinite."""
_MOST_BIAS = 1e6
_CHARS_PER_TOKEN = 32
"""No text has more characters a token than this on average; a longer one is refused before time is spent on it."""


@attrs.frozen(kw_only=True)
class GenerationRequest:
    """One request, checked: it fits the model. A `seed` of None is for whoever runs it to draw."""

    prompt: tuple[int, ...]
    max_tokens: int
    n: int = 1
    seed: int | None = None
    stop: tuple[str, ...] = ()
    stop_tokens: frozenset[int] = frozenset()
    ignore_end: bool = False
    sampling: Sampling = attrs.field(factory=Sampling)


def read_request(
    record: Mapping[str, Any], task: str, text: Text, capacity: Capacity, defaults: Generation
) -> GenerationRequest:
    """The request that a record of `task` makes; what is None in it counts as absent.

    Raises InvalidInput, which names the field and what would do. A `max_tokens` that nobody asked for is shortened to
    what fits beside the prompt.
    """
    given = _Given(record, TASKS[task].takes)
    vocabulary = capacity.vocabulary
    max_tokens = given.whole("max_tokens", 1)
    min_tokens = given.whole("min_tokens", 0) or 0
    request_or_default = max_tokens or defaults.max_tokens
    if min_tokens > request_or_default:
        asked = "max_tokens" if max_tokens else "max_tokens, by default"
        raise InvalidInput(f"min_tokens is {min_tokens}, over {asked} {request_or_default}", field="min_tokens")
    sampling = Sampling(
        temperature=given.number("temperature", 0.0, 100.0, defaults.temperature or 0.0),
        top_k=given.whole("top_k", 0) or 0,
        top_p=given.number("top_p", 0.0, 1.0, 1.0, over=True),
        min_p=given.number("min_p", 0.0, 1.0, 0.0),
        repetition_penalty=given.number("repetition_penalty", _LEAST_REPETITION, _MOST_PENALTY, 1.0),
        presence_penalty=given.number("presence_penalty", -_MOST_PENALTY, _MOST_PENALTY, 0.0),
        frequency_penalty=given.number("frequency_penalty", -_MOST_PENALTY, _MOST_PENALTY, 0.0),
        logit_bias=given.bias("logit_bias", vocabulary),
        min_tokens=min_tokens,
        logprobs=given.whole("logprobs", 0, MOST_LOGPROBS),
    )
    request = GenerationRequest(
        prompt=(),  # read last: it is what takes time
        max_tokens=request_or_default,
        n=given.whole("n", 1, MOST_ANSWERS) or 1,
        seed=given.whole("seed", 0, 2**63 - 1),
        stop=given.stops("stop"),
        stop_tokens=frozenset(given.ids("stop_tokens", vocabulary, MOST_STOP_TOKENS)),
        ignore_end=given.flag("ignore_end"),
        sampling=sampling,
    )
    prompt = _prompt(given, text, capacity)
    most = _most_tokens(len(prompt), capacity)
    if max_tokens is not None and max_tokens > most:
        raise InvalidInput(_no_room(len(prompt), max_tokens, most, capacity), field="max_tokens")
    if min_tokens > most:
        raise InvalidInput(_no_room(len(prompt), min_tokens, most, capacity), field="min_tokens")
    request = attrs.evolve(request, prompt=prompt, max_tokens=min(request_or_default, most))
    _check_logprobs(request)
    return request


def _check_logprobs(request: GenerationRequest) -> None:
    """Raise InvalidInput where the answer would be log probabilities by the hundred megabytes."""
    if request.sampling.logprobs is None:
        return
    each = request.sampling.logprobs + 1
    told = request.n * request.max_tokens * each
    if told > MOST_LOGPROBS_TOLD:
        raise InvalidInput(
            f"{request.n} answers of {request.max_tokens} tokens with {each} log probabilities each are {told:,};"
            f" a request gets {MOST_LOGPROBS_TOLD:,} at most: lower n, max_tokens or logprobs",
            field="logprobs",
        )


def _prompt(given: "_Given", text: Text, capacity: Capacity) -> tuple[int, ...]:
    """The tokens of `prompt` or `messages`, no more than the model can read."""
    field = given.one_of("prompt", "messages")
    allowed = capacity.source_tokens or capacity.context_tokens - 1
    if field == "messages":
        messages = given.messages(field)
        _check_chars(field, sum(map(_chars, messages)), allowed)
        tokens: Sequence[int] = text.chat(messages)
    elif isinstance(prompt := given.value(field), str):
        if not prompt:
            raise InvalidInput(f"{field} is empty", field=field)
        _check_chars(field, len(prompt), allowed)
        _check_characters(field, prompt)
        tokens = text.encode(prompt)
    elif isinstance(prompt, list | tuple) and len(prompt) > allowed:  # refused unread
        tokens = prompt
    else:
        tokens = given.ids(field, capacity.vocabulary, None, "a string, or a list of token ids")
    if not tokens:
        raise InvalidInput(f"{field} holds no token", field=field)
    if len(tokens) > allowed:
        reads = f"reads at most {capacity.source_tokens}" if capacity.source_tokens else _context(capacity)
        raise InvalidInput(f"{field} has {len(tokens)} tokens; the model {reads}: shorten it", field=field)
    return tuple(tokens)


def _context(capacity: Capacity) -> str:
    return (
        f"has room for {capacity.context_tokens}, prompt and answer together, so {capacity.context_tokens - 1} for it"
    )


def _check_chars(field: str, chars: int, allowed: int) -> None:
    if chars > allowed * _CHARS_PER_TOKEN:
        raise InvalidInput(
            f"{field} has {chars} characters, which is too many for a model that reads {allowed} tokens: shorten it",
            field=field,
        )


def _check_characters(field: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidInput(f"{field} holds half a character (a lone surrogate)", field=field) from error


def _chars(message: Mapping[str, Any]) -> int:
    content = message.get("content")
    if isinstance(content, list):
        return sum(len(str(part.get("text", ""))) for part in content if isinstance(part, Mapping))
    return len(content) if isinstance(content, str) else 0


def _most_tokens(prompt: int, capacity: Capacity) -> int:
    """The longest answer: an encoder-decoder model's begins with its start token alone."""
    return capacity.context_tokens - (1 if capacity.source_tokens else prompt)


def _no_room(prompt: int, asked: int, most: int, capacity: Capacity) -> str:
    if capacity.source_tokens:
        return f"{asked} tokens are asked for; the model answers at most {most}"
    return (
        f"the prompt has {prompt} tokens and {asked} more are asked for; the model has room for "
        f"{capacity.context_tokens}: ask for at most {most}, or shorten the prompt"
    )


class _Given:
    """The values of a record, each read as what it must be. What is None is not there."""

    def __init__(self, record: Mapping[str, Any], known: Mapping[str, str]) -> None:
        for name in record:
            if name not in known:
                told = str(name)[:80]
                fix = did_you_mean(told, tuple(known), f"it takes {', '.join(known)}")
                raise InvalidInput(f'the model has no input "{told}"; {fix}', field=told)
        self._record = record
        self._known = known

    def value(self, name: str) -> Any:
        """As it came, an array as a list."""
        value: Any = self._record.get(name)
        return value.tolist() if hasattr(value, "tolist") else value

    def one_of(self, *names: str) -> str:
        """The one of the names that is given."""
        there = [name for name in names if self._record.get(name) is not None]
        if len(there) > 1:
            raise InvalidInput(f"{' and '.join(there)} are given; one of them is the prompt", field=there[1])
        if not there:
            wanted = " or ".join(name for name in names if name in self._known)
            raise InvalidInput(f"{wanted} is missing", field=names[0])
        return there[0]

    def whole(self, name: str, least: int, most: int | None = None) -> int | None:
        """A whole number, None where it is not there."""
        value = self.value(name)
        if value is None:
            return None
        bounds = f"a whole number from {least} {'on' if most is None else f'to {most}'}"
        if not _is_whole(value) or value < least or (most is not None and value > most):
            raise self._wrong(name, bounds, value)
        return int(value)

    def number(self, name: str, least: float, most: float, default: float, *, over: bool = False) -> float:
        """A finite number; `over`: `least` itself is none."""
        value = self.value(name)
        if value is None:
            return default
        bounds = f"a number {'over' if over else 'from'} {least:g} {'up ' if over else ''}to {most:g}"
        if not (_is_whole(value) or isinstance(value, float)):
            raise self._wrong(name, bounds, value)
        if not least <= value <= most or (over and value == least):  # NaN is in no bounds
            raise self._wrong(name, bounds, value)
        return float(value)

    def flag(self, name: str) -> bool:
        """True or false; false where it is not there."""
        value = self.value(name)
        if value is not None and not isinstance(value, bool):
            raise self._wrong(name, "true or false", value)
        return bool(value)

    def stops(self, name: str) -> tuple[str, ...]:
        """Stop texts: one, or a list."""
        value = self.value(name)
        if value is None:
            return ()
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list | tuple) or not all(isinstance(text, str) for text in texts):
            raise self._wrong(name, "a string or a list of strings", value)
        if len(texts) > MOST_STOPS:
            raise InvalidInput(f"{name} holds {len(texts)} texts; the most are {MOST_STOPS}", field=name)
        for text in texts:
            if not 1 <= len(text) <= MOST_STOP_CHARS:
                raise InvalidInput(
                    f"{name} holds a text of {len(text)} characters; each has 1 to {MOST_STOP_CHARS}", field=name
                )
        return tuple(texts)

    def ids(self, name: str, vocabulary: int, most: int | None, wanted: str = "a list of token ids") -> tuple[int, ...]:
        """Token ids of the vocabulary."""
        value = self.value(name)
        if value is None:
            return ()
        if not isinstance(value, list | tuple) or not all(map(_is_whole, value)):
            raise self._wrong(name, wanted, value)
        if most is not None and len(value) > most:
            raise InvalidInput(f"{name} holds {len(value)} tokens; the most are {most}", field=name)
        for token in value:
            _check_token(name, token, vocabulary)
        return tuple(value)

    def bias(self, name: str, vocabulary: int) -> Mapping[int, float]:
        """Token id -> finite number. An id may be a string, as JSON has no other keys."""
        value = self.value(name)
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            raise self._wrong(name, "an object of token ids and numbers", value)
        if len(value) > MOST_BIASES:
            raise InvalidInput(f"{name} holds {len(value)} tokens; the most are {MOST_BIASES}", field=name)
        read: dict[int, float] = {}
        for key, change in value.items():
            token = int(key) if isinstance(key, str) and key.isascii() and key.isdigit() and len(key) < 10 else key
            if not _is_whole(token):
                raise InvalidInput(f'{name} has the key "{str(key)[:40]}", which is no token id', field=name)
            _check_token(name, token, vocabulary)
            if not (_is_whole(change) or isinstance(change, float)) or not abs(change) <= _MOST_BIAS:
                raise self._wrong(f"{name}.{token}", f"a number from -{_MOST_BIAS:g} to {_MOST_BIAS:g}", change)
            read[token] = float(change)
        return read

    def messages(self, name: str) -> list[Mapping[str, Any]]:
        """A conversation: a list of objects, each with a role."""
        value = self.value(name)
        if not isinstance(value, list | tuple):
            raise self._wrong(name, "a list of {role, content}", value)
        if not value:
            raise InvalidInput(f"{name} is empty", field=name)
        for at, message in enumerate(value):
            if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
                raise InvalidInput(f"{name}[{at}] must be an object with role and content", field=name)
        return list(value)

    def _wrong(self, name: str, wanted: str, value: Any) -> InvalidInput:
        return InvalidInput(f"{name} must be {wanted}, not {kind_of(value)}", field=name.partition(".")[0])


def _is_whole(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _check_token(name: str, token: int, vocabulary: int) -> None:
    if not 0 <= token < vocabulary:
        raise InvalidInput(f"{name} holds the token {token}; the model's are 0 to {vocabulary - 1}", field=name)

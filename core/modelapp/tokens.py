"""Bearer tokens: read from one environment variable, kept as digests, compared in constant time.

What the variable holds never appears in a text made here: an entry is told by its number.
"""

import hashlib
import hmac
import os
import re
from collections.abc import Iterator, Mapping, Sequence

import attrs

from modelapp.app import Server, Token
from modelapp.errors import Forbidden, SurroundingsError, Unauthorized

SHORTEST_CHARS = 16
"""A shorter secret could be guessed."""
DEFAULT = "default"
"""The name of a secret that is given without one."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_PRINTABLE = re.compile(r"[!-~]+")
_CHALLENGE = (("www-authenticate", "Bearer"),)
_REFUSED = (("www-authenticate", 'Bearer error="invalid_token"'),)
_FORMAT = "separate entries by spaces or commas, each a secret or name=secret"


@attrs.frozen
class Secret:
    """One accepted secret and the name it goes by."""

    name: str
    text: str = attrs.field(repr=False)


def read(server: Server, environment: Mapping[str, str]) -> tuple[Secret, ...]:
    """The secrets that [server] speaks of; none without `tokens_env`. Raises SurroundingsError, never with a secret."""
    if not server.tokens_env:
        return ()
    variable = server.tokens_env
    secrets = tuple(_entries(environment.get(variable, ""), variable))
    if not secrets:
        state = "empty" if variable in environment else "not set"
        raise _refusal(f"[server] tokens_env names {variable}, which is {state}", f"set {variable}: {_FORMAT}")
    names: dict[str, str] = {}
    for secret in secrets:
        if names.setdefault(secret.text, secret.name) != secret.name:
            message = f'{variable} gives "{names[secret.text]}" and "{secret.name}" the same secret'
            raise _refusal(message, "give each name a secret of its own")
    if absent := sorted(set(server.tokens) - set(names.values())):
        message = f"[server.tokens.{absent[0]}] speaks of a token that {variable} does not hold"
        raise _refusal(message, f"add {absent[0]}=SECRET to {variable}, or remove the table")
    return secrets


def _refusal(message: str, help_: str) -> SurroundingsError:
    return SurroundingsError(message, help=help_)


def _entries(text: str, variable: str) -> Iterator[Secret]:
    for number, entry in enumerate(re.split(r"[\s,]+", text.strip(" \t\r\n,")), start=1):
        if not entry:
            return
        name, equals, secret = entry.partition("=")
        if not equals:
            name, secret = DEFAULT, entry
        where = f"entry {number} of {variable}"
        if len(secret) < SHORTEST_CHARS:
            advice = "a secret that has = in it needs a name before it: name=secret" if equals else _FORMAT
            raise _refusal(f"the secret in {where} is shorter than {SHORTEST_CHARS} characters", advice)
        if not _NAME.fullmatch(name):
            raise _refusal(f"{where} has no usable name", "up to 64 letters, digits and _ . - before the =")
        if not _PRINTABLE.fullmatch(secret):
            raise _refusal(f"the secret in {where} has characters that no header carries", "use plain ASCII")
        yield Secret(name, secret)


class Vault:
    """The secrets of this process, by variable. What was taken is gone from the environment, for all that comes later.

    The environment a process was started with can still be read by its own user, in /proc.
    """

    def __init__(self, environment: "os._Environ[str] | dict[str, str] | None" = None) -> None:
        self._environment = os.environ if environment is None else environment
        self._taken: dict[str, str] = {}

    def take(self, server: Server) -> tuple[Secret, ...]:
        """As `read`, of what the process was started with."""
        text = self._environment.pop(server.tokens_env, None) if server.tokens_env else None
        if text is not None:
            self._taken[server.tokens_env] = text
        return read(server, self._taken)


class Grant:
    """What the holder of one token may do."""

    __slots__ = ("_endpoints", "_models", "admin", "name")

    def __init__(self, name: str, table: Token | None) -> None:
        self.name = name
        self.admin = table is not None and table.admin
        self._endpoints = None if table is None or table.endpoints is None else frozenset(table.endpoints)
        models = None if table is None else table.models
        if models is None and self._endpoints is not None:
            models = ()
        self._models = None if models is None else frozenset(models)

    def check(self, access: str, name: str) -> None:
        """Raise Forbidden where it may not; "" for `name` is no endpoint or model in particular."""
        if access == "endpoint" and self._endpoints is not None and name and name not in self._endpoints:
            raise Forbidden(f'the token "{self.name}" may not call this endpoint')
        if access == "model" and self._models is not None and name and name not in self._models:
            raise Forbidden(f'the token "{self.name}" may not call this model')
        if access == "admin" and not self.admin:
            raise Forbidden(f'the token "{self.name}" may not do this: [server.tokens.{self.name}] has no admin = true')


class Keyring:
    """Finds the grant of a bearer token. It keeps digests under a key of its own, not the secrets."""

    def __init__(self, secrets: Sequence[Secret], tables: Mapping[str, Token]) -> None:
        self._key = os.urandom(32)
        grants = {secret.name: Grant(secret.name, tables.get(secret.name)) for secret in secrets}
        self._known = [(self._digest(secret.text), grants[secret.name]) for secret in secrets]

    def _digest(self, text: str) -> bytes:
        return hashlib.blake2b(text.encode("utf-8", "replace"), key=self._key, digest_size=32).digest()

    def find(self, authorization: str | None) -> Grant:
        """The grant of an Authorization header. Raises Unauthorized. The time it takes tells nothing of a secret."""
        scheme, _, text = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not (text := text.strip()):
            message = "this server wants a bearer token: send the header authorization: Bearer TOKEN"
            raise Unauthorized(message, headers=_CHALLENGE)
        digest, found = self._digest(text), None
        for known, grant in self._known:  # all of them, whichever it is
            if hmac.compare_digest(known, digest):
                found = grant
        if found is None:
            raise Unauthorized("this bearer token is not known here", headers=_REFUSED)
        return found

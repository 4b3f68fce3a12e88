"""Who may come in: what stands between a request and its work, whichever door it came by."""

from collections.abc import Callable, Iterator, Sequence
from time import monotonic

from modelapp.app import App
from modelapp.call import Call
from modelapp.errors import Forbidden, QueueFull, RateLimited
from modelapp.lifecycle import Lifecycle
from modelapp.rates import Gate, RateLimit
from modelapp.routes import Access
from modelapp.tokens import Grant, Keyring, Vault

_WORK = ("endpoint", "model")
"""What is bounded: health, figures and administration must get through an overload."""
_AGAIN_S = 1.0


class Admission:
    """Admits requests and lets them go. Every `enter`, also one that raised, is followed by one `leave`.

    More than `max_in_flight` requests at a time get 429. Before `configure` no token is asked for, and nothing else is
    bounded. `vault` has the tokens; `clock` is monotonic. For the loop's thread only.
    """

    def __init__(
        self,
        lifecycle: Lifecycle,
        *,
        max_in_flight: int = 4096,
        vault: Vault | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.lifecycle = lifecycle
        self.max_in_flight = max_in_flight
        self._vault = vault or Vault({})
        self._clock = clock
        self._guarded = False  # the one thing that is looked at where nothing is asked for
        self._keyring: Keyring | None = None
        self._gates: dict[str, Gate] = {}
        self._rates: dict[str, RateLimit] = {}

    def check(self, app: App) -> App:
        """The app. Raises SurroundingsError where it asks for tokens that this process was not given.

        From here on its variable of tokens is no longer in the environment.
        """
        self._vault.take(app.server)
        return app

    def configure(self, app: App) -> None:
        """Obey an app from now on, raising as `check`. Requests in progress still count, under the new bounds."""
        server = app.server
        secrets = self._vault.take(server)
        self._keyring = Keyring(secrets, server.tokens) if server.tokens_env else None
        most = {"server": server.max_concurrent}
        most |= {f"endpoint {name}": endpoint.max_concurrent for name, endpoint in app.endpoints.items()}
        most |= {f"token {name}": token.max_concurrent for name, token in server.tokens.items()}
        rates = {"server": server.rate_per_s}
        rates |= {f"token {name}": token.rate_per_s for name, token in server.tokens.items()}
        self._gates = {name: self._gate(name, bound) for name, bound in most.items() if bound}
        self._rates = {name: self._rate(name, rate) for name, rate in rates.items() if rate}
        self._guarded = bool(self._keyring or self._gates or self._rates)

    def _gate(self, name: str, most: int) -> Gate:
        gate = self._gates.get(name) or Gate(most)
        gate.most = most
        return gate

    def _rate(self, name: str, rate_per_s: float) -> RateLimit:
        limit = self._rates.get(name) or RateLimit(rate_per_s)
        limit.change(rate_per_s)
        return limit

    def enter(self, call: Call, access: Access, name: str = "", *, always: bool = False) -> None:
        """Admit a request to the endpoint or model `name`. Raises RequestError.

        `always`: also while the replica takes no requests.
        """
        if not always:
            lifecycle = self.lifecycle
            if lifecycle.refusing:
                raise lifecycle.not_ready()
            if lifecycle.in_flight > self.max_in_flight:
                raise QueueFull(f"{self.max_in_flight} requests are in progress already", retry_after_s=_AGAIN_S)
        if self._guarded or access == "admin":
            self._guard(call, access, name)

    def _guard(self, call: Call, access: Access, name: str) -> None:
        if access == "open" or call.trusted:
            return
        grant = self._identify(call, access)
        if grant is not None:
            call.token, call.rights = grant.name, grant
            grant.check(access, name)
        if access in _WORK:
            self._bound(call, [*self._scopes(access, name, grant)])

    def _identify(self, call: Call, access: Access) -> Grant | None:
        if self._keyring is not None:
            return self._keyring.find(call.headers.get("authorization"))
        if access == "admin":
            raise Forbidden("this is for administrators: set tokens_env in [server], and admin = true for a token")
        return None

    def _scopes(self, access: Access, name: str, grant: Grant | None) -> Iterator[str]:
        yield "server"
        if access == "endpoint":
            yield f"endpoint {name}"
        if grant is not None:
            yield f"token {grant.name}"

    def _bound(self, call: Call, scopes: Sequence[str]) -> None:
        """Look at every bound first and take after that, so that who is refused has taken nothing."""
        gates = [(scope, self._gates[scope]) for scope in scopes if scope in self._gates]
        for scope, gate in gates:
            if gate.full:
                raise QueueFull(f"{gate.most} requests are in progress for the {scope}", retry_after_s=_AGAIN_S)
        rates = [(scope, self._rates[scope]) for scope in scopes if scope in self._rates]
        if rates:
            now_s = self._clock()
            wait_s, scope, rate = max((rate.wait_s(now_s), scope, rate.rate_per_s) for scope, rate in rates)
            if wait_s:
                raise RateLimited(f"the {scope} is allowed {rate:g} requests a second", retry_after_s=wait_s)
            for _, limit in rates:
                limit.take(now_s)
        for _, gate in gates:
            gate.enter()
        call.held = tuple(gate for _, gate in gates)

    def leave(self, call: Call) -> None:
        """The request is answered: give back what it held."""
        if call.held:
            for gate in call.held:
                gate.leave()
            call.held = ()

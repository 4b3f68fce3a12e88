"""Routes: how a protocol plugin says which paths it answers, and the table that finds them."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Literal, TypeAlias

import attrs

from modelapp.call import Call
from modelapp.errors import MethodNotAllowed, NotFound, RequestError

JSON = "application/json"
_REMEMBERED = 1024  # callers choose the paths, so what is kept must be bounded
_SHOWN_CHARS = 200
RESERVED_PATHS = ("/livez", "/readyz", "/metrics", "/openapi.json", "/v1", "/v2")
"""Paths that no endpoint may take."""


@attrs.define  # not frozen: made for every request, and frozen costs a microsecond more
class HttpRequest:
    """A whole request. Header names are lower case; `body` is complete and within the route's bound."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    params: Mapping[str, str]
    call: Call


@attrs.define  # not frozen, as above
class HttpResponse:
    """A whole answer."""

    status: int
    body: bytes = b""
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()


@attrs.define(kw_only=True)
class HttpStream:
    """An answer that is sent as it comes into being. `chunks` is closed when the client leaves.

    What `chunks` raises before its first chunk is an error like any other; later, `last_words` turns it into the chunk
    that ends the answer.
    """

    chunks: AsyncIterator[bytes]
    last_words: "Callable[[RequestError], bytes]"
    status: int = 200
    content_type: str = "text/event-stream"
    headers: tuple[tuple[str, str], ...] = ()


Access: TypeAlias = Literal["open", "endpoint", "model", "metrics", "admin"]
"""What a request wants, which decides the token it needs: nothing that needs one, an endpoint's or a model's answer,
the replica's figures, or a change of what it serves."""
Handler: TypeAlias = Callable[[HttpRequest], Awaitable[HttpResponse | HttpStream]]
ErrorShape: TypeAlias = Callable[[RequestError], HttpResponse]
"""Turns a failure into the protocol's own error answer."""


@attrs.frozen
class Route:
    """One method and path. "{name}" matches a whole segment, its value is in `HttpRequest.params`."""

    method: str
    path: str
    handler: Handler
    max_body_bytes: int = 10 * 1024 * 1024
    timeout_s: float | None = None
    document: Mapping[str, object] | None = None
    """The OpenAPI operation object of this route, or None to leave it out of the document."""
    always: bool = False
    """Answers also while the replica takes no requests (starting, draining): health and the like."""
    access: Access = "endpoint"
    name: str = ""
    """The endpoint that answers; a route of models has the model in its path as "{model}", or asks `Call.check_model`
    once it has read which one is meant."""
    protocol: str = ""
    """The name of the protocol; filled in by the table."""


@attrs.frozen
class ProtocolRoutes:
    """All routes of one protocol. Failures below `prefix`, unknown paths included, take `error`'s shape."""

    name: str
    prefix: str
    routes: tuple[Route, ...]
    error: ErrorShape
    components: Mapping[str, Mapping[str, object]] = attrs.Factory(dict)
    """What the documents of its routes refer to: OpenAPI's `schemas`, `responses` and the like, by name."""
    absent: Mapping[str, str] = attrs.Factory(dict)
    """Paths that it would answer in another app -> what this one lacks for them, which their 404 tells."""


class RouteTable:
    """Finds the route of a request: a dictionary for fixed paths, a segment match for those with parameters.

    `release` is what answers say they come from, `in_flight` how many requests these routes have in hand.
    """

    def __init__(self, protocols: Sequence[ProtocolRoutes], *, release: str = "") -> None:
        self.release = ("x-modelapp-release", release)
        self.in_flight = 0
        self.protocols = tuple(sorted(protocols, key=lambda protocol: -len(protocol.prefix)))
        self._fixed: dict[str, dict[str, Route]] = {}
        self._patterns: list[tuple[tuple[str, ...], dict[str, Route]]] = []
        self._matched: dict[str, tuple[dict[str, Route], dict[str, str]]] = {}
        for protocol in protocols:
            for route in protocol.routes:
                self._add(attrs.evolve(route, protocol=protocol.name))

    def _add(self, route: Route) -> None:
        if "{" not in route.path:
            methods = self._fixed.setdefault(route.path, {})
        else:
            segments = tuple(route.path.split("/"))
            methods = next((found for pattern, found in self._patterns if pattern == segments), {})
            if not methods:
                self._patterns.append((segments, methods))
        if route.method in methods:
            raise ValueError(f"two routes answer {route.method} {route.path}")
        methods[route.method] = route

    def error_shape(self, path: str) -> ErrorShape:
        """The error shape of the protocol that owns `path`."""
        for protocol in self.protocols:
            if path == protocol.prefix or path.startswith(protocol.prefix.rstrip("/") + "/"):
                return protocol.error
        return self.protocols[-1].error

    def find(self, method: str, path: str) -> tuple[Route, Mapping[str, str]]:
        """The route and its path parameters. Raises NotFound or MethodNotAllowed (with an Allow header)."""
        methods = self._fixed.get(path)
        params: Mapping[str, str] = {}
        if methods is None:
            methods, params = self._matched.get(path) or self._remember(path)
        route = methods.get(method) or (methods.get("GET") if method == "HEAD" else None)
        if route is None:
            allowed = ", ".join(sorted(methods))
            raise MethodNotAllowed(f"{path[:_SHOWN_CHARS]} takes {allowed}, not {method}", headers=[("allow", allowed)])
        return route, params

    def _remember(self, path: str) -> tuple[dict[str, Route], dict[str, str]]:
        """Match, and keep the result: the paths of an app's models are few and come again. Raises NotFound."""
        found = self._match(path)
        if len(path) <= _SHOWN_CHARS:
            if len(self._matched) >= _REMEMBERED:  # filled by nonsense, perhaps
                self._matched.clear()
            self._matched[path] = found
        return found

    def _match(self, path: str) -> tuple[dict[str, Route], dict[str, str]]:
        segments = path.split("/")
        for pattern, methods in self._patterns:
            if len(pattern) == len(segments):
                params: dict[str, str] = {}
                for want, got in zip(pattern, segments, strict=True):
                    if want.startswith("{"):
                        params[want[1:-1]] = got
                    elif want != got:
                        break
                else:
                    return methods, params
        path = path[:_SHOWN_CHARS]
        raise NotFound(f'there is no route "{path}"; {self._advice(path)}')

    def _advice(self, path: str) -> str:
        for protocol in self.protocols:
            if path in protocol.absent:
                return protocol.absent[path]
        near = get_close_matches(path, self._fixed, n=1)
        return f'did you mean "{near[0]}"?' if near else f"routes: {', '.join(sorted(self._fixed))}"

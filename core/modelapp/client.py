"""A small HTTP client for the endpoints of an app, for `predict` and `test`."""

import contextlib
import http.client
import json
import math
import select
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import attrs

from modelapp import clientevents, tls
from modelapp.app import Endpoint
from modelapp.call import CONTROL_HEADER
from modelapp.errors import SurroundingsError
from modelapp.payload import payload

_MARGIN_S = 5.0
"""How long past an endpoint's own time limit its answer is waited for."""


class ConnectionLost(SurroundingsError):
    """The app cannot be reached, or went away before it answered."""


@attrs.frozen
class Answer:
    """An answer. `body` is decoded where it is JSON, else text; header names are lower case."""

    status: int
    body: Any
    headers: Mapping[str, str]
    ms: float
    text: str = ""

    @property
    def ok(self) -> bool:
        """Whether it is no error."""
        return self.status < 400

    @property
    def release(self) -> str:
        """The release that answered."""
        return self.headers.get("x-modelapp-release", "")


class Client:
    """Calls one app over one kept connection. Not for several threads.

    Paths of media inputs are relative to `root`. By https `certificate` is the one that is trusted, if given.
    """

    def __init__(self, url: str, token: str = "", *, root: Path | None = None, certificate: Path | None = None) -> None:
        parts = urlsplit(url)
        self.url = url.rstrip("/")
        self.root = root or Path()
        self._token = token
        host = parts.hostname or "127.0.0.1"
        if parts.scheme != "https":
            self._connection = http.client.HTTPConnection(host, parts.port or 80)
        else:
            context = tls.trusting(certificate) if certificate else None
            self._connection = http.client.HTTPSConnection(host, parts.port or 443, context=context)

    def call(
        self,
        endpoint: Endpoint,
        values: Mapping[str, Any],
        *,
        probe: str | None = None,
        arm: str | None = None,
        seed: int | None = None,
        tell: clientevents.Tell | None = None,
    ) -> Answer:
        """Call `endpoint`; `probe` asks for a step's result, `arm` forces an arm, `seed` fixes what is left to chance
        (all need the control token). `tell` asks for the answer as a stream, and gets each piece as it comes.

        Raises ConnectionLost, and OSError where a file to upload cannot be read.
        """
        content = payload(endpoint, values, self.root)
        headers = {"content-type": content.content_type, "accept": "text/event-stream" if tell else "application/json"}
        if probe:
            headers["x-modelapp-probe"] = probe
        if arm:
            headers["x-modelapp-arm"] = arm
        if seed is not None:
            headers["x-modelapp-seed"] = str(seed)
        if self._token:
            headers[CONTROL_HEADER] = self._token
        path = quote(endpoint.route)
        return self.request("POST", path, content.body, headers, timeout_s=endpoint.timeout_s, tell=tell)

    def request(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        timeout_s: float = 30,
        tell: clientevents.Tell | None = None,
    ) -> Answer:
        """Send one request and read its whole answer; of one that is streamed `tell` gets the pieces.

        Raises ConnectionLost.
        """
        started = time.perf_counter()
        try:
            response = self._exchange(method, path, body, dict(headers or {}), timeout_s + _MARGIN_S)
            streamed = tell is not None and "event-stream" in response.headers.get("content-type", "")
            whole = clientevents.read(response, tell) if tell and streamed else None
            rest = response.read()  # also behind a stream's last event, or the connection cannot be used again
            content = rest if whole is None else whole.body
        except TimeoutError:
            self.close()
            raise ConnectionLost(f"{self.url}{path} gave no answer within {timeout_s + _MARGIN_S:g} s") from None
        except (OSError, http.client.HTTPException) as error:
            self.close()
            reason = str(error) or type(error).__name__
            raise ConnectionLost(f"{self.url}{path} cannot be reached: {reason}") from None
        ms = (time.perf_counter() - started) * 1000
        text = content.decode("utf-8", errors="replace")
        found = {name.lower(): value for name, value in response.getheaders()}
        kind = "json" if whole else found.get("content-type", "")
        return Answer(whole.status if whole else response.status, _decode(text, kind), found, ms, text)

    def _exchange(
        self, method: str, path: str, body: bytes, headers: dict[str, str], timeout_s: float
    ) -> http.client.HTTPResponse:
        self._drop_if_stale()
        self._set_timeout(timeout_s)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            # A server may refuse a large body before it is sent whole; its answer then waits to be read.
            self._connection.request(method, path, body, headers)
        return self._connection.getresponse()

    def _drop_if_stale(self) -> None:
        """Close a kept connection that the server has closed. A request is never sent twice: a crash must show."""
        sock = self._connection.sock
        if sock is not None and select.select([sock], [], [], 0)[0]:
            self.close()

    def _set_timeout(self, timeout_s: float) -> None:
        self._connection.timeout = timeout_s
        if self._connection.sock is not None:
            self._connection.sock.settimeout(timeout_s)

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        self._connection.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _decode(text: str, content_type: str) -> Any:
    if "json" not in content_type:
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def timings(answer: Answer) -> dict[str, float]:
    """The `Server-Timing` entries of an answer, in milliseconds."""
    found: dict[str, float] = {}
    for entry in answer.headers.get("server-timing", "").split(","):
        name, _, duration = entry.strip().partition(";dur=")
        with contextlib.suppress(ValueError):
            if name and math.isfinite(float(duration)):
                found[name] = float(duration)
    return found
